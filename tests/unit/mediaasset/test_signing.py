"""Signed URLs: what a token opens, for how long, and that the gateway's Lua takes the same texts for signed."""

import json
import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from mediaasset.signing import PrivateFirst, UrlSigner, scope

VECTORS = json.loads((Path(__file__).parents[2] / "data/signatures.json").read_text())
UID = "abcdefab-1234-4123-8123-0123456789ab"
FILE = f"private/shop/ads/{UID}/medium-0123456789abcdef.jpg"
TREE = f"private/shop/ads/{UID}/hls-0123456789abcdef/"
OLD, NEW = b"o" * 32, b"n" * 32


def token_of(url: str) -> str:
    found = re.search(r"/(~[^/]+)/", url)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("vector", VECTORS["urls"], ids=lambda vector: vector["why"])
def test_vectors(vector: dict[str, str]) -> None:
    signer = UrlSigner("https://media.test", VECTORS["secret"].encode(), now=lambda: VECTORS["now"])
    url = signer.url(vector["key"], timedelta(seconds=VECTORS["lifetime"]), vector["file_name"])
    assert url == vector["url"]


@pytest.mark.parametrize(
    ("key", "opened"),
    [
        (FILE, FILE),
        (f"{TREE}index.m3u8", TREE),
        (f"{TREE}720.mp4", TREE),
        # A folder that people name like one of ours lies above the uid, and is none.
        (f"private/shop/hls-0123456789abcdef/{UID}/medium-0123456789abcdef.jpg",) * 2,
        ("uploads/shop/one/00ff",) * 2,
    ],
)
def test_scope_is_the_file_or_its_tree(key: str, opened: str) -> None:
    assert scope(key) == opened


def test_token_ends_and_opens_nothing_else() -> None:
    now = [1000.0]
    signer = UrlSigner("https://media.test/base/", NEW, now=lambda: now[0])
    url = signer.url(FILE, timedelta(seconds=120))
    assert url.startswith("https://media.test/base/private/~1120.")
    assert url.endswith(FILE.removeprefix("private"))
    token = token_of(url)
    assert signer.remaining(token, FILE) == 120
    assert signer.remaining(token, FILE.replace("medium", "small")) is None
    assert signer.remaining(token, FILE, "a.jpg") is None
    assert signer.remaining(f"~9{token[1:]}", FILE) is None
    assert signer.remaining(f"{token}\n", FILE) is None
    now[0] = 1120.9
    assert signer.remaining(token, FILE) == 0
    now[0] = 1121
    assert signer.remaining(token, FILE) == -1


def test_url_stays_the_same_for_a_while_and_never_lives_longer_than_said() -> None:
    now = [0.0]
    signer = UrlSigner("", NEW, now=lambda: now[0])
    urls = set()
    for second in range(7200, 7500):
        now[0] = second
        url = signer.url(FILE, timedelta(hours=1))
        assert 3300 < (signer.remaining(token_of(url), FILE) or 0) <= 3600
        urls.add(url)
    assert len(urls) == 1


def test_rotation_refuses_nobody_at_any_step() -> None:
    old, new = UrlSigner("", OLD), UrlSigner("", NEW, OLD)
    announced = UrlSigner("", OLD, NEW)
    by_old, by_new = (token_of(signer.url(FILE, timedelta(hours=1))) for signer in (old, new))
    for checking in (announced, new):
        assert checking.remaining(by_old, FILE)
        assert checking.remaining(by_new, FILE)
    assert old.remaining(by_new, FILE) is None
    assert UrlSigner("", NEW).remaining(by_old, FILE) is None


class Other:
    opens_trees = False

    async def sign_all(self, wanted: Sequence[str], lifetime: timedelta) -> list[str]:
        return [f"s3:{key}:{lifetime.seconds}" for key in wanted]

    async def download(self, key: str, lifetime: timedelta, file_name: str) -> str:
        return f"s3:{key}:{lifetime.seconds}:{file_name}"


async def test_only_what_is_private_is_ours_to_sign() -> None:
    signer = PrivateFirst(UrlSigner("https://media.test", NEW), Other())
    first, own, last = await signer.sign_all(["uploads/a", FILE, "media/b"], timedelta(seconds=60))
    assert (first, last) == ("s3:uploads/a:60", "s3:media/b:60")
    assert own.startswith("https://media.test/private/~")
    assert (await signer.download(FILE, timedelta(seconds=60), "a b.jpg")).endswith(".jpg?download=a%20b.jpg")
    assert await signer.download("uploads/a", timedelta(seconds=60), "a") == "s3:uploads/a:60:a"
