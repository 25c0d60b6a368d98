"""`python -m media_standalone`: media-operator on one machine, without root, Docker, Redis or cluster."""

import argparse
import os
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

from media_standalone.app import Options, OptionsError, run
from media_standalone.database import SchemaError
from media_standalone.datadir import InUseError, default_directory

#: The same as --token, but not visible in the list of processes.
TOKEN_VARIABLE = "MEDIA_TOKEN"  # noqa: S105 - a name, not a token


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until told to stop; return 0 then, 2 for options that do not fit, 1 for anything else that is in the way."""
    parser = _parser()
    given = parser.parse_args(arguments)
    options = Options(
        host=given.host,
        port=given.port,
        data_dir=given.data_dir,
        # A token file stands for itself: a variable left over from another use must not contradict it.
        token=given.token or (None if given.tokens else os.environ.get(TOKEN_VARIABLE) or None),
        tokens=given.tokens,
        public_url=given.public_url,
        profiles=given.profiles,
    )
    try:
        run(options)
    except OptionsError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        return 0
    except (InUseError, SchemaError, ValueError, OSError) as error:
        return _fail(str(error))
    except sqlite3.Error as error:
        return _fail(f"the database in {options.data_dir} cannot be used: {error}")
    return 0


def _fail(message: str) -> int:
    sys.stderr.write(f"media standalone: {message}\n")
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="media standalone", description="Run media-operator on this machine: upload, transcode and serve."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=8080, help="port, 0 for a free one (default: %(default)s)")
    parser.add_argument(
        "--data-dir", type=Path, default=default_directory(), metavar="DIR", help="where all is kept (%(default)s)"
    )
    parser.add_argument("--token", help=f"the one token that is accepted; better given as {TOKEN_VARIABLE}")
    parser.add_argument("--tokens", type=Path, metavar="FILE", help="a file of tokens, users and namespaces")
    parser.add_argument("--public-url", metavar="URL", help="what readers put before media/… (default: host and port)")
    parser.add_argument("--profiles", type=Path, metavar="DIR", help="MediaProfiles beside the built-in ones")
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:  # noqa: PLR2004 - 16 bits
        message = f"{port} is no port"
        raise argparse.ArgumentTypeError(message)
    return port


if __name__ == "__main__":
    sys.exit(main())
