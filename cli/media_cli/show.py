"""How assets look on a terminal: sizes, tables, errors."""

from rich import box
from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.segment import Segments
from rich.table import Table

from media_cli.client import Json, ServerError

COLOURS = {"ready": "green", "failed": "red"}
NOTHING = "-"
MARKS = {True: "[green]yes[/]", False: "[red]no[/]", None: "[yellow]unknown[/]"}


def asset(console: Console, body: Json) -> None:
    """Print an asset, and each rendition with its URL or why it has none."""
    facts = [f"[bold]{text(body['id'])}[/]", status(body), text(body.get("file_type") or "")]
    facts += [dimensions(body), duration(body), size(body.get("file_size")), text(body.get("original_name") or "")]
    console.print("  ".join(fact for fact in facts if fact and fact != NOTHING), soft_wrap=True, highlight=False)
    listed = [item for item in body.get("renditions") or () if item.get("url") or item.get("error")]
    if not listed:
        return
    rows = Table(box=box.SIMPLE)
    rows.add_column("Rendition")
    rows.add_column("Type")
    rows.add_column("Size", justify="right")
    rows.add_column("Dimensions", justify="right")
    rows.add_column("URL")
    for item in listed:
        where = text(item.get("url") or failure(item))
        kind = text(item.get("mime_type") or NOTHING)
        rows.add_row(text(item["name"]), kind, size(item.get("file_size")), dimensions(item), where)
    table(console, rows)


def assets(console: Console, page: Json) -> None:
    """Print one page of a list."""
    rows = Table(box=box.SIMPLE)
    for heading in ("ID", "Status", "Type", "Name", "Size", "Created", "URL"):
        rows.add_column(heading, justify="right" if heading == "Size" else "left")
    for body in page["results"]:
        rows.add_row(
            text(body["id"]),
            status(body),
            text(body.get("file_type") or NOTHING),
            text(body.get("original_name") or NOTHING),
            size(body.get("file_size")),
            text(body.get("created_at") or NOTHING),
            text(body.get("display_url") or NOTHING),
        )
    table(console, rows)
    console.print(f"{len(page['results'])} of {page.get('count', len(page['results']))}", highlight=False)


def checks(console: Console, body: Json) -> None:
    """Print what was looked at, and beneath it what to do about each thing that is not known to be well."""
    rows = Table("Check", "Well", "Found", box=box.SIMPLE)
    for check in body["checks"]:
        rows.add_row(text(check["name"]), MARKS.get(check["ok"], NOTHING), text(check["detail"]))
    table(console, rows)
    for check in body["checks"]:
        if not check["ok"]:
            console.print(f"{text(check['name'])}: {text(check['cure'])}", soft_wrap=True, highlight=False)


def table(console: Console, rows: Table) -> None:
    """Print a table as wide as it is: a URL that is cut or folded is a URL that nobody can open."""
    lines = console.render(rows, console.options.update(width=10_000))
    console.print(Segments(lines), soft_wrap=True, end="")


def error(console: Console, problem: ServerError, about: str = "") -> None:
    """Print what went wrong and what to do; `about` names the file or asset it happened to."""
    lead = f"{text(about)}: " if about else ""
    console.print(f"{lead}[bold red]{text(problem.title)}[/]", soft_wrap=True, highlight=False)
    for line in (problem.detail, problem.advice):
        if line:
            console.print(f"  {text(line)}", soft_wrap=True, highlight=False)


def text(value: object) -> str:
    """Return text from elsewhere as rich shall print it: literally, and unable to steer the terminal."""
    return escape("".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(value)))


def status(body: Json) -> str:
    """Return the status with its colour, how far the work is, and for a failed asset why."""
    state = str(body.get("status"))
    shown = f"[{COLOURS.get(state, 'yellow')}]{text(state)}[/]"
    if at := body.get("progress"):
        percent = "" if at.get("percent") is None else f" {at['percent']:.0f} %"
        shown += f" ({text(at.get('stage') or '')}{percent})"
    if body.get("error"):
        shown += f" ({text(failure(body))})"
    return shown


def failure(body: Json) -> str:
    """Return why an asset or a rendition failed, as `Reason: message`."""
    reason = body.get("error") or {}
    return ": ".join(str(part) for part in (reason.get("reason"), reason.get("message")) if part)


def dimensions(body: Json) -> str:
    """Return width x height in pixels, as displayed."""
    return f"{body['width']}x{body['height']}" if body.get("width") and body.get("height") else NOTHING


def duration(body: Json) -> str:
    """Return the duration, which the answer has in seconds."""
    return f"{body['duration']:.1f} s" if body.get("duration") else NOTHING


def size(count: int | None) -> str:
    """Return a number of bytes in units of 1,000."""
    return NOTHING if count is None else decimal(count)
