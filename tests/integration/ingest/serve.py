"""Run the API in a process of its own, for measuring it: python serve.py DIRECTORY prints its port."""

import asyncio
import sys
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from uploading import running_api


async def main() -> None:
    async with running_api(Path(sys.argv[1])) as api:
        sys.stdout.write(f"{api.port}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


uvloop.run(main())
