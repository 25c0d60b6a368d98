"""A composition root for tests: standalone that stands still for ever at one point, so that it can be killed there.

Run as `held.py POINT MARKER OPTIONS…`; it writes the marker when it is there. The production code has no hooks: the
methods of the adapters are wrapped from outside.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from media_standalone import process
from media_standalone.__main__ import main
from media_standalone.assets import SqliteAssets
from mediaasset.spec import MediaAsset
from mediaasset.status import ConditionType, Status
from mediaasset.task import Progress


def before_the_asset(hold: Callable[[], None]) -> None:
    """Stand still when the upload lies in the store and its asset does not exist."""

    async def create(_: SqliteAssets, asset: MediaAsset) -> MediaAsset:
        hold()
        await asyncio.Event().wait()
        return asset

    setattr(SqliteAssets, "create", create)  # noqa: B010 - mypy minds the plain form


def before_the_status(hold: Callable[[], None]) -> None:
    """Stand still when the Result lies in the store and the status does not say so."""
    write_status = SqliteAssets.write_status

    async def write(self: SqliteAssets, asset: MediaAsset, status: Status) -> MediaAsset:
        if status.is_true(ConditionType.READY):
            hold()
            await asyncio.Event().wait()
        return await write_status(self, asset, status)

    setattr(SqliteAssets, "write_status", write)  # noqa: B010 - the same


def in_the_transcode(hold: Callable[[], None]) -> None:
    """Stop the transcoder when it says that it decodes; nothing is published then."""
    follow = process._follow

    async def watched(child: Any, pod: str, on_progress: Callable[[Progress], None]) -> int:
        def stop(progress: Progress) -> None:
            on_progress(progress)
            if progress.stage in ("probe", "render"):
                os.killpg(child.pid, signal.SIGSTOP)
                hold()

        return await follow(child, pod, stop)

    setattr(process, "_follow", watched)  # noqa: B010 - the same


POINTS = {
    "before-the-asset": before_the_asset,
    "before-the-status": before_the_status,
    "in-the-transcode": in_the_transcode,
}

if __name__ == "__main__":
    point, marker = sys.argv[1:3]
    POINTS[point](Path(marker).touch)
    sys.exit(main(sys.argv[3:]))
