import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest


def test_the_bytes_and_the_fields_arrive(server: Any, media: Any, photo: Path) -> None:
    options = ["--alt-text", "a bird", "--caption", "Kleiber, ü", "--order", "3", "--path", "ads/1"]
    options += ["--collection", "ads", "--private", "--profile", "web"]
    done = media("upload", photo, *options)
    assert (done.returncode, done.stderr) == (0, "")
    (upload,) = server.uploads
    assert upload["sha256"] == sha256(photo.read_bytes()).hexdigest()
    assert upload["name"] == "photo.jpg"
    assert upload["fields"] == {
        "alt_text": "a bird",
        "caption": "Kleiber, ü",
        "order": "3",
        "path": "ads/1",
        "collection": "ads",
        "is_public": "false",
        "profile": "web",
    }
    assert done.stdout.startswith("m0  processing")
    assert server.requests == ["upload"]


def test_what_is_not_given_is_not_sent(server: Any, media: Any, photo: Path) -> None:
    media("upload", photo)
    assert server.uploads[0]["fields"] == {}


def test_wait_ends_with_whole_urls_and_their_sizes(server: Any, media: Any, photo: Path) -> None:
    done = media("upload", photo, "--wait")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["m0", "ready", "image", "4000x3000", "256.0", "kB", "photo.jpg"] in lines
    url = f"{server.url}/media/{'a' * 60}"
    assert ["medium", "image/jpeg", "12.3", "kB", "640x480", f"{url}/medium.jpg"] in lines
    # Only the full-size image has the dimensions that the answer gives.
    assert ["original", "image/jpeg", "12.3", "kB", "4000x3000", f"{url}/original.jpg"] in lines


def test_json_is_all_of_stdout(server: Any, media: Any, photo: Path, tmp_path: Path) -> None:
    refused, missing = tmp_path / "refused.jpg", tmp_path / "missing.jpg"
    refused.write_bytes(b"x")
    done = media("upload", photo, refused, missing, "--wait", "--output", "json")
    first, second, third = json.loads(done.stdout)
    assert (first["file"], first["asset"]["status"], first["error"]) == (str(photo), "ready", None)
    assert (second["asset"], second["error"]["status"], second["error"]["title"]) == (None, 415, "Type mismatch")
    assert third["asset"] is None
    assert "does not exist" in third["error"]["detail"]
    assert done.returncode == 3


def test_one_that_is_refused_does_not_stop_the_others(server: Any, media: Any, photo: Path, tmp_path: Path) -> None:
    refused = tmp_path / "refused.jpg"
    refused.write_bytes(b"x")
    done = media("upload", refused, photo, "--wait")
    assert done.returncode == 3
    assert [upload["name"] for upload in server.uploads] == ["refused.jpg", "photo.jpg"]
    assert "m0  ready" in done.stdout
    title, detail, advice = done.stderr.splitlines()
    assert title == f"{refused}: Type mismatch (415)"
    # What a server says cannot steer the terminal.
    assert detail == "  The content is a document,\N{REPLACEMENT CHARACTER}[2J the name says an image."
    assert "whose name fits its content" in advice


def test_a_failed_asset_says_why(media: Any, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"x")
    done = media("upload", broken, "--wait")
    assert done.returncode == 1
    assert "failed (CorruptMedia: The image is cut short.)" in done.stdout


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing.jpg", "does not exist"),
        ("empty.jpg", "is empty"),
        ("folder", "is a directory"),
        ("pipe", "is not a regular file"),
        # Opens, and then fails to be read.
        ("/proc/self/mem", "cannot be read: Input/output error"),
    ],
)
def test_a_file_that_cannot_be_sent_is_named_before_anything_is_sent(
    server: Any, media: Any, tmp_path: Path, name: str, says: str
) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    done = media("upload", tmp_path / name)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{tmp_path / name} {says}" in done.stderr
    assert server.requests == []


