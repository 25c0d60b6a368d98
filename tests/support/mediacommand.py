"""The command line as a person runs it: `python -m media_cli` in an environment of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

#: Variables that would lead the command to another server, bucket or cluster than the test's.
_FOREIGN = ("MEDIA_", "AWS_", "XDG_", "KUBE", "SSL_")


def media(*arguments: object, home: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run it to its end; `home` is an empty directory, so nothing of the user of this machine is found."""
    return subprocess.run(
        [sys.executable, "-m", "media_cli", *map(str, arguments)],
        env=environment_of(home, **environment),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def environment_of(home: Path, **environment: str) -> dict[str, str]:
    """Return what the command is told: nothing of this machine, and what is given."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return own | {"HOME": str(home), "COLUMNS": "200", **environment}


def answer(*arguments: object, home: Path, code: int, **environment: str) -> Any:
    """Run it with --output json; return the document, after a look at the exit code."""
    done = media(*arguments, "--output", "json", home=home, **environment)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)
