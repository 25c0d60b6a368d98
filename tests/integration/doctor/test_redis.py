"""`media doctor` and Redis: down, far away, a wrong password, rules that lack something."""

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import redisserver
from mediacommand import answer
from redisserver import RedisServer
from servers import free_port

DOCS = Path(__file__).parents[3] / "docs/operations/ingest.md"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redisserver.started(tmp_path_factory.mktemp("redis")) as started:
        # The rules that the documentation gives ingest.
        found = re.search(r"ACL SETUSER ingest on >PASSWORD (.*?)```", DOCS.read_text(), re.DOTALL)
        assert found
        started.admin().execute_command("ACL", "SETUSER", "ingest", "on", ">secret", *found[1].split())
        yield started


def look(home: Path, code: int, url: str, component: str = "ingest") -> Any:
    found = answer("doctor", "--component", component, home=home, code=code, MEDIA_REDIS_URL=url)
    [finding] = [each for each in found if each["check"] == "redis"]
    return finding


def test_the_rules_of_the_documentation_are_enough(server: RedisServer, tmp_path: Path) -> None:
    assert look(tmp_path, 0, server.url(user="ingest", password="secret"))["severity"] == "ok"
    assert look(tmp_path, 0, server.url(), "transcoder")["severity"] == "ok"


def test_it_is_down(tmp_path: Path) -> None:
    finding = look(tmp_path, 2, f"redis://127.0.0.1:{free_port()}")
    assert (finding["fault"], finding["severity"]) == ("redis-down", "error")


def test_the_password_is_wrong_and_shown_nowhere(server: RedisServer, tmp_path: Path) -> None:
    finding = look(tmp_path, 2, server.url(user="ingest", password="mistyped"))
    assert finding["fault"] == "redis-key"
    assert "mistyped" not in str(finding)


def test_a_user_may_not_do_what_ingest_does(server: RedisServer, tmp_path: Path) -> None:
    finding = look(tmp_path, 2, server.url())
    assert finding["fault"] == "redis-rights"
    assert "ingest.md" in finding["cure"]


def test_it_is_slow(server: RedisServer, tmp_path: Path) -> None:
    with far_away(server.port) as port:
        finding = look(tmp_path, 1, f"redis://ingest:secret@127.0.0.1:{port}")
    assert (finding["fault"], finding["severity"]) == ("redis-slow", "warning")
    assert "for one answer" in finding["found"]


@contextmanager
def far_away(port: int) -> Iterator[int]:
    """Give a port that leads to another, each of whose answers takes 300 ms."""

    def answer(client: socket.socket, upstream: socket.socket) -> None:
        # Who asked may have gone by then.
        with suppress(OSError):
            while content := upstream.recv(65536):
                time.sleep(0.3)
                client.sendall(content)

    def ask(client: socket.socket) -> None:
        with suppress(OSError), client, socket.create_connection(("127.0.0.1", port)) as upstream:
            threading.Thread(target=answer, args=(client, upstream), daemon=True).start()
            while content := client.recv(65536):
                upstream.sendall(content)

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:  # closed: the test is over
                return
            threading.Thread(target=ask, args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
