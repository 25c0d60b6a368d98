"""`media doctor` beside standalone: a sound one with an upload, and what can be wrong on one machine."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import standalone
import webserver
from mediacommand import answer, environment_of
from servers import free_port
from standalone import TOKEN, Standalone


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    with standalone.started(tmp_path_factory.mktemp("standalone") / "data") as started:
        yield started


def variables(server: Standalone, **changed: str) -> dict[str, str]:
    return {"MEDIA_URL": server.base_url, "MEDIA_TOKEN": TOKEN, "MEDIA_DATA_DIR": str(server.data_dir), **changed}


def by_check(found: list[Any], name: str) -> Any:
    return [each for each in found if each["check"] == name]


def test_all_is_well_with_an_upload_that_leaves_nothing(server: Standalone, tmp_path: Path) -> None:
    found = answer("doctor", "--upload", home=tmp_path, code=0, **variables(server))
    [upload] = by_check(found, "upload")
    assert upload["severity"] == "ok"
    assert "ready and fetched" in upload["found"]
    assert {each["severity"] for each in by_check(found, "directory")} == {"ok"}
    assert [each["found"] for each in by_check(found, "server")] == ["It is ready.", "It knows the token."]
    assert {each["severity"] for each in by_check(found, "store")} == {"skipped"}
    with server.client() as client:
        assert client.get("/api/media/").json()["count"] == 0


def test_a_file_of_the_store_that_was_emptied(server: Standalone, tmp_path: Path) -> None:
    asset = server.finished(server.upload(Path(__file__).parents[2] / "data/photo.jpg")["id"])
    url = asset["urls"]["small"]
    path = server.data_dir / "store" / url.partition(f"{server.base_url}/")[2]
    kept = path.read_bytes()
    assert by_check(answer("doctor", home=tmp_path, code=0, **variables(server)), "media")[0]["severity"] == "ok"
    path.write_bytes(b"")
    found = by_check(answer("doctor", home=tmp_path, code=2, **variables(server)), "media")
    path.write_bytes(kept)
    assert [(each["fault"], each["about"]) for each in found] == [("empty", url)]


def test_a_token_that_is_not_known_and_none(server: Standalone, tmp_path: Path) -> None:
    found = answer("doctor", home=tmp_path, code=2, **variables(server, MEDIA_TOKEN="of-another"))
    assert [each["fault"] for each in by_check(found, "server") if each["fault"]] == ["token"]
    nobody = by_check(answer("doctor", "--server", server.base_url, home=tmp_path, code=0), "server")
    assert "MEDIA_TOKEN" in nobody[-1]["found"]


def test_a_server_that_does_not_run_and_one_of_another_kind(tmp_path: Path) -> None:
    port = free_port()
    found = answer("doctor", "--server", f"http://127.0.0.1:{port}", home=tmp_path, code=2)
    assert [each["fault"] for each in by_check(found, "server")] == ["unreachable"]
    block = f"server {{ listen 127.0.0.1:{port}; location / {{ default_type text/html; return 200 'hello'; }} }}"
    with webserver.started(tmp_path / "nginx", block, port):
        base = f"http://127.0.0.1:{port}"
        found = answer("doctor", "--server", base, "--public-url", base, home=tmp_path, code=2)
    assert [each["fault"] for each in by_check(found, "server")] == ["route-api"]
    assert [each["fault"] for each in by_check(found, "route")] == ["route-media"]


def test_the_route_to_media_is_known_by_its_404(server: Standalone, tmp_path: Path) -> None:
    found = answer("doctor", "--public-url", server.base_url, home=tmp_path, code=0, **variables(server))
    assert [each["severity"] for each in by_check(found, "route")] == ["ok"]


def test_a_directory_that_may_not_be_written_and_secrets_that_others_may_read(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "store").mkdir(parents=True)
    (data / "token").write_text("secret\n")
    (data / "token").chmod(0o644)
    arguments = ("doctor", "--server", f"http://127.0.0.1:{free_port()}")
    found = by_check(answer(*arguments, home=tmp_path, code=2, MEDIA_DATA_DIR=str(data)), "directory")
    assert [each["fault"] for each in found if each["fault"]] == ["secret-mode"]

    (data / "store").chmod(0o500)
    # Root may write everywhere unless it gives that up.
    less = ["setpriv", "--inh-caps=-dac_override", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []
    command = [*less, sys.executable, "-m", "media_cli", *arguments, "--output", "json"]
    environment = environment_of(tmp_path, MEDIA_DATA_DIR=str(data))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    (data / "store").chmod(0o700)
    assert done.returncode == 2, done.stderr
    [finding] = [each for each in by_check(json.loads(done.stdout), "directory") if each["severity"] == "error"]
    assert finding["fault"] == "data-dir"
    assert f"{data / 'store'}: Permission denied" in finding["found"]


@pytest.mark.parametrize(("size", "severity", "code"), [("50m", "error", 2), ("500m", "warning", 1)])
def test_a_disk_that_is_full_and_one_that_nearly_is(tmp_path: Path, size: str, severity: str, code: int) -> None:
    data = tmp_path / "data"
    data.mkdir()
    doctor = shlex.join([sys.executable, "-m", "media_cli", "doctor", "--output", "json"])
    # A namespace of its own may mount, whoever asks, and the disk is gone with the process.
    mounted = f"mount -t tmpfs -o size={size} none {shlex.quote(str(data))} && exec {doctor}"
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", mounted]
    environment = environment_of(tmp_path, MEDIA_DATA_DIR=str(data))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    [finding] = [each for each in by_check(json.loads(done.stdout), "directory") if each["fault"]]
    assert (finding["fault"], finding["severity"]) == ("disk-full", severity)
    assert done.returncode >= code
