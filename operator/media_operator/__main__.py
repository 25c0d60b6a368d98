"""`python -m media_operator`: the operator of a cluster, and what else is done beside it.

    serve                      the operator; without a command too
    sweep [--delete] [--json]  look once for what nobody needs any more, and print what was found
    crds                       bring the definitions of our resources up to date, before an upgrade
    release                    let all assets go, before an uninstall

All are told by environment variables: MEDIA_OPERATOR_… (settings.py, sweepsettings.py), MEDIA_STORE_… and AWS_…
(mediaasset/s3.py).
"""

# What a command needs is imported with it: the sweep runs beside the operator, and needs neither its time nor memory.
# ruff: noqa: PLC0415

import argparse
import asyncio
import logging
import sys

from mediaasset import logs
from mediaasset.assets import AssetsError
from mediaasset.environment import load
from mediaasset.reasons import MediaError

#: They tell of each event, of each probe, and of a failing one, which Kopf reports, once more with a traceback.
_TALKATIVE = {
    "kopf": logging.WARNING,
    "botocore": logging.WARNING,
    "aiohttp.access": logging.WARNING,
    "aiohttp.server": logging.CRITICAL,
}


#: What asyncio says of a watch of Kopf's that a stop cut off in the middle of an event, or while it was being opened:
#: Kopf looks there for its own task, and callbacks have none.
_CUT_OFF = (
    "an error occurred during closing of asynchronous generator",
    "stream.<locals>.request_cancel_callback",
    "Task was destroyed but it is pending!",
)


def _brief(record: logging.LogRecord) -> bool:
    """Leave out what a stop leaves open, and the traceback of what the network or the API server said to Kopf."""
    if record.name == "asyncio" and any(each in record.getMessage() for each in _CUT_OFF):
        return False
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, OSError) or type(error).__module__.startswith(("aiohttp.", "kopf.")):
        record.exc_info = None
    return True


def main() -> int:
    """Run until told to stop: 0 then, 1 when something is missing at the start or breaks later."""
    given = _parser().parse_args()
    logs.configure()
    for handler in logging.getLogger().handlers:
        handler.addFilter(_brief)
    for name, level in _TALKATIVE.items():
        logging.getLogger(name).setLevel(level)
    try:
        match given.command:
            case "crds":
                _upgrade_definitions()
            case "release":
                _release()
            case "sweep":
                return _sweep(deletes=given.delete, as_json=given.json)
            case _:
                _serve()
    except (OSError, ValueError, AssetsError, MediaError) as error:
        sys.stderr.write(f"media_operator: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="media_operator", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("serve")
    commands.add_parser("crds")
    commands.add_parser("release")
    sweep = commands.add_parser("sweep")
    sweep.add_argument("--delete", action="store_true", help="delete what is found, instead of only counting it")
    sweep.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser


def _serve() -> None:
    import uvloop

    from media_operator.cluster import serve
    from media_operator.settings import ClusterSettings
    from mediaasset.exposition import served
    from mediaasset.s3 import StoreSettings

    settings = load(ClusterSettings)
    runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    with served(settings.metrics_port, "0.0.0.0"):  # noqa: S104 - in a pod, whose network says who may come
        try:
            runner.run(serve(settings, load(StoreSettings)))
        finally:
            # A watch of Kopf's may wait for ever for what its stop missed, and so would a loop that is closed.
            if not asyncio.all_tasks(runner.get_loop()):
                runner.close()


def _upgrade_definitions() -> None:
    from media_operator.definitions import upgrade
    from media_operator.settings import DefinitionSettings

    asyncio.run(upgrade(load(DefinitionSettings)))


def _release() -> None:
    from media_operator.settings import ReleaseSettings
    from media_operator.uninstall import release

    asyncio.run(release(load(ReleaseSettings)))


def _sweep(*, deletes: bool, as_json: bool) -> int:
    from media_operator.clustersweep import run
    from media_operator.sweepsettings import PodSettings, SweepSettings
    from mediaasset.s3 import StoreSettings

    report = asyncio.run(run(load(SweepSettings), load(PodSettings), load(StoreSettings), deletes=deletes))
    sys.stdout.write(report.to_json() + "\n" if as_json else report.table())
    return 1 if report.refused or report.failure else 0


if __name__ == "__main__":
    sys.exit(main())
