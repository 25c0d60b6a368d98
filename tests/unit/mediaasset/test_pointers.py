"""Pointers: what a URL asks for, and what a pointer may say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaasset import pointers

KEY = "media/shop/assets/u/medium-0123456789abcdef.jpg"
INDEX = "media/shop/assets/u/hls-0123456789abcdef/index.m3u8"
BODY = pointers.body(("shop", "one"), {"medium": KEY, "hls": INDEX})


@pytest.mark.parametrize(
    "path", ["a.jpg", "a b/ü (1)/c%.JPEG", "x/by-name/a.mp4", "a/photo-0123456789ABCDEF.jpg", "a/b..png"]
)
def test_what_may_be_a_stable_path(path: str) -> None:
    assert pointers.stable_path_problem(path) is None


@pytest.mark.parametrize(
    "path",
    [
        *("", "a", "a.html", ".jpg", "a/.b.jpg", "/a.jpg", "a//b.jpg", "../a.jpg", "a\\b.jpg"),
        *("a.jpg\n", "a\0.jpg", "a.jpg/", f"{'a' * 297}.jpg"),
        *("by-name/a.jpg", "a/medium-0123456789abcdef.jpg", "hls-0123456789abcdef/x.mp4"),
    ],
)
def test_what_may_not(path: str) -> None:
    assert pointers.stable_path_problem(path)


@given(st.text())
def test_whatever_is_asked_for_is_looked_up_at_a_key_of_ours(path: str) -> None:
    assert pointers.is_pointer(pointers.asked(path).key)


def test_a_name_has_the_rendition_at_its_end() -> None:
    name = pointers.by_name("shop", "ads/12", "photo.v1")
    key = pointers.name_key(name)
    assert pointers.asked(f"{name}/medium") == (key, "medium", None)
    assert pointers.asked(f"{name}/hls/index.m3u8") == (key, "hls", "index.m3u8")
    assert pointers.asked("shop/old/a.jpg") == (pointers.path_key("shop/old/a.jpg"), None, None)
    assert pointers.name_key(name) != pointers.path_key(name)


@pytest.mark.parametrize(
    ("rendition", "file", "answers"),
    [
        ("medium", None, KEY),
        ("hls", "720.mp4", INDEX.replace("index.m3u8", "720.mp4")),
        ("hls", None, None),
        ("medium", "index.m3u8", None),
        ("large", None, None),
        (None, None, KEY),
    ],
)
def test_what_answers(rendition: str | None, file: str | None, answers: str | None) -> None:
    assert pointers.target(BODY, pointers.Asked("", rendition, file)) == answers


@pytest.mark.parametrize(
    "content", [b"", b"shop/one", b"one\n", b"../one\n", b"shop/one/two\n", b"Shop/one\n", b"shop/\xff\n"]
)
def test_an_owner_that_is_no_asset_is_none(content: bytes) -> None:
    assert pointers.owner_of(content) is None
    assert pointers.owner_of(BODY) == ("shop", "one")
