import os

import pytest

from media_transcoder import confine


@pytest.mark.parametrize(("told", "expected"), [("1", 1), ("64", 2), ("0", 2), ("", 2), ("many", 2)])
def test_cpus_are_those_of_the_container(monkeypatch: pytest.MonkeyPatch, told: str, expected: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {4, 7})
    monkeypatch.setenv("MEDIA_CPUS", told)
    assert confine.cpu_count() == expected


@pytest.mark.parametrize(("told", "expected"), [("1073741824", 1024**3), ("0", None), ("", None), ("2Gi", None)])
def test_memory_is_that_of_the_container(monkeypatch: pytest.MonkeyPatch, told: str, expected: int | None) -> None:
    monkeypatch.setenv("MEDIA_MEMORY_BYTES", told)
    assert confine.memory_bytes() == expected
