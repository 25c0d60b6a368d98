"""`media import`: a whole tree of files, with its folders as paths and collections."""

import signal
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from media_cli import show, target
from media_cli.client import Client
from media_cli.options import Exit, Format, Output, TokenFile, Url, fail, installed, print_json

if TYPE_CHECKING:
    from media_cli.importing.run import Import, Record
    from media_cli.importing.sources import Item, Source


def import_media(
    source: Annotated[str, typer.Argument(metavar="DIR|S3://BUCKET/PREFIX", help="Where the files are.")],
    *,
    path: Annotated[str, typer.Option(help="The public path of the tree, such as product_images.")],
    private: Annotated[bool, typer.Option("--private", help="Not for everyone to see.")] = False,
    profile: Annotated[str | None, typer.Option(help="The profile that says which renditions are made.")] = None,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="How many files are sent at once.")] = 4,
    state: Annotated[Path | None, typer.Option(help="Where it is noted what is done; each tree has a place.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    url: Url = target.DEFAULT_URL,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """Upload every media file of a tree: its folders become public paths and collections below --path.

    To go on after an interruption run it again: nothing is sent twice. Exits with 1 if a file failed.
    """
    from media_cli.importing import run  # noqa: PLC0415 - the shared language is no part of what all commands need
    from media_cli.importing.state import State, default_path  # noqa: PLC0415 - the same
    from mediaasset.keys import is_public_path  # noqa: PLC0415 - the same

    if not is_public_path(path.strip("/")):
        fail(f"--path {path}: up to 8 folders of letters, digits, dots, dashes and underscores.")
    files = _source(source)
    errors = Console(stderr=True)
    fields = {"is_public": "false" if private else "true", **({"profile": profile} if profile else {})}
    try:
        known = State(state or default_path(url.rstrip("/"), files.name, path.strip("/")))
        items = list(files.items())
    except OSError as error:
        fail(str(error))
    work = run.Import(source=files, base=path, fields=fields, client=None, state=known, jobs=jobs)
    bar = _bar(errors, shown=output is Output.TABLE and errors.is_terminal)
    try:
        if dry_run:
            records = work.run(items)
        else:
            with Client(target.find(url, token_file)) as client, known, bar:
                work.client = client
                task = bar.add_task("importing", total=len(items))
                work.sent = lambda _: bar.advance(task)
                records = _interruptible(work, items)
    except (target.TargetError, OSError) as error:
        fail(str(error))
    _report(work, records, output, errors, source=files.name, dry_run=dry_run)


def _interruptible(work: "Import", items: "list[Item]") -> "list[Record]":
    """Run it; the first Ctrl-C ends it after the files that are being sent, as a kill would end it at once."""

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
        work.stop.set()
        signal.signal(signal.SIGINT, previous)

    previous = signal.signal(signal.SIGINT, stop)
    try:
        return work.run(items)
    finally:
        signal.signal(signal.SIGINT, previous)


def _source(text: str) -> "Source":
    from media_cli.importing.sources import Directory, Objects  # noqa: PLC0415 - as above

    if text.startswith("s3:"):
        with installed("platform"):
            try:
                return Objects(text)
            except ValueError as error:
                fail(f"{error}.")
    if not Path(text).is_dir():
        fail(f"{text} is no directory.")
    return Directory(Path(text))


def _bar(console: Console, *, shown: bool) -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=console, disable=not shown)


def _report(
    work: "Import", records: "list[Record]", output: Output, errors: Console, *, source: str, dry_run: bool
) -> None:
    from media_cli.importing.run import Outcome, counts  # noqa: PLC0415 - as above

    found = counts(records)
    if output is Output.JSON:
        files = [
            {"file": each.file, "outcome": each.outcome, "path": each.path, "id": each.asset, "reason": each.reason}
            for each in records
        ]
        print_json({"source": source, "dry_run": dry_run, "counts": found, "files": files})
    else:
        _print(records, found)
    if work.broken:
        show.error(errors, work.broken)
        raise typer.Exit(Exit.SERVER)
    if work.stop.is_set():
        errors.print("Interrupted. Run it again to go on.", soft_wrap=True)
        raise typer.Exit(Exit.INTERRUPTED)
    if found[Outcome.FAILED]:
        raise typer.Exit(Exit.FAILED)


def _print(records: "list[Record]", found: dict[str, int]) -> None:
    console = Console()
    named = [each for each in records if each.reason]
    if named:
        rows = Table("File", "Outcome", "Why", box=box.SIMPLE)
        for each in named:
            rows.add_row(show.text(each.file), each.outcome, show.text(each.reason))
        show.table(console, rows)
    console.print(", ".join(f"{number} {outcome}" for outcome, number in found.items() if number) or "no files")
