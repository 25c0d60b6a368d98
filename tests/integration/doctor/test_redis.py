"""`media doctor` and Redis: down, a wrong password, rules that lack something."""

import re
from collections.abc import Iterator
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
