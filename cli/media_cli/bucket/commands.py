"""`media bucket`: look at the settings of a bucket, bring them about, print the policies of its accounts."""

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from media_cli import show
from media_cli.options import Bucket, Exit, Format, Output, fail, installed, print_json

if TYPE_CHECKING:
    from media_cli.bucket.settings import Setting

bucket = typer.Typer(
    no_args_is_help=True, rich_markup_mode="rich", help="The settings of a bucket, and the rights of its accounts."
)

_COLOURS = {"same": "green", "applied": "green", "unsupported": "yellow"}

Private = Annotated[bool, typer.Option("--private", help="Let nobody read media/* without an account.")]
SignedUrls = Annotated[bool, typer.Option("--signed-urls", help="The gateway answers signed URLs of private media.")]
Unblock = Annotated[bool, typer.Option("--unblock", help="Turn off public access blocks that are against media/*.")]
Principals = Annotated[
    list[str],
    typer.Option(
        "--principal",
        metavar="COMPONENT=ACCOUNT",
        help="Give the account of a component its rights by the bucket's policy, where it has none of its own.",
    ),
]
Origins = Annotated[list[str], typer.Option("--origin", help="An origin whose pages may use the bucket; else any.")]


@bucket.command()
def check(
    url: Bucket,
    *,
    private: Private = False,
    signed_urls: SignedUrls = False,
    unblock: Unblock = False,
    principal: Principals = [],  # noqa: B006 - typer makes a new one each time
    origin: Origins = [],  # noqa: B006 - the same
    output: Format = Output.TABLE,
) -> None:
    """Show what differs from what it should be; changes nothing. Exits with 1 if something does."""
    apply(
        url,
        private=private,
        signed_urls=signed_urls,
        unblock=unblock,
        principal=principal,
        origin=origin,
        dry_run=True,
        output=output,
    )


@bucket.command()
def apply(
    url: Bucket,
    *,
    private: Private = False,
    signed_urls: SignedUrls = False,
    unblock: Unblock = False,
    principal: Principals = [],  # noqa: B006 - typer makes a new one each time
    origin: Origins = [],  # noqa: B006 - the same
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    lenient: Annotated[bool, typer.Option("--lenient", help="Exit with 0 if something is left to the owner.")] = False,
    output: Format = Output.TABLE,
) -> None:
    """Bring the settings about; what others have put there stays. Exits with 1 if something is left to do."""
    with installed("platform"):
        from media_cli.bucket import settings  # noqa: PLC0415 - boto3 takes half a second, and an extra of its own
        from mediaasset.s3client import connect  # noqa: PLC0415 - the same
    name, prefix = _place(url)
    wish = settings.Wish(
        bucket=name,
        prefix=prefix,
        public=not private,
        signed_urls=signed_urls,
        principals=_principals(principal),
        origins=tuple(origin) or ("*",),
        unblock=unblock,
    )
    try:
        found = settings.look(connect(name, os.environ), wish)
        if not dry_run:
            settings.apply(found)
    except settings.BucketError as error:
        fail(str(error), Exit.SERVER)
    if output is Output.JSON:
        print_json({"bucket": name, "prefix": prefix, "settings": [_record(each) for each in found]})
    else:
        _print(found)
    # Even then a policy that could not be written is a failure: nothing would be readable.
    counted = {settings.State.FORBIDDEN} if lenient else settings.UNFINISHED
    if any(each.state in counted for each in found):
        raise typer.Exit(Exit.FAILED)


@bucket.command()
def iam(
    component: Annotated[str, typer.Argument(help="ingest, operator, transcoder, gateway or anonymous.")],
    url: Bucket,
    *,
    signed_urls: SignedUrls = False,
) -> None:
    """Print the policy of S3 that gives a component what it needs, and no more, as JSON.

    For `anonymous` it is the policy of the bucket, by which anyone reads what is public.
    """
    # The shared language is no part of what the other commands start with.
    from mediaasset.policies import Component, bucket_policy, identity_policy  # noqa: PLC0415

    if component not in set(Component):
        fail(f"{component!r} is none of {', '.join(Component)}.")
    name, prefix = _place(url)
    if component == Component.ANONYMOUS:
        print_json(bucket_policy(name, prefix, {}))
    else:
        print_json(identity_policy(Component(component), name, prefix, signed_urls=signed_urls))


def _place(url: str) -> tuple[str, str]:
    from mediaasset.keys import place  # noqa: PLC0415 - no part of what the other commands start with

    try:
        return place(url)
    except ValueError as error:
        fail(f"{error}.")


def _principals(given: list[str]) -> dict[str, str]:
    from mediaasset.policies import Component  # noqa: PLC0415 - as above

    pairs = [each.partition("=") for each in given]
    names = [component for component in Component if component is not Component.ANONYMOUS]
    for name, _, account in pairs:
        if name not in names or not account:
            fail(f"--principal {name}={account}: one of {', '.join(names)}, and the account after the sign.")
    return {name: account for name, _, account in pairs}


def _record(setting: "Setting") -> dict[str, Any]:
    return {"name": setting.name, "state": setting.state, "note": setting.note, "diff": setting.diff}


def _print(found: list["Setting"]) -> None:
    console = Console()
    for setting in found:
        colour = _COLOURS.get(setting.state, "red")
        console.print(f"{setting.name}: [{colour}]{setting.state}[/]", highlight=False)
        if setting.note:
            console.print(f"  {show.text(setting.note)}", soft_wrap=True, highlight=False)
        for line in setting.diff.splitlines():
            style = {"+": "green", "-": "red"}.get(line[:1])
            console.print(f"  {show.text(line)}", style=style, soft_wrap=True, highlight=False)
