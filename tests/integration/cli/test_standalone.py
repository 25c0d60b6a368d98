"""The command line against the service that it starts itself."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PHOTO = Path(__file__).parents[2] / "data" / "photo.jpg"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    data = tmp_path_factory.mktemp("standalone") / "data"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MEDIA_")}
    environment["MEDIA_DATA_DIR"] = str(data)
    media = [sys.executable, "-m", "media_cli"]
    log = data.with_suffix(".log")
    with log.open("w") as errors:
        server = subprocess.Popen(
            [*media, "standalone", "--port", "0", "--data-dir", str(data)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    assert server.stdout
    # Ends also when the server does; pytest's own timeout bounds it otherwise.
    line = next((line for line in server.stdout if line.startswith("Serving ")), "")
    try:
        assert line, log.read_text()
        url = line.split()[1]

        def run(*arguments: object) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [*media, *map(str, arguments), "--url", url],
                env=environment,
                capture_output=True,
                text=True,
                timeout=100,
                check=False,
            )

        yield run
        began = time.monotonic()
        # The command replaced itself, so the signal meets the server.
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
        assert time.monotonic() - began < 30
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        server.stdout.close()


def test_a_photograph_becomes_ready(run: Run) -> None:
    done = run("upload", PHOTO, "--wait", "--alt-text", "a nuthatch", "--path", "birds/kleiber", "--output", "json")
    assert (done.returncode, done.stderr) == (0, "")
    (record,) = json.loads(done.stdout)
    asset = record["asset"]
    assert (asset["status"], asset["width"], asset["height"]) == ("ready", 4032, 3024)
    assert asset["alt_text"] == "a nuthatch"
    assert set(asset["urls"]) == {"thumbnail", "small", "medium", "large", "webp", "original"}
    assert "/birds/kleiber/" in asset["display_url"]

    shown = run("get", asset["id"])
    assert shown.returncode == 0
    for url in asset["urls"].values():
        (row,) = (line for line in shown.stdout.splitlines() if line.split()[-1:] == [url])
        # The size of each comes from the server that has the file.
        assert any(unit in row for unit in (" kB ", " MB "))
    assert json.loads(run("ls", "--output", "json").stdout)["results"][0]["id"] == asset["id"]


def test_what_the_server_refuses_and_what_fails_later(run: Run, tmp_path: Path) -> None:
    text, short = tmp_path / "text.jpg", tmp_path / "short.jpg"
    text.write_text("this is no photograph")
    short.write_bytes(PHOTO.read_bytes()[:100_000])
    done = run("upload", text, short, "--wait", "--output", "json")
    refused, failed = json.loads(done.stdout)
    assert refused["error"]["status"] == 415
    assert failed["asset"]["status"] == "failed"
    assert failed["asset"]["error"]["reason"]
    assert done.returncode == 3
    assert run("get", failed["asset"]["id"]).returncode == 1


def test_private_has_its_own_urls(run: Run) -> None:
    done = run("upload", PHOTO, "--wait", "--private", "--output", "json")
    (record,) = json.loads(done.stdout)
    assert record["asset"]["is_public"] is False
    assert record["asset"]["status"] == "ready"


def test_a_path_that_is_none_is_refused_by_name(run: Run) -> None:
    done = run("upload", PHOTO, "--path", "../secrets")
    assert done.returncode == 3
    assert "path" in done.stderr