def test_timeout_leaves_it_to_the_server(server: Any, media: Any, photo: Path) -> None:
    server.polls = 1_000_000
    done = media("upload", photo, "--wait", "--timeout", "0.5")
    assert done.returncode == 4
    assert "not finished in time" in done.stderr
    assert "m0  processing (rendering 40 %)" in done.stdout


def test_a_server_that_is_away_for_a_while_is_asked_again(server: Any, media: Any, photo: Path) -> None:
    server.unavailable = 2
    done = media("upload", photo, "--wait")
    assert (done.returncode, done.stderr) == (0, "")
    assert server.requests.count("get") == 4


def test_no_token(media: Any, photo: Path) -> None:
    done = media("upload", photo, MEDIA_TOKEN="")
    assert done.returncode == 3
    assert "Unauthorized (401)" in done.stderr
    assert "MEDIA_TOKEN" in done.stderr


def test_nobody_listens(media: Any, photo: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    done = media("upload", photo, "--url", url)
    assert (done.returncode, done.stdout) == (3, "")
    assert f"Cannot reach {url}" in done.stderr
    assert "media standalone" in done.stderr


def test_ctrl_c_says_what_was_uploaded(server: Any, environment: dict[str, str], photo: Path, tmp_path: Path) -> None:
    server.polls = 1_000_000
    argv = [sys.executable, "-m", "media_cli", "upload", str(photo), "--wait"]
    with subprocess.Popen(
        argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        assert server.polled.wait(30)
        process.send_signal(signal.SIGINT)
        try:
            output, errors = process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            # Python drops the exception if a finalizer runs just then; a person presses the keys again.
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=15)
    assert process.returncode == 130
    assert "m0  processing" in output
    assert "Interrupted" in errors
    assert "Traceback" not in errors


def test_a_terminal_sees_the_progress(server: Any, environment: dict[str, str], photo: Path, tmp_path: Path) -> None:
    server.polls = 4
    ours, theirs = pty.openpty()
    seen: list[bytes] = []

    def read() -> None:
        try:
            while chunk := os.read(ours, 65536):
                seen.append(chunk)
        except OSError:
            return  # Linux says so when the other side is closed.

    reader = threading.Thread(target=read)
    reader.start()
    argv = [sys.executable, "-m", "media_cli", "upload", str(photo), "--wait"]
    wide = environment | {"COLUMNS": "120", "TERM": "xterm"}
    done = subprocess.run(argv, env=wide, stdout=subprocess.PIPE, stderr=theirs, timeout=60, check=False, cwd=tmp_path)
    os.close(theirs)
    reader.join(20)
    os.close(ours)
    shown = b"".join(seen).decode()
    assert done.returncode == 0
    for part in ("photo.jpg  uploading", "100%", "photo.jpg  processing", "40%", "rendering", "ready"):
        assert part in shown
    assert b"uploading" not in done.stdout


def test_a_refusal_in_the_middle_of_sending_is_understood(server: Any, media: Any, photo: Path, tmp_path: Path) -> None:
    server.limit = 1 << 20
    large = tmp_path / "large.mp4"
    with large.open("wb") as body:
        body.truncate(100 << 20)
    done = media("upload", large, photo)
    assert done.returncode == 3
    assert "The file is too large (413)" in done.stderr
    assert done.stdout.startswith("m0  processing")


def test_a_large_file_is_never_whole_in_memory(
    server: Any, environment: dict[str, str], photo: Path, tmp_path: Path
) -> None:
    large = tmp_path / "large.mp4"
    with large.open("wb") as body:
        body.truncate(150 << 20)

    def peak(path: Path) -> int:
        argv = [sys.executable, "-m", "media_cli", "upload", str(path)]
        process = subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL, cwd=tmp_path)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return usage.ru_maxrss

    assert peak(large) - peak(photo) < 20 << 10
    assert server.uploads[0]["size"] == 150 << 20
