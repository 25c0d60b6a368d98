"""What the commands have in common: options, exit codes, how results are printed."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from media_cli import show, target
from media_cli.client import Client, ServerError


class Exit(IntEnum):
    """The exit codes; of several that apply, the highest."""

    OK = 0
    FAILED = 1
    USAGE = 2
    SERVER = 3
    LATE = 4
    INTERRUPTED = 130


class Output(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"


Url = Annotated[str, typer.Option("--url", envvar="MEDIA_URL", help="The server.")]
TokenFile = Annotated[
    Path | None,
    typer.Option(help="A file that holds the token; otherwise MEDIA_TOKEN, or for this machine that of standalone."),
]
Format = Annotated[Output, typer.Option("--output", "-o", help="A table for people or JSON for programs.")]
Bucket = Annotated[
    str,
    typer.Argument(
        metavar="S3://BUCKET[/PREFIX]",
        envvar="MEDIA_STORE_URL",
        help="The bucket and the root prefix; endpoint, region and account are the variables AWS_….",
    ),
]


@contextmanager
def connected(url: str, token_file: Path | None, *, interrupted: str) -> Iterator[Client]:
    """Give a client for the server, and turn what ends the command into a text and an exit code.

    `interrupted` says what Ctrl-C leaves.
    """
    errors = Console(stderr=True)
    try:
        with Client(target.find(url, token_file)) as client:
            yield client
    except target.TargetError as error:
        fail(str(error))
    except ServerError as error:
        show.error(errors, error)
        raise typer.Exit(Exit.SERVER) from error
    except KeyboardInterrupt:
        errors.print(interrupted, soft_wrap=True)
        raise typer.Exit(Exit.INTERRUPTED) from None


def fail(message: str, code: Exit = Exit.USAGE) -> NoReturn:
    """End the command with a line on standard error."""
    Console(stderr=True).print(show.text(message), style="red", soft_wrap=True, highlight=False)
    raise typer.Exit(code)


def print_json(body: object) -> None:
    """Print one JSON document to standard output."""
    print(json.dumps(body, indent=2, ensure_ascii=False))


@contextmanager
def installed(extra: str) -> Iterator[None]:
    """Say what to install where the block imports what is missing; exit code 2."""
    try:
        yield
    except ModuleNotFoundError as error:
        fail(f"{error.name} is not installed. Install it with: pip install 'media-operator[{extra}]'")
