import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from bench import Bench
from mediaasset.media import Kind
from mediaasset.task import Format, Progress, Task, decode
from redisserver import RULE, USER, RedisServer, started

CHANNEL = "media-progress:uid"
DOCUMENT = Path(__file__).parents[3] / "docs/operations/progress.md"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with started(tmp_path) as running:
        yield running


@pytest.fixture
def film(bench: Bench, tmp_path: Path) -> Task:
    """A Task that takes a few seconds of encoding."""
    path = tmp_path / "in.mp4"
    command = "ffmpeg -v error -f lavfi -i testsrc2=s=640x360:d=16 -preset ultrafast -pix_fmt yuv444p"
    subprocess.run([*command.split(), str(path)], check=True)
    task = bench.put(path)
    medium = [replace(each, preset="medium") for each in task.renditions if each.format is Format.MP4]
    return replace(task, renditions=tuple(medium))


@contextmanager
def listening(server: RedisServer) -> Iterator[list[dict[str, Any]]]:
    """Collect what is published on all channels."""
    heard: list[dict[str, Any]] = []
    subscription = server.admin().pubsub()
    subscription.psubscribe("*")
    assert (subscription.get_message(timeout=10) or {})["type"] == "psubscribe"
    yield heard
    while message := subscription.get_message(timeout=0.5):
        heard.append(message)
    subscription.close()


def test_progress_grows_and_tells_the_speed(bench: Bench, film: Task) -> None:
    ended = bench.run(film)
    assert ended.code == 0, ended.log
    lines = [decode(Progress, line) for line in ended.progress]
    percents = [line.percent for line in lines]
    assert percents == sorted(percents)
    assert [percents[0], percents[-1]] == [0, 100]
    speeds = [line.speed for line in lines if line.speed is not None]
    assert speeds
    assert all(speed > 0 for speed in speeds)
    # What has no encoder has no speed.
    assert all(line.speed is None for line in lines if line.stage != "render")


def test_progress_is_published(bench: Bench, film: Task, server: RedisServer) -> None:
    with listening(server) as heard:
        ended = bench.run(film, MEDIA_REDIS_URL=server.url())
        assert ended.code == 0, ended.log
    assert "Redis" not in ended.log
    assert {message["channel"] for message in heard} == {CHANNEL}
    published = [json.loads(message["data"]) for message in heard]
    assert len(published) > 1
    # The same as on standard output, of which some are left out; the last is not.
    lines = iter(ended.progress)
    assert all(line in lines for line in published)
    assert published[-1] == ended.progress[-1] == {"stage": "publish", "percent": 100.0}
    assert any("speed" in line for line in published)
    # AUTH and PUBLISH is all that was ever sent: whatever else is refused, the log of the ACL tells.
    assert server.admin().acl_log() == []
    commands = server.admin().info("commandstats")
    assert not {"cmdstat_hello", "cmdstat_client|setinfo", "cmdstat_select"} & {
        name for name, found in commands.items() if found["rejected_calls"]
    }


def test_tls_and_credentials_of_their_own(bench: Bench, film: Task, tmp_path: Path) -> None:
    with started(tmp_path, tls=True) as server, listening(server) as heard:
        ended = bench.run(
            film,
            # Channels belong to no database, and this user may select none.
            MEDIA_REDIS_URL=f"rediss://localhost:{server.port}/3",
            MEDIA_REDIS_USERNAME=USER,
            MEDIA_REDIS_PASSWORD=server.password,
            SSL_CERT_FILE=str(server.ca),
        )
        assert ended.code == 0
    assert "Redis" not in ended.log
    assert json.loads(heard[-1]["data"])["percent"] == 100


def test_a_certificate_of_nobody_is_refused(bench: Bench, film: Task, tmp_path: Path) -> None:
    with started(tmp_path, tls=True) as server, listening(server) as heard:
        ended = bench.run(film, MEDIA_REDIS_URL=server.url())
    assert ended.code == 0
    assert "certificate" in ended.log
    assert heard == []


def test_the_user_of_the_documentation_may_publish_progress_and_nothing_else(server: RedisServer) -> None:
    assert RULE in DOCUMENT.read_text()
    client = redis.Redis.from_url(server.url(), protocol=2, driver_info=None)
    assert client.publish("media-progress:any", "{}") == 0
    for refused in (
        lambda: client.publish("other", "{}"),
        lambda: client.get("key"),
        lambda: client.set("key", "value"),
        lambda: client.execute_command("SUBSCRIBE", CHANNEL),
        lambda: client.execute_command("CONFIG", "GET", "*"),
        client.flushall,
    ):
        with pytest.raises(redis.exceptions.NoPermissionError):
            refused()


@contextmanager
def silent() -> Iterator[str]:
    """Listen, take connections and never say a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken: list[socket.socket] = []

        def take() -> None:
            while True:
                try:
                    taken.append(server.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=take)
        thread.start()
        yield f"redis://localhost:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in taken:
            connection.close()


@pytest.mark.parametrize("trouble", ["down", "silent", "refusing", "no URL"])
def test_a_redis_that_fails_costs_a_line_of_the_log(
    bench: Bench, film: Task, server: RedisServer, trouble: str
) -> None:
    with silent() as quiet, socket.socket() as bound:
        # Bound and not listening: whoever connects is refused, and nobody else gets the port.
        bound.bind(("127.0.0.1", 0))
        url = {
            "down": f"redis://localhost:{bound.getsockname()[1]}",
            "silent": quiet,
            "refusing": server.url(password="secret-that-is-wrong"),
            "no URL": "redis://user:secret-that-is-wrong@host:pass/word",
        }[trouble]
        ended = bench.run(film, MEDIA_REDIS_URL=url)
    assert ended.code == 0
    assert ended.log.count("Progress is not published to Redis") == 1
    assert "secret-that-is-wrong" not in ended.log
    assert ended.progress[-1]["percent"] == 100
    assert bench.is_clean()


def test_a_redis_that_comes_back_is_used_again(bench: Bench, film: Task, server: RedisServer) -> None:
    with listening(server) as heard:
        process = bench.start(film, MEDIA_REDIS_URL=server.url())
        admin = server.admin()
        while not (connected := [each for each in admin.client_list() if each["user"] == USER]):
            assert process.poll() is None
        admin.client_kill_filter(_id=connected[0]["id"])
        assert bench.end(process).code == 0
    assert json.loads(heard[-1]["data"])["percent"] == 100


def test_the_child_has_no_way_to_redis(bench: Bench, film: Task, server: RedisServer) -> None:
    process = bench.start(film, MEDIA_REDIS_URL=server.url())
    while not (
        family := [each for each in psutil.Process(process.pid).children(recursive=True) if "ffmpeg" in each.name()]
    ):
        assert process.poll() is None
    for child in (*psutil.Process(process.pid).children(), *family):
        assert not any("REDIS" in name for name in child.environ())
        assert child.net_connections() == []
    process.terminate()
    bench.end(process)


def test_what_is_over_at_once_never_loads_the_client(bench: Bench) -> None:
    task = replace(bench.put(b"just a text"), file_name="a.txt", type=Kind.DOCUMENT)
    with silent() as url:
        ended = bench.run(task, MEDIA_REDIS_URL=url, PYTHONPROFILEIMPORTTIME="1")
    assert ended.code == 0
    assert "media_transcoder.live" in ended.log
    assert "redis.connection" not in ended.log
