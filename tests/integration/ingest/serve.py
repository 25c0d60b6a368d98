"""Run the API in a process of its own, for measuring it: python serve.py DIRECTORY prints its port.

Its store is in the directory, or the bucket of MEDIA_STORE_URL.
"""

import asyncio
import os
import sys
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from mediaasset.s3 import StoreSettings, open_store
from mediaasset.s3parts import S3Parts
from uploading import running_api


async def main() -> None:
    parts = None
    if "MEDIA_STORE_URL" in os.environ:
        settings = StoreSettings()
        parts = {"store": open_store(settings), "parts": S3Parts(settings)}
    async with running_api(Path(sys.argv[1]), parts=parts) as api:
        sys.stdout.write(f"{api.port}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


uvloop.run(main())
