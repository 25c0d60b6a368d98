"""Where imported files go, and what is remembered of them."""

import json
from pathlib import Path, PurePosixPath

import pytest

from media_cli.importing import paths
from media_cli.importing.state import State


@pytest.mark.parametrize(
    ("folder", "path"),
    [
        ("", "shop"),
        ("shoes/Blue", "shop/shoes/Blue"),
        ("été 2024/a  b", "shop/ete-2024/a-b"),
        ("中文", "shop/-"),
        ("..hidden", "shop/hidden"),
    ],
)
def test_a_folder_becomes_a_public_path(folder: str, path: str) -> None:
    assert paths.public_path("/shop/", PurePosixPath(folder)) == path


@pytest.mark.parametrize("folder", ["/".join("abcdefgh"), "x" * 64, "/".join(["y" * 60] * 4)])
def test_a_folder_that_fits_into_no_public_path_is_named(folder: str) -> None:
    with pytest.raises(ValueError, match="no public path"):
        paths.public_path("shop", PurePosixPath(folder))


def test_a_key_is_of_path_name_and_content() -> None:
    one = paths.key("shop", "a.png", "00")
    assert one == paths.key("shop", "a.png", "00")
    assert (
        len({one, paths.key("shop", "b.png", "00"), paths.key("shop", "a.png", "01"), paths.key("", "a.png", "00")})
        == 4
    )
    assert len(one) <= 255
    # A name that is no valid Unicode, as file systems have them.
    assert paths.key("shop", "a\udcff.png", "00") != one


def test_an_origin_that_is_too_long_is_left_out() -> None:
    assert paths.origin("shop/", PurePosixPath("a b/ü.PNG")) == {"stable_path": "shop/a b/ü.PNG"}
    for unfit in ("a b/c", "a/medium-0123456789abcdef.jpg"):
        assert paths.origin("shop/", PurePosixPath(unfit)) == {"metadata": json.dumps({"import_path": f"shop/{unfit}"})}
    assert paths.origin("shop", PurePosixPath("x" * 1024)) == {}


def test_a_state_survives_a_line_that_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "state.jsonl"
    with State(path) as state:
        state.add("a.png", "1-1", "one")
        state.add("b.png", "2-2", "two")
    path.write_text(path.read_text()[:-9])
    with State(path) as state:
        assert state.asset("a.png", "1-1") == "one"
        assert state.asset("b.png", "2-2") is None
        state.add("b.png", "2-2", "two")
    state = State(path)
    assert (state.asset("a.png", "1-1"), state.asset("b.png", "2-2")) == ("one", "two")
    # Another stamp is another content.
    assert state.asset("a.png", "1-9") is None
