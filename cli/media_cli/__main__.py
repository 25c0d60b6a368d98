"""The `media` command: upload and import files, look at assets and installations, start a server on this machine."""

import importlib.util
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from media_cli import show, target, upload
from media_cli.bucket.commands import bucket
from media_cli.client import Client, Json
from media_cli.doctor.command import doctor
from media_cli.importing.command import import_media
from media_cli.options import Exit, Format, Output, TokenFile, Url, connected, print_json

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Exit codes: 0 done; 1 an asset failed; 2 wrong usage or a file that cannot be read; 3 the server cannot be"
    " reached or refused; 4 not finished when --timeout was over; 130 interrupted. Of several, the highest.",
)


whatsapp = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="The WhatsApp accounts of the server.")
app.add_typer(whatsapp, name="whatsapp")
app.add_typer(bucket, name="bucket")

app.command()(doctor)
app.command(name="import")(import_media)


@app.command(name="upload")
def upload_files(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Images, videos, sounds or documents.")],
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Stay until all are ready or failed.")] = False,
    timeout: Annotated[float, typer.Option(min=0, help="How many seconds --wait waits.")] = 600,
    alt_text: Annotated[str | None, typer.Option(help="What the media shows, for those who cannot see it.")] = None,
    caption: Annotated[str | None, typer.Option(help="A text that is shown with the media.")] = None,
    order: Annotated[int | None, typer.Option(help="The place in the collection.")] = None,
    path: Annotated[str | None, typer.Option(help="The public path, such as ads/ad_12.")] = None,
    collection: Annotated[str | None, typer.Option(help="What the media is listed under.")] = None,
    private: Annotated[bool, typer.Option("--private", help="Not for everyone to see.")] = False,
    profile: Annotated[str | None, typer.Option(help="The profile that says which renditions are made.")] = None,
    url: Url = target.DEFAULT_URL,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """Upload files and print their ids, and with --wait their URLs."""
    errors = Console(stderr=True)
    given = {
        "alt_text": alt_text,
        "caption": caption,
        "order": order,
        "path": path,
        "collection": collection,
        "is_public": "false" if private else None,
        "profile": profile,
    }
    fields = {name: str(value) for name, value in given.items() if value is not None}
    uploads = [upload.Upload(file, problem=upload.check(file)) for file in files]
    for one in uploads:
        if one.problem:
            errors.print(
                f"{show.text(one.path)} {show.text(one.problem)}", style="red", soft_wrap=True, highlight=False
            )
    with _client(url, token_file) as client:
        try:
            with upload.bars(errors, shown=output is Output.TABLE and errors.is_terminal) as progress:
                upload.send(client, uploads, fields, progress)
                if wait:
                    upload.wait(client, uploads, progress, timeout)
        finally:
            # An interrupted command, too, says what the server has by now.
            _report(uploads, output, errors)
    if code := max(_outcome(one) for one in uploads):
        raise typer.Exit(code)


@app.command()
def get(
    asset: Annotated[str, typer.Argument(metavar="ID", help="What upload printed.")],
    *,
    url: Url = target.DEFAULT_URL,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """Show an asset: its status and every URL. Exits with 1 when the asset failed."""
    with _client(url, token_file) as client:
        body = client.get(asset)
        _print(body, output, show.asset)
    if body["status"] == "failed":
        raise typer.Exit(Exit.FAILED)


@app.command()
def reprocess(
    asset: Annotated[str, typer.Argument(metavar="ID", help="What upload printed.")],
    *,
    rendition: Annotated[
        list[str] | None, typer.Option(help="Only this rendition; may be given several times.")
    ] = None,
    url: Url = target.DEFAULT_URL,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """Have an asset made once more; what there is stays until then."""
    with _client(url, token_file) as client:
        body = client.reprocess(asset, rendition or ())
    _print(body, output, show.asset)


@app.command()
def ls(
    *,
    page: Annotated[int, typer.Option(min=1, help="Which page.")] = 1,
    page_size: Annotated[int, typer.Option(min=1, help="How many on a page.")] = 20,
    url: Url = target.DEFAULT_URL,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """List assets, newest first."""
    with _client(url, token_file) as client:
        body = client.page(page, page_size)
    _print(body, output, show.assets)


@whatsapp.command()
def check(
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help="The name of the account, as in its Secret.")],
    *,
    url: Url = target.DEFAULT_URL,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """Ask Meta whether an account is set up: token, app, number, subscription, webhook. Exits with 1 if not."""
    with _client(url, token_file) as client:
        body = client.check_whatsapp(account)
    _print(body, output, show.checks)
    if any(each["ok"] is False for each in body["checks"]):
        raise typer.Exit(Exit.FAILED)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def standalone(context: typer.Context) -> None:
    """Start the whole service on this machine; --help shows its own options."""
    # The package comes with every installation, what it stands on only with its extra.
    if importlib.util.find_spec("aiosqlite") is None:
        Console(stderr=True).print(
            "[red]The server is not installed.[/] Install it with: pip install 'media-operator\\[standalone]'",
            soft_wrap=True,
            highlight=False,
        )
        raise typer.Exit(Exit.USAGE)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "media_standalone", *context.args])  # noqa: S606 - no shell wanted


def _client(url: str, token_file: Path | None) -> AbstractContextManager[Client]:
    return connected(
        url, token_file, interrupted="Interrupted. What was uploaded goes on being processed: media ls shows it."
    )


def _print(body: Json, output: Output, table: Callable[[Console, Json], None]) -> None:
    if output is Output.JSON:
        print_json(body)
    else:
        table(Console(), body)


def _report(uploads: list[upload.Upload], output: Output, errors: Console) -> None:
    for one in uploads:
        if one.error:
            show.error(errors, one.error, about=str(one.path))
        if one.late:
            errors.print(f"{show.text(one.path)}: not finished in time; it goes on.", style="yellow", soft_wrap=True)
    if output is Output.JSON:
        print_json([_record(one) for one in uploads])
        return
    for one in uploads:
        if one.asset:
            show.asset(Console(), one.asset)


def _record(one: upload.Upload) -> Json:
    """Return what programs are told of one file: exactly one of asset and error is null, unless waiting failed."""
    error: Json | None = None
    if one.problem:
        error = {"title": "Unreadable file", "detail": f"{one.path} {one.problem}."}
    elif one.error:
        error = one.error.problem or {"title": one.error.title, "detail": one.error.detail}
    return {"file": str(one.path), "asset": one.asset, "error": error}


def _outcome(one: upload.Upload) -> Exit:
    if one.problem:
        return Exit.USAGE
    if one.error:
        return Exit.SERVER
    if one.late:
        return Exit.LATE
    return Exit.FAILED if one.asset and one.asset["status"] == "failed" else Exit.OK


def main() -> None:
    """Run the command line."""
    app(prog_name="media")


if __name__ == "__main__":
    main()
