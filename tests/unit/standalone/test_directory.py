"""The directory store: what is signed, the secret behind it, and what a killed writer leaves."""

import asyncio
import re
import stat
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from media_standalone.datadir import DataDir
from media_standalone.directory import open_store, remove_staged
from mediaasset.objects import ObjectStore
from mediaasset.reasons import MediaError, Reason
from mediaasset.signing import UrlSigner


def store_of(root: Path) -> ObjectStore:
    return open_store(root, UrlSigner("https://media.example.org/base/", b"k" * 32))


async def test_a_download_is_for_its_name_too_and_opens_nothing_else(tmp_path: Path) -> None:
    key = "uploads/default/one/00"
    url = await store_of(tmp_path).sign(key, timedelta(hours=1), file_name="naïve.jpg")
    found = re.fullmatch(rf"https://media.example.org/base/download/(~[^/]+)/{key}\?download=na%C3%AFve.jpg", url)
    assert found
    signer = UrlSigner("", b"k" * 32)
    assert signer.remaining(found[1], key, "na%C3%AFve.jpg") in range(3290, 3601)
    for other, name in ((key, "other.jpg"), (key, ""), (f"{key}1", "na%C3%AFve.jpg")):
        assert signer.remaining(found[1], other, name) is None


@pytest.mark.parametrize("key", ["media/a/x.jpg", "uploads/default/one/00", "work/uid/1/result.json"])
async def test_only_private_objects_are_shown(tmp_path: Path, key: str) -> None:
    with pytest.raises(MediaError) as raised:
        await store_of(tmp_path).sign(key, timedelta(hours=1))
    assert raised.value.reason is Reason.STORE_FORBIDDEN


def test_secrets_are_made_once_and_for_this_user_only(tmp_path: Path) -> None:
    first, again = DataDir(tmp_path), DataDir(tmp_path)
    assert len(first.url_secret()) == 32
    assert again.url_secret() == first.url_secret()
    assert len(first.own_token()) >= 32
    assert again.own_token() == first.own_token() == (tmp_path / "token").read_text().strip()
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    assert {path.name for path in tmp_path.iterdir()} == {"url-key", "token"}


async def test_what_a_killed_writer_leaves_is_removed_and_nothing_else(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    await store.create("uploads/default/one/00", b"kept")
    half_sent = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"x" * (9 * 1024 * 1024)
        half_sent.set()
        await asyncio.Event().wait()

    writing = asyncio.create_task(store.write("uploads/default/two/00", endless()))
    await half_sent.wait()
    staged = list(tmp_path.rglob("00#*"))  # noqa: ASYNC240 - nothing else runs in this loop
    assert len(staged) == 1
    # The very file that obstore stages, as if the process had died now.
    assert remove_staged(tmp_path) == 1
    assert not staged[0].exists()
    assert await store.read("uploads/default/one/00", max_bytes=9) == b"kept"
    writing.cancel()
    await asyncio.wait([writing])
