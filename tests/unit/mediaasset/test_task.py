"""Task, Result and Failure survive JSON, and refuse what they are not."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaasset.media import Kind
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import (
    Failure,
    Fit,
    Format,
    Limits,
    Rendition,
    RenditionResult,
    RenditionState,
    Result,
    Source,
    SourceInfo,
    Task,
)

WORDS = st.text(max_size=20)
COUNTS = st.integers(0, 2**40)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


RENDITIONS = st.builds(
    Rendition,
    name=WORDS,
    kind=st.sampled_from(Kind),
    format=st.sampled_from(Format),
    fit=st.sampled_from(Fit),
    width=maybe(COUNTS),
    preset=maybe(WORDS),
    optional=st.booleans(),
)
TASKS = st.builds(
    Task,
    uid=WORDS,
    namespace=WORDS,
    name=WORDS,
    attempt=COUNTS,
    inputs_hash=WORDS,
    source=st.builds(Source, key=maybe(WORDS), url=maybe(WORDS), size_bytes=maybe(COUNTS)),
    type=maybe(st.sampled_from(Kind)),
    prefix=WORDS,
    document_prefix=WORDS,
    renditions=st.lists(RENDITIONS, max_size=3).map(tuple),
    limits=st.dictionaries(st.sampled_from(Kind), st.builds(Limits, max_bytes=maybe(COUNTS))),
    allowed_cidrs=st.lists(WORDS, max_size=2).map(tuple),
)
INFOS = st.builds(
    SourceInfo,
    type=st.sampled_from(Kind),
    mime_type=WORDS,
    size_bytes=COUNTS,
    sha256=WORDS,
    codecs=st.lists(WORDS, max_size=3).map(tuple),
)
RESULTS = st.builds(
    Result,
    uid=WORDS,
    attempt=COUNTS,
    inputs_hash=WORDS,
    source_info=INFOS,
    renditions=st.lists(
        st.builds(
            RenditionResult,
            name=WORDS,
            state=st.sampled_from(RenditionState),
            reason=maybe(st.sampled_from(Reason)),
            key=maybe(WORDS),
        ),
        max_size=3,
    ).map(tuple),
)
FAILURES = st.builds(
    Failure, uid=WORDS, attempt=COUNTS, inputs_hash=WORDS, reason=st.sampled_from(Reason), message=WORDS
)


@given(st.one_of(TASKS, RESULTS, FAILURES))
def test_round_trip(document: Task | Result | Failure) -> None:
    assert type(document).from_json(document.to_json()) == document


@given(TASKS)
def test_a_newer_field_is_ignored(task: Task) -> None:
    body = json.loads(task.to_json()) | {"addedLater": {"a": [1]}}
    assert Task.from_json(json.dumps(body)) == task


@given(st.one_of(st.binary(), st.recursive(st.none() | st.booleans() | st.text(), st.lists).map(json.dumps)))
def test_anything_else_is_an_invalid_task(body: bytes | str) -> None:
    with pytest.raises(MediaError) as error:
        Task.from_json(body)
    assert error.value.reason is Reason.INVALID_TASK


def test_another_version_is_refused_by_its_number() -> None:
    with pytest.raises(MediaError, match="version 2"):
        Result.from_json('{"version": 2}')


@pytest.mark.parametrize(
    ("field", "value"),
    [("attempt", "1"), ("attempt", True), ("attempt", None), ("source", []), ("limits", {"Film": {}}), ("type", "x")],
)
def test_a_wrong_type_is_refused(field: str, value: object) -> None:
    good = Task(
        uid="u",
        namespace="n",
        name="a",
        attempt=1,
        inputs_hash="h",
        source=Source(key="k"),
        prefix="p/",
        document_prefix="d/",
    )
    with pytest.raises(MediaError):
        Task.from_json(json.dumps(json.loads(good.to_json()) | {field: value}))
