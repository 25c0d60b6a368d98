"""What every adapter of the port `Store` keeps."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import httpx2
import pytest

from mediaasset.store import UNKNOWN, Length, Store

MIB = 1024 * 1024
KEY = "uploads/default/one/00ff"

#: What may be known of the length of so many bytes.
KNOWN = {
    "nothing": lambda _: UNKNOWN,
    "all": lambda size: Length(size, size),
    "least": lambda size: Length(max(size - 100_000, 0), size + 1000),
}
Known = Callable[[int], Length]


@pytest.fixture(params=sorted(KNOWN))
def known(request: pytest.FixtureRequest) -> Known:
    return KNOWN[request.param]


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def keys_under(store: Store, prefix: str) -> list[str]:
    return sorted([item.key async for item in store.list(prefix)])


async def test_written_object_is_read_back(store: Store) -> None:
    await store.write(KEY, chunks(b"one", b"two"))
    assert await store.read(KEY, max_bytes=6) == b"onetwo"
    info = await store.stat(KEY)
    assert info is not None
    assert (info.key, info.size_bytes) == (KEY, 6)
    assert abs(datetime.now(UTC) - info.modified) < timedelta(minutes=1)


async def test_empty_object_is_an_object(store: Store) -> None:
    await store.write(KEY, chunks())
    assert await store.read(KEY, max_bytes=0) == b""


@pytest.mark.parametrize("size", [5 * MIB, 5 * MIB + 100_001, 20 * MIB, 20 * MIB + 1])
async def test_large_object_arrives_whole(store: Store, known: Known, size: int) -> None:
    content = hashlib.shake_256(b"content").digest(size)
    cut = (0, 1, 70_000, 3 * MIB + 11, 3 * MIB + 12, 4 * MIB, size - 3, size)
    await store.write(KEY, chunks(*(content[start:end] for start, end in pairwise(cut))), known(size))
    info = await store.stat(KEY)
    assert info is not None
    assert info.size_bytes == size
    assert await store.read(KEY, max_bytes=size) == content


class BrokenOffError(Exception):
    pass


@pytest.mark.parametrize("error", [BrokenOffError, ConnectionResetError])
@pytest.mark.parametrize("length", [0, 10, 9 * MIB])
async def test_stream_that_breaks_off_leaves_nothing_and_its_error_passes(
    store: Store, known: Known, length: int, error: type[Exception]
) -> None:

    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * length
        raise error

    with pytest.raises(error):
        await store.write(KEY, broken(), known(length + 1))
    assert await store.stat(KEY) is None
    assert await keys_under(store, "uploads/") == []


async def test_stream_that_breaks_off_after_its_last_byte_leaves_nothing(store: Store, known: Known) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * (9 * MIB)
        raise BrokenOffError

    with pytest.raises(BrokenOffError):
        await store.write(KEY, broken(), known(9 * MIB))
    assert await keys_under(store, "uploads/") == []


async def test_object_is_not_seen_before_it_is_whole(store: Store, known: Known) -> None:
    half_sent, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"x" * (9 * MIB)
        half_sent.set()
        await go_on.wait()
        yield b"y"

    writing = asyncio.create_task(store.write(KEY, slow(), known(9 * MIB + 1)))
    await half_sent.wait()
    assert await store.stat(KEY) is None
    assert await keys_under(store, "uploads/") == []
    go_on.set()
    await writing
    assert await keys_under(store, "uploads/") == [KEY]


async def test_create_writes_once(store: Store) -> None:
    assert await store.create(KEY, b"first") is True
    assert await store.create(KEY, b"second") is False
    assert await store.read(KEY, max_bytes=100) == b"first"


async def test_of_many_creates_of_one_key_one_wins(store: Store) -> None:
    bodies = [b"%d" % number for number in range(8)]
    won = await asyncio.gather(*(store.create(KEY, body) for body in bodies))
    assert sum(won) == 1
    assert await store.read(KEY, max_bytes=100) == bodies[won.index(True)]


async def test_what_is_not_there_is_none(store: Store) -> None:
    assert await store.read(KEY, max_bytes=100) is None
    assert await store.stat(KEY) is None
    assert await store.copy(KEY, "uploads/default/one/copy") is False
    await store.delete([KEY])


async def test_object_that_is_too_large_is_not_read(store: Store) -> None:
    await store.write(KEY, chunks(b"12345"))
    with pytest.raises(ValueError, match="5 bytes"):
        await store.read(KEY, max_bytes=4)


async def test_list_holds_what_lies_under_the_prefix_only(store: Store) -> None:
    for key in ("work/a/1/result.json", "work/a/2/result.json", "work/ab/1/result.json", "media/a/x"):
        assert await store.create(key, b"{}")
    assert await keys_under(store, "work/a/") == ["work/a/1/result.json", "work/a/2/result.json"]
    assert await keys_under(store, "nothing/") == []


async def test_copy_leaves_the_source(store: Store) -> None:
    await store.create("media/a/x", b"body")
    assert await store.copy("media/a/x", "private/a/x") is True
    assert await store.read("media/a/x", max_bytes=9) == await store.read("private/a/x", max_bytes=9) == b"body"


async def test_delete_takes_what_is_named_and_minds_nothing_that_is_gone(store: Store) -> None:
    for key in ("media/a/1", "media/a/2", "media/a/3"):
        await store.create(key, b"x")
    await store.delete(["media/a/1", "media/a/gone", "media/a/3"])
    assert await keys_under(store, "media/") == ["media/a/2"]


async def test_signed_url_names_the_object(store: Store) -> None:
    key = "private/default/assets/uid/original-0123456789abcdef.pdf"
    await store.create(key, b"x")
    url = await store.sign(key, timedelta(hours=1))
    assert url.startswith("http")
    assert url.partition("?")[0].endswith(key.removeprefix("private"))
    assert "/private/~" in url or "X-Amz-Signature=" in url


async def test_many_urls_are_signed_at_once(store: Store) -> None:
    wanted = [f"private/default/assets/uid/{name}-0123456789abcdef.jpg" for name in ("small", "large")]
    signed = await store.sign_all(wanted, timedelta(hours=1))
    assert list(signed) == wanted
    assert all(url.partition("?")[0].endswith(key.removeprefix("private")) for key, url in signed.items())
    assert await store.sign_all([], timedelta(hours=1)) == {}


async def test_download_is_answered_as_an_attachment_where_the_store_answers_itself(store: Store) -> None:
    key = "uploads/default/one/00"
    await store.create(key, b"body")
    url = await store.sign(key, timedelta(hours=1), file_name='na\u00efve "x"/\n.jpg')
    assert key in url.partition("?")[0]
    if "X-Amz-Signature" not in url:
        # A directory is served by standalone: tests/integration/standalone/test_download.py.
        return
    async with httpx2.AsyncClient() as client:
        answer = await client.get(url)
        assert (answer.status_code, answer.content) == (200, b"body")
        assert answer.headers["Content-Disposition"] == (
            "attachment; filename=\"na_ve _x___.jpg\"; filename*=UTF-8''na%C3%AFve%20_x___.jpg"
        )
        assert (await client.get(url.replace("jpg", "exe"))).status_code == 403
