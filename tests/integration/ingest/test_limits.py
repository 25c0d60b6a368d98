"""How often one may ask, and how many uploads run at once; on a real Redis, without one, and when it dies."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
import structlog
from prometheus_client import REGISTRY

from media_ingest.limiting import Limiter, network
from media_ingest.live import LiveProgress
from media_ingest.locks import LockedError, RedisLocks
from media_ingest.settings import Settings
from media_ingest.shared import RedisSettings, connect
from mediaasset.task import PROGRESS_CHANNEL
from polling import until
from redisserver import RedisServer, started
from uploading import Api, running_api

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    directory = tmp_path / "redis"
    directory.mkdir()
    with started(directory) as server:
        yield server


@asynccontextmanager
async def sharing(server: RedisServer) -> AsyncIterator[Limiter]:
    redis = connect(RedisSettings(url=server.url(user="default", password=server.root)))
    assert redis is not None
    try:
        yield Limiter(redis)
    finally:
        await redis.aclose()


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def check_refused(answer: httpx2.Response, limit: str) -> None:
    assert answer.status_code == 429
    assert answer.json()["type"] == "urn:media-operator:problem:too-many-requests"
    assert 1 <= int(answer.headers["Retry-After"]) <= 3600
    assert f'"{limit}";r=0' in answer.headers["RateLimit"]


async def test_a_token_has_its_own_budget(tmp_path: Path) -> None:
    before = metric("media_ingest_rate_limited_total", limit="requests-token")
    async with running_api(tmp_path, requests_per_token="3/hour") as api:
        left = []
        for _ in range(3):
            answer = await api.get("/api/media/")
            assert answer.status_code == 200
            assert answer.headers["RateLimit-Policy"] == '"requests-token";q=3;w=3600'
            left.append(answer.headers["RateLimit"].split(";")[1])
        assert left == ["r=2", "r=1", "r=0"]
        check_refused(await api.get("/api/media/"), "requests-token")
        # Somebody else is not, and neither are problems without their headers.
        other = await api.get("/api/media/nothing/", user="bob")
        assert other.status_code == 404
        assert '"requests-token";r=2' in other.headers["RateLimit"]
        # Nor is the state of the service.
        for _ in range(5):
            assert "RateLimit" not in (await api.client.get("/healthz")).headers
    assert metric("media_ingest_rate_limited_total", limit="requests-token") == before + 1


async def test_whoever_guesses_tokens_is_counted_by_address(tmp_path: Path) -> None:
    async with running_api(tmp_path, requests_per_address="3/hour") as api:
        statuses = [
            (await api.client.get("/api/media/", headers={"Authorization": f"Bearer guess-{n}"})).status_code
            for n in range(5)
        ]
    assert statuses == [401, 401, 401, 429, 429]


async def test_uploads_have_a_budget_beside(tmp_path: Path) -> None:
    async with running_api(tmp_path, uploads_per_token="2/hour", requests_per_token="100/hour") as api:
        assert [(await api.post(content=PNG)).status_code for _ in range(2)] == [201, 201]
        check_refused(await api.post(content=PNG), "uploads-token")
        assert (await api.get("/api/media/")).json()["count"] == 2


async def test_several_limits_of_one_rate_are_told_apart(tmp_path: Path) -> None:
    async with running_api(tmp_path, requests_per_token="2/second;100/hour") as api:
        answer = await api.get("/api/media/")
        assert answer.headers["RateLimit-Policy"] == '"requests-token-1s";q=2;w=1, "requests-token-3600s";q=100;w=3600'


async def test_replicas_count_together(tmp_path: Path, redis_server: RedisServer) -> None:
    for name in "12":
        (tmp_path / name).mkdir()
    async with (
        sharing(redis_server) as one,
        sharing(redis_server) as two,
        running_api(tmp_path / "1", parts={"limiter": one}, requests_per_token="4/hour") as first,
        running_api(tmp_path / "2", parts={"limiter": two}, requests_per_token="4/hour") as second,
    ):
        statuses = [(await api.get("/api/media/")).status_code for api in (first, second) * 3]
    assert statuses == [200] * 4 + [429] * 2
    keys = [str(key) for key in redis_server.admin().scan_iter()]
    assert keys
    # Neither a token nor the whole hash of one.
    assert not any("alice" in key or len(key) > 120 for key in keys)


async def test_the_rights_that_the_manual_gives_are_enough(tmp_path: Path, redis_server: RedisServer) -> None:
    manual = (Path(__file__).parents[3] / "docs/operations/ingest.md").read_text()
    [rule] = re.findall(r"ACL SETUSER ingest on >PASSWORD ([^`]+)```", manual)
    with redis_server.admin() as admin:
        admin.execute_command("ACL", "SETUSER", "ingest", "on", ">secret", *rule.split())
    redis = connect(RedisSettings(url=redis_server.url(user="ingest", password="secret")))
    assert redis is not None
    locks, live = RedisLocks(redis), LiveProgress(redis)
    with structlog.testing.capture_logs() as lines:
        async with (
            live.listening(),
            running_api(tmp_path, parts={"limiter": Limiter(redis)}, requests_per_token="5/hour") as api,
        ):
            assert (await api.get("/api/media/")).status_code == 200

            async def heard() -> bool:
                with redis_server.admin() as admin:
                    admin.publish(f"{PROGRESS_CHANNEL}one", '{"stage": "fetch"}')
                return await live.progress("one") is not None

            await until(heard)
            async with locks.hold("one"):
                with pytest.raises(LockedError):
                    async with RedisLocks(redis).hold("one"):
                        pass
    await redis.aclose()
    assert [line["event"] for line in lines if "Redis" in line["event"]] == []
    with redis_server.admin() as admin:
        assert admin.dbsize() > 0


async def test_a_redis_that_dies_costs_little_and_is_found_again(
    tmp_path: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("media_ingest.limiting._RETRY_SECONDS", 0.3)
    with structlog.testing.capture_logs() as lines:
        async with (
            sharing(redis_server) as limiter,
            running_api(tmp_path, parts={"limiter": limiter}, requests_per_token="3/hour") as api,
        ):
            assert (await api.get("/api/media/")).status_code == 200
            assert metric("media_ingest_redis_up") == 1
            admin = redis_server.admin()
            # It hangs: it takes the connection and never answers.
            admin.execute_command("CLIENT", "PAUSE", "1500", "ALL")
            began = time.monotonic()
            statuses = [(await api.get("/api/media/")).status_code for _ in range(4)]
            assert time.monotonic() - began < 1.4
            # Its own count began anew.
            assert statuses == [200, 200, 200, 429]
            assert metric("media_ingest_redis_up") == 0

            async def again() -> bool:
                await api.get("/api/media/", user="bob")
                return metric("media_ingest_redis_up") == 1

            await until(again)
            assert (await api.get("/api/media/")).status_code == 200
    said = [line["event"] for line in lines if "Redis" in line["event"]]
    assert [text.split(":")[0] for text in said] == ["Redis does not answer", "Redis answers again"]


async def test_a_redis_that_was_never_there(tmp_path: Path) -> None:
    redis = connect(RedisSettings(url="redis://127.0.0.1:1"))
    async with running_api(tmp_path, parts={"limiter": Limiter(redis)}, requests_per_token="2/hour") as api:
        assert [(await api.get("/api/media/")).status_code for _ in range(3)] == [200, 200, 429]


class Slow:
    """A body that waits in its middle until it is let go."""

    def __init__(self) -> None:
        self.going_on = asyncio.Event()
        self.begun = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield PNG
        self.begun.set()
        await self.going_on.wait()
        yield bytes(10)


async def running_uploads(count: int) -> None:
    async def check() -> bool:
        return metric("media_ingest_uploads_running") == count

    await until(check)


async def test_more_uploads_than_places(tmp_path: Path) -> None:
    async with running_api(tmp_path, max_uploads=2) as api:
        bodies = [Slow(), Slow()]
        tasks = [asyncio.create_task(api.post(content=aiter(body))) for body in bodies]
        await running_uploads(2)
        refused = await api.post(content=PNG)
        assert refused.status_code == 503
        assert refused.json()["type"] == "urn:media-operator:problem:too-busy"
        assert int(refused.headers["Retry-After"]) >= 1
        # Others are answered.
        assert (await api.get("/api/media/")).status_code == 200
        # One goes away, the other ends: both give their places back.
        tasks[0].cancel()
        await running_uploads(1)
        bodies[1].going_on.set()
        assert (await tasks[1]).status_code == 201
        await running_uploads(0)
        assert (await api.post(content=PNG)).status_code == 201
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_refused_upload_gives_its_place_back(api: Api) -> None:
    for content in (b"", b"nothing known"):
        assert (await api.post(content=content)).status_code in (400, 415)
    assert (await api.post(content=PNG, user="nobody")).status_code == 401
    assert metric("media_ingest_uploads_running") == 0


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("", "unknown"),
    ],
)
def test_whom_an_address_counts_as(address: str, counted: str) -> None:
    assert network(address) == counted


@pytest.mark.parametrize("rate", ["many", "1/fortnight", "-1/minute"])
def test_rates_that_are_none(rate: str) -> None:
    with pytest.raises(ValueError, match="must be like 120/minute"):
        Settings(requests_per_token=rate)
