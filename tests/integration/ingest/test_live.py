"""Progress from a real Redis, published by the transcoder's own publisher."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog

from media_ingest.live import LiveProgress
from media_ingest.shared import RedisSettings, connect
from media_transcoder.live import Live
from mediaasset.task import PROGRESS_CHANNEL, Progress
from polling import until
from redisserver import RedisServer, started


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with started(tmp_path) as running:
        yield running


@pytest.fixture
async def live(server: RedisServer) -> AsyncIterator[LiveProgress]:
    redis = connect(RedisSettings(url=server.url(user="default", password=server.root)))
    assert redis is not None
    reader = LiveProgress(redis)
    async with reader.listening():
        yield reader
    await redis.aclose()


def publish(server: RedisServer, uid: str, message: str | bytes) -> int:
    with server.admin() as admin:
        return int(admin.publish(PROGRESS_CHANNEL + uid, message))


async def heard(server: RedisServer, live: LiveProgress, uid: str, percent: float) -> Progress:
    """Publish until it is heard: nobody says when a subscription has begun."""

    async def once() -> Progress | None:
        publish(server, uid, json.dumps({"stage": "render", "percent": percent}))
        found = await live.progress(uid)
        return found if found and found.percent == percent else None

    return await until(once)


async def test_what_a_transcoder_publishes(
    server: RedisServer, live: LiveProgress, monkeypatch: pytest.MonkeyPatch
) -> None:
    await heard(server, live, "other", 1)
    monkeypatch.setenv("MEDIA_REDIS_URL", server.url())
    monkeypatch.setattr("media_transcoder.live._PAUSE_SECONDS", 0.05)

    async def found() -> Progress | None:
        return await live.progress("uid-1")

    with Live("uid-1", pytest.fail) as transcoder:
        transcoder.offer(json.dumps({"stage": "render", "percent": 51.3, "speed": 2.5}))
        assert await until(found) == Progress(stage="render", percent=51.3, speed=2.5)
    assert await live.progress("nobody") is None


async def test_only_the_last_word_counts_and_only_while_it_is_fresh(
    server: RedisServer, live: LiveProgress, monkeypatch: pytest.MonkeyPatch
) -> None:
    for percent in (10.0, 20.0):
        assert (await heard(server, live, "one", percent)).percent == percent
    monkeypatch.setattr("media_ingest.live._AGE_SECONDS", -1)
    assert await live.progress("one") is None


async def test_memory_is_bounded(server: RedisServer, live: LiveProgress, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("media_ingest.live._MOST", 3)
    for number in range(5):
        await heard(server, live, str(number), 1)
    assert [bool(await live.progress(str(number))) for number in range(5)] == [False, False, True, True, True]


async def test_nonsense_is_not_heard(server: RedisServer, live: LiveProgress) -> None:
    await heard(server, live, "one", 1)
    for message in (
        "",
        "[]",
        "{",
        '{"percent": 1}',
        '{"stage": 1}',
        b"\xff\xfe",
        "9" * 5000,
        '{"stage":"a"}' + " " * 2000,
    ):
        publish(server, "one", message)
    publish(server, "two", '{"stage": "fetch"}')
    assert (await heard(server, live, "three", 3)).stage == "render"
    assert await live.progress("one") == Progress(stage="render", percent=1.0)
    assert await live.progress("two") == Progress(stage="fetch")


async def test_a_redis_that_comes_back_is_heard_again(
    server: RedisServer, live: LiveProgress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("media_ingest.live._PAUSE_SECONDS", 0.05)
    with structlog.testing.capture_logs() as lines:
        await heard(server, live, "one", 1)
        with server.admin() as admin:
            admin.execute_command("CLIENT", "KILL", "TYPE", "PUBSUB")
        await heard(server, live, "one", 2)
    assert [line["event"].split(":")[0] for line in lines] == ["no progress is heard", "progress is heard again"]


async def test_silence_is_asked_about(server: RedisServer, live: LiveProgress, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("media_ingest.live._PING_SECONDS", 0.05)
    with structlog.testing.capture_logs() as lines:
        await heard(server, live, "one", 1)

        async def asked() -> bool:
            with server.admin() as admin:
                return int(admin.info("commandstats").get("cmdstat_ping", {}).get("calls", 0)) >= 3

        await until(asked)
        assert await live.progress("one")
    assert lines == []


async def test_a_redis_that_is_flushed_and_drops_its_clients(server: RedisServer, live: LiveProgress) -> None:
    await heard(server, live, "one", 10)
    with server.admin() as admin:
        admin.flushall()
        assert admin.client_kill_filter(_type="pubsub") >= 1
    assert (await heard(server, live, "one", 30)).percent == 30
