"""Sending files one after the other, and waiting until all are processed."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain, repeat
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from media_cli.client import Client, Json, ServerError

#: Seconds between two looks at an asset: soon at first, for an image takes less than a second.
POLLS = (0.2, 0.3, 0.5, 0.5, 1.0)

FINAL = ("ready", "failed")


@dataclass(slots=True)
class Upload:
    """One file on its way. `problem` says why it could not be read, `error` why the server does not have or show it."""

    path: Path
    asset: Json | None = None
    problem: str | None = None
    error: ServerError | None = None
    late: bool = field(default=False)

    @property
    def waits(self) -> bool:
        """Tell whether the server is still at work on it."""
        return self.asset is not None and self.error is None and self.asset["status"] not in FINAL


def bars(console: Console, *, shown: bool) -> Progress:
    """Return the progress display: a line per file, for its bytes first, then for its processing."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        console=console,
        disable=not shown,
    )


def check(path: Path) -> str | None:
    """Return why a file cannot be sent, None when it can."""
    try:
        if path.is_dir():
            return "is a directory; give the files in it"
        if path.exists() and not path.is_file():
            return "is not a regular file"
        with path.open("rb") as body:
            return None if body.read(1) else "is empty"
    except FileNotFoundError:
        return "does not exist"
    except (OSError, ValueError) as error:
        return f"cannot be read: {getattr(error, 'strerror', None) or error}"


def send(client: Client, uploads: Iterable[Upload], fields: Mapping[str, str], progress: Progress) -> None:
    """Send every file that has no problem; one that fails keeps its error and does not stop the others."""
    for upload in uploads:
        if upload.problem:
            continue
        try:
            body = upload.path.open("rb")
        except OSError as error:
            upload.problem = f"cannot be read: {error.strerror}"
            continue
        with body:
            total = upload.path.stat().st_size
            bar = progress.add_task(f"{escape(upload.path.name)}  uploading", total=total, note=decimal(total))
            try:
                upload.asset = client.upload(
                    upload.path.name, progress.wrap_file(body, total=total, task_id=bar), fields
                )
            except ServerError as error:
                upload.error = error
                progress.update(bar, note="[red]not sent[/]")
            progress.stop_task(bar)


def wait(
    client: Client,
    uploads: Iterable[Upload],
    progress: Progress,
    timeout: float,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Look at the assets until each is ready or failed, or `timeout` seconds are over; those left are marked late.

    A server that is away for a while is asked again until then.
    """
    deadline = time.monotonic() + timeout
    bars = {id(upload): _bar(progress, upload) for upload in uploads if upload.waits}
    pending = [upload for upload in uploads if upload.waits]
    for pause in chain(POLLS, repeat(POLLS[-1])):
        for upload in pending:
            _look(client, upload, progress, bars[id(upload)])
        pending = [upload for upload in pending if upload.waits]
        left = deadline - time.monotonic()
        if not pending or left <= 0:
            break
        sleep(min(pause, left))
    for upload in pending:
        upload.late = True


def _bar(progress: Progress, upload: Upload) -> TaskID:
    return progress.add_task(f"{escape(upload.path.name)}  processing", total=None, note="")


def _look(client: Client, upload: Upload, progress: Progress, bar: TaskID) -> None:
    if upload.asset is None:
        return
    try:
        upload.asset = client.get(str(upload.asset["id"]))
    except ServerError as error:
        if not error.transient:
            upload.error = error
        progress.update(bar, note=escape(error.title))
        return
    if upload.asset["status"] in FINAL:
        progress.update(bar, total=100, completed=100, note=str(upload.asset["status"]))
        progress.stop_task(bar)
        return
    at = upload.asset.get("progress") or {}
    percent = at.get("percent")
    progress.update(
        bar, total=None if percent is None else 100, completed=percent or 0, note=escape(at.get("stage") or "")
    )
