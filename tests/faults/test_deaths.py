"""The operator dies at each of its writes, to the API server and to the store, and the next one does the rest."""

from pathlib import Path
from typing import Any

import pytest

from golden import Golden
from scene import Scene

#: What the operator writes in the golden run; a test holds it to what it does.
RECORD = (Path(__file__).parent / "golden.txt").read_text().splitlines()
#: The writes after whose first one the short form dies.
SHORT = {"POST jobs", "PUT mediaassets/photo/status", "PUT s3:tombstones/shop/photo.json"}


def test_the_writes_of_the_golden_run_are_those_on_record(golden: Golden) -> None:
    assert golden.writes == RECORD, "\n".join(golden.writes)


def cases() -> list[Any]:
    found, seen = [], set[str]()
    for number, write in enumerate(RECORD, 1):
        is_short = write in SHORT - seen
        seen.add(write)
        for after in (False, True):
            name = f"{number:02}-{'after' if after else 'before'}-{write.replace('/', '_')}"
            found.append(pytest.param(number, after, id=name, marks=[] if is_short and after else pytest.mark.long))
    return found


@pytest.mark.parametrize(("number", "after"), cases())
def test_what_a_dead_operator_leaves_is_finished_by_the_next(
    scene: Scene, golden: Golden, number: int, *, after: bool
) -> None:
    scene.operator.start()
    scene.journal.kill_at(number, scene.operator.kill, after=after)
    golden.holds(scene)
    assert not scene.journal.is_deadly
    assert scene.writes()[number - 1] == RECORD[number - 1]
