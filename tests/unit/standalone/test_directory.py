"""The directory store: what is signed, the secret behind it, and what a killed writer leaves."""

import asyncio
import stat
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from media_standalone.datadir import DataDir
from media_standalone.directory import Signer, open_store, remove_staged
from mediaasset.reasons import MediaError, Reason

KEY = "private/default/assets/uid/original-0123456789abcdef.pdf"


async def test_signature_holds_until_its_time_and_for_its_key() -> None:
    now = [1000.0]
    signer = Signer(b"k" * 32, "https://media.example.org/base/", now=lambda: now[0])
    url = await signer.sign(KEY, timedelta(seconds=60))
    assert url.startswith(f"https://media.example.org/base/{KEY}?")
    query = parse_qs(urlsplit(url).query)
    (expires,), (signature,) = query["expires"], query["signature"]
    assert signer.remaining(KEY, expires, signature) == 60
    assert signer.remaining(KEY + "x", expires, signature) is None
    assert signer.remaining(KEY, str(int(expires) + 1), signature) is None
    assert Signer(b"j" * 32, "").remaining(KEY, expires, signature) is None
    now[0] = 1060.0
    assert signer.remaining(KEY, expires, signature) is None


async def test_signature_of_a_download_is_for_its_name_too_and_opens_nothing_else() -> None:
    signer = Signer(b"k" * 32, "https://media.example.org/base/")
    url = await signer.download("uploads/default/one/00", timedelta(hours=1), "naïve.jpg")
    assert url.startswith("https://media.example.org/base/download/uploads/default/one/00?")
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    proof = query["expires"], query["signature"]
    assert query["name"] == "naïve.jpg"
    assert signer.remaining("uploads/default/one/00", *proof, "naïve.jpg") in range(3590, 3601)
    assert signer.remaining("uploads/default/one/00", *proof, "other.jpg") is None
    assert signer.remaining("uploads/default/one/00", *proof) is None
    assert signer.remaining("uploads/default/one/01", *proof, "naïve.jpg") is None


@pytest.mark.parametrize("key", ["media/a/x.jpg", "uploads/default/one/00", "work/uid/1/result.json"])
async def test_only_private_objects_are_signed(key: str) -> None:
    with pytest.raises(MediaError) as raised:
        await Signer(b"k" * 32, "http://localhost").sign(key, timedelta(hours=1))
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
    store = open_store(tmp_path, Signer(b"k" * 32, "http://localhost"))
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
