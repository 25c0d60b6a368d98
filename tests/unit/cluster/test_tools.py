"""Which compiler builds the programs of the cluster; the builds themselves are what the end-to-end tests run on."""

from pathlib import Path

import pytest

from hack.cluster import tools

PINNED = tools.versions()["GO"].partition("==")[2]


def _install(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("script", "release"),
    [
        ("echo go1.26.10", (1, 26, 10)),
        ("echo go1.26.6 X:nocoverageredesign", (1, 26, 6)),
        ("echo go1.27rc1", ()),
        ("echo devel go1.27-3c8d2a1", ()),
        ("echo no version is set; exit 1", ()),
        ('test "$GOTOOLCHAIN" = local && echo go1.24.0', (1, 24, 0)),
    ],
)
def test_release_of_a_compiler_is_its_own(tmp_path: Path, script: str, release: tuple[int, ...]) -> None:
    assert tools._release(_install(tmp_path / "go", script)) == release


@pytest.mark.parametrize(("release", "own"), [("1.24.13", False), (PINNED, True), ("1.100.0", True)])
def test_compiler_of_the_machine_is_taken_if_it_is_as_new_as_the_pinned_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: str, *, own: bool
) -> None:
    pinned = tmp_path / f"cache/tools/go-{PINNED}/bin/go"
    pinned.parent.mkdir(parents=True)
    monkeypatch.setenv("MEDIA_OPERATOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = _install(tmp_path / "go", f"echo go{release}")
    assert tools.go() == (found if own else str(pinned))
