"""`python -m media_operator`: the operator of a cluster; `python -m media_operator release`: let all assets go.

Both are told by environment variables: MEDIA_OPERATOR_… (settings.py), MEDIA_STORE_… and AWS_… (mediaasset/s3.py).
"""

import argparse
import asyncio
import logging
import sys

from media_operator.cluster import serve
from media_operator.settings import ClusterSettings, ReleaseSettings
from media_operator.uninstall import release
from mediaasset import logs
from mediaasset.environment import load
from mediaasset.reasons import MediaError
from mediaasset.s3 import StoreSettings

#: They tell of each event, of each probe, and of a failing one, which Kopf reports, once more with a traceback.
_TALKATIVE = {"kopf": logging.WARNING, "aiohttp.access": logging.WARNING, "aiohttp.server": logging.CRITICAL}


def main() -> int:
    """Run until told to stop: 0 then, 1 when something is missing at the start or breaks later."""
    parser = argparse.ArgumentParser(prog="media_operator", description=__doc__)
    parser.add_argument("command", nargs="?", choices=("serve", "release"), default="serve")
    command = parser.parse_args().command
    logs.configure()
    for name, level in _TALKATIVE.items():
        logging.getLogger(name).setLevel(level)
    try:
        if command == "release":
            asyncio.run(release(load(ReleaseSettings)))
        else:
            asyncio.run(serve(load(ClusterSettings), load(StoreSettings)))
    except (OSError, ValueError, MediaError) as error:
        sys.stderr.write(f"media_operator: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
