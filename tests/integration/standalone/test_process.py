"""The process itself: how it starts, what it refuses, how it ends."""

import os
import re
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from standalone import command, launch, started


def refused(data_dir: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run it where it must not start; return the exit code and what it says."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("MEDIA_")}
    done = subprocess.run(
        [sys.executable, "-m", "media_standalone", *command(data_dir, *arguments)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=own | environment,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


def is_one_line(text: str) -> bool:
    return text.count("\n") == 1 and text.startswith("media standalone: ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_serves_and_ends_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    with started(tmp_path / "data") as server:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", server.base_url)
        assert httpx2.get(f"{server.base_url}/healthz").status_code == 200
        assert httpx2.get(f"{server.base_url}/readyz").status_code == 200
        assert server.stop(number) == 0
    assert (tmp_path / "data.out").read_text() == f"Serving {server.base_url}\n"


def test_token_is_made_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "data" / "token"
    tokens = []
    for _ in range(2):
        with started(tmp_path / "data", token=None) as server:
            assert (tmp_path / "data.out").read_text().splitlines()[1] == f"Token: {path}"
            tokens.append(path.read_text().strip())
            with server.client(tokens[-1]) as client:
                assert client.get("/api/media/").status_code == 200
            with server.client("another") as client:
                assert client.get("/api/media/").status_code == 401
    assert tokens[0] == tokens[1]
    assert len(tokens[0]) >= 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])  # noqa: S104 - it must be refused
@pytest.mark.parametrize("token", [(), ("--token", "short")])
def test_foreign_host_needs_a_real_token(tmp_path: Path, host: str, token: tuple[str, ...]) -> None:
    code, text = refused(tmp_path / "data", "--host", host, *token)
    assert code == 2
    assert "--tokens" in text
    assert not (tmp_path / "data").exists()


def test_foreign_host_with_a_real_token_is_served(tmp_path: Path) -> None:
    arguments = ("--host", "0.0.0.0", "--public-url", "http://media.example.org/x")  # noqa: S104 - that is the point
    with started(tmp_path / "data", *arguments) as server:
        port = server.base_url.rpartition(":")[2]
        assert httpx2.get(f"http://127.0.0.1:{port}/healthz").status_code == 200


def test_second_one_on_the_same_data_is_refused(tmp_path: Path) -> None:
    with started(tmp_path / "data") as server:
        code, text = refused(tmp_path / "data")
        assert code == 1
        assert is_one_line(text)
        assert "another standalone" in text
        assert httpx2.get(f"{server.base_url}/healthz").status_code == 200


def test_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, text = refused(tmp_path / "data", "--port", str(port))
    assert code == 1
    assert is_one_line(text)
    assert str(port) in text


def test_data_directory_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    code, text = refused(tmp_path / "data")
    assert code == 1
    assert is_one_line(text)
    # A file system that is read-only even for root.
    code, text = refused(Path("/proc/media-data"))
    assert code == 1
    assert is_one_line(text)


def test_damaged_database_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "standalone.db").write_bytes(b"no database at all, but long enough to look at" * 100)
    code, text = refused(tmp_path / "data")
    assert code == 1
    assert is_one_line(text)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--port", "70000"),
        ("--port", "http"),
        ("--public-url", "media.example.org"),
        ("--token", "a", "--tokens", "b"),
        ("--colour",),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert refused(tmp_path / "data", *arguments)[0] == 2


def test_missing_ffmpeg_is_said_at_start(tmp_path: Path) -> None:
    server = launch(
        tmp_path / "data", ["-m", "media_standalone", *command(tmp_path / "data")], PATH=str(tmp_path / "empty")
    )
    assert server.stop() == 0
    assert "ffmpeg" in (tmp_path / "data.log").read_text()


def test_leftovers_are_removed_at_start(tmp_path: Path) -> None:
    data = tmp_path / "data"
    leftovers = [
        data / "scratch" / "media-abc" / "half.mp4",
        data / "store" / "uploads" / "default" / "two" / "00ff#1",
        data / "store" / "media" / "default" / "x" / "small-0123456789abcdef.jpg#2",
    ]
    kept = data / "store" / "media" / "default" / "x" / "small-0123456789abcdef.jpg"
    for path in (*leftovers, kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    with started(data):
        assert not any(path.exists() for path in leftovers)
        assert kept.exists()
