"""The layout that imports depend on."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    "folder", ["operator", "services", "services/ingest", "services/transcoder", "standalone", "cli"]
)
def test_folders_of_packages_are_no_packages(folder: str) -> None:
    assert (ROOT / folder).is_dir()
    assert not (ROOT / folder / "__init__.py").exists()


def test_operator_is_the_standard_library_from_the_root() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", "import operator; print(operator.itemgetter(0)([7]))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout == "7\n"


def test_package_init_files_are_empty() -> None:
    packages = [path for path in ROOT.glob("**/media*/**/__init__.py") if ".venv" not in path.parts]
    assert packages
    assert all(path.read_text() == "" for path in packages)
