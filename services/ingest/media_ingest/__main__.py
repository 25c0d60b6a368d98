"""`python -m media_ingest`: the HTTP API of a cluster.

Told by environment variables: MEDIA_INGEST_… (settings.py), MEDIA_STORE_… and AWS_… (mediaasset/s3.py).
"""

import asyncio
import sys

import uvloop

from media_ingest.cluster import serve
from media_ingest.settings import ClusterSettings
from mediaasset import logs
from mediaasset.environment import load
from mediaasset.reasons import MediaError
from mediaasset.s3 import StoreSettings


def main() -> int:
    """Serve until told to stop: 0 then, 1 when something is missing at the start."""
    logs.configure()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(load(ClusterSettings), load(StoreSettings)))
    except (OSError, ValueError, MediaError) as error:
        sys.stderr.write(f"media_ingest: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
