from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    for name in ("store", "scratch"):
        (tmp_path / name).mkdir()
    made = Bench(tmp_path / "store", tmp_path / "scratch")
    yield made
    # A test that failed may have left some running.
    for process in made.started:
        process.kill()
        process.communicate()
