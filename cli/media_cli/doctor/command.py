"""`media doctor`: finds what is wrong with an installation, and says why and what to do."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from media_cli import show, target
from media_cli.options import Exit, Format, Output, fail, print_json

if TYPE_CHECKING:
    from media_cli.doctor.gather import Asked
    from media_cli.doctor.registry import Findings

_COLOURS = {"ok": "green", "warning": "yellow", "error": "red", "skipped": "dim"}
#: Of several findings the worst decides: nothing wrong, warnings, errors.
_CODES = {"ok": 0, "skipped": 0, "warning": 1, "error": 2}


def doctor(
    *,
    url: Annotated[
        list[str], typer.Option("--url", help="Look only at this public URL of a file; may be repeated.")
    ] = [],  # noqa: B006 - typer makes a new one each time
    server: Annotated[str | None, typer.Option(envvar="MEDIA_URL", help="The API.")] = None,
    token_file: Annotated[Path | None, typer.Option(help="A file that holds the token for it.")] = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="That of the release, read by the kubeconfig.")
    ] = None,
    public_url: Annotated[str | None, typer.Option(help="What readers find before media/….")] = None,
    component: Annotated[
        str | None, typer.Option(help="Whose account AWS_… is: ingest, operator, transcoder or gateway.")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="The directory of standalone.")] = None,
    upload: Annotated[bool, typer.Option("--upload", help="Upload a picture, fetch it, and delete it.")] = False,
    output: Format = Output.TABLE,
) -> None:
    """Find what is wrong: on this machine, in a cluster, or with one URL.

    It changes nothing, but for a few bytes in the bucket that it deletes again. Exits with 1 for warnings,
    with 2 for errors.
    """
    from media_cli.doctor.gather import Asked  # noqa: PLC0415 - the shared language is no part of what all commands need

    if wrong := [each for each in url if not each.startswith(("http://", "https://"))]:
        fail(f"--url {wrong[0]}: the URL of a file, https://….")
    asked = Asked(
        urls=tuple(url),
        server=server,
        token_file=token_file,
        public_url=public_url,
        namespace=namespace,
        component=component,
        data_dir=data_dir,
        upload=upload,
    )
    try:
        found = asyncio.run(_look(asked))
    except target.TargetError as error:
        fail(str(error))
    except KeyboardInterrupt:
        raise typer.Exit(Exit.INTERRUPTED) from None
    if output is Output.JSON:
        print_json([each.record() for each in found])
    else:
        _print(found)
    raise typer.Exit(max(_CODES[each.severity] for each in found))


async def _look(asked: "Asked") -> "Findings":
    from media_cli.doctor import checks, gather, registry  # noqa: PLC0415 - as above

    async with gather.site(asked) as site:
        if not gather.is_anything(site):
            fail("Nothing to look at: give --url, --server or --namespace, or set MEDIA_STORE_URL. See --help.")
        checks.prepare(site)
        return await registry.run(checks.OF_URL if site.urls else checks.CHECKS, site)


def _print(found: "Findings") -> None:
    console = Console()
    rows = Table("", "Check", "About", "Found", box=box.SIMPLE)
    for each in found:
        mark = f"[{_COLOURS[each.severity]}]{each.severity}[/]"
        rows.add_row(mark, each.check, show.text(each.about), show.text(each.found))
    show.table(console, rows)
    for each in found:
        if each.fault:
            colour = _COLOURS[each.severity]
            console.print(f"[{colour}]{each.fault}[/] {show.text(each.about)}", soft_wrap=True, highlight=False)
            for name, text in (("cause", each.cause), ("cure", each.cure)):
                console.print(f"  {name}: {show.text(text)}", soft_wrap=True, highlight=False)
