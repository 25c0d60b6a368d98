"""The directory of a standalone, and the programs that it needs."""

import asyncio
import os
import shutil
import stat
import tempfile
from pathlib import Path

from media_cli.doctor.registry import Finding, Findings, error, ok, warning
from media_cli.doctor.site import Site

#: Bytes. Below the first an upload of the largest kind may not fit, below the second hardly anything does.
ROOM_NOTED, ROOM_NEEDED = 1_000_000_000, 100_000_000


async def look(site: Site) -> Findings:
    """Look at the data directory of standalone."""
    if site.data_dir is None:
        site.lacks("data_dir", "There is no data directory of standalone here.")
    return await asyncio.to_thread(_look, site.data_dir)


def _look(data: Path) -> Findings:
    if not data.is_dir():
        cause = "Standalone was never started with it, or MEDIA_DATA_DIR names another one."
        return [error("data-dir", str(data), "There is no such directory.", cause, "Start `media standalone` once.")]
    folders = [data, *(data / name for name in ("store", "partial", "scratch") if (data / name).exists())]
    files = [path for path in (data / "standalone.db", data / "lock") if path.exists()]
    unwritable = [problem for path in folders if (problem := _unwritable(path))]
    unwritable += [f"{path}: it may not be written" for path in files if not os.access(path, os.W_OK)]
    if unwritable:
        return [
            error(
                "data-dir",
                str(data),
                f"It cannot be written: {'; '.join(unwritable)}.",
                "It belongs to another user, its mode forbids it, or its file system is mounted read-only.",
                f"chown -R or chmod -R u+rwX {data} for the user that runs standalone, or remount it.",
            )
        ]
    return [ok(str(data), "It can be written."), _room(data), *_secrets(data), *_programs()]


def _unwritable(path: Path) -> str | None:
    """Return why no file can be made in a directory; the file that is made for it has no name, so nothing is left."""
    try:
        with tempfile.TemporaryFile(dir=path):
            return None
    except OSError as problem:
        return f"{path}: {problem.strerror}"


def _room(data: Path) -> Finding:
    free = shutil.disk_usage(data).free
    text = f"{free / 1e9:.1f} GB are free."
    cure = f"Make room on the file system of {data}, or move it: --data-dir."
    if free < ROOM_NEEDED:
        return error("disk-full", str(data), text, "The disk is full: uploads are refused (507).", cure)
    if free < ROOM_NOTED:
        return warning("disk-full", str(data), text, "The disk is nearly full.", cure)
    return ok(str(data), text)


def _secrets(data: Path) -> Findings:
    found = []
    for name in ("token", "url-key"):
        path = data / name
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
            cause = "It was copied or restored without its mode."
            text = "Others on this machine may read it."
            found.append(warning("secret-mode", str(path), text, cause, f"chmod 600 {path}"))
    return found


def _programs() -> Findings:
    missing = [name for name in ("ffmpeg", "ffprobe") if not shutil.which(name)]
    if missing:
        cause = "ffmpeg is not installed, or not on the PATH of this shell."
        cure = "Install ffmpeg: apt install ffmpeg, brew install ffmpeg, winget install ffmpeg."
        text = f"{' and '.join(missing)} are missing: videos and sounds fail."
        return [error("no-ffmpeg", "PATH", text, cause, cure)]
    return [ok("PATH", "ffmpeg and ffprobe are there.")]
