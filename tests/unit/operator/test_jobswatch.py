"""What a watch tells of Jobs and pods, also after a gap."""

from collections.abc import AsyncIterator
from typing import Any

from media_operator.jobswatch import Telling
from mediaasset.kube import Json


def thing(name: str, **more: Any) -> Json:
    return {"metadata": {"name": name, "annotations": {"of": name}, "managedFields": []}, **more}


async def pages(*lists: list[Json]) -> AsyncIterator[Json]:
    for items in lists:
        yield {"metadata": {"resourceVersion": "7"}, "items": items}


async def test_what_a_new_list_misses_is_told_to_be_gone_with_its_annotations() -> None:
    told: list[tuple[Json, bool]] = []
    telling = Telling(lambda body, is_gone: told.append((body, is_gone)))
    assert await telling.replace(pages([thing("a")], [thing("b")])) == "7"
    telling.put(thing("c", status={}))
    assert told == [(thing("a"), False), (thing("b"), False), (thing("c", status={}), False)]
    told.clear()
    telling.drop(thing("b", status={"phase": "Succeeded"}))
    assert told == [(thing("b", status={"phase": "Succeeded"}), True)]
    told.clear()
    await telling.replace(pages([thing("c")], [thing("d")]))
    assert told == [
        ({"metadata": {"name": "a", "annotations": {"of": "a"}}}, True),
        (thing("c"), False),
        (thing("d"), False),
    ]
