"""`media import` into standalone: a tree of a few hundred pictures, interrupted and resumed, and a bucket."""

import io
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image

import s3server
import standalone
from mediacommand import answer, environment_of, media
from service import wait_for
from standalone import Standalone

FOLDERS, PICTURES = ("", "shoes", "shoes/Größe 42", "hats"), 60
COUNT = len(FOLDERS) * PICTURES


def picture(number: int) -> bytes:
    """Return a small picture that no other number gives."""
    body = io.BytesIO()
    Image.new("RGB", (16, 12), (number % 256, number // 256, 99)).save(body, "PNG")
    return body.getvalue()


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    for at, folder in enumerate(FOLDERS):
        (root / folder).mkdir(exist_ok=True)
        for number in range(PICTURES):
            (root / folder / f"picture {number}.png").write_bytes(picture(at * PICTURES + number))
    (root / "notes.md").write_text("# no media")
    (root / "empty.jpg").touch()
    (root / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    return root


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    # None of the pictures has to be transcoded for what is tested here.
    with standalone.started(tmp_path_factory.mktemp("server") / "data", MEDIA_OPERATOR_MAX_ACTIVE_JOBS="1") as started:
        yield started


@pytest.fixture
def variables(server: Standalone) -> dict[str, str]:
    return {"MEDIA_URL": server.base_url, "MEDIA_TOKEN": server.token}


def total(server: Standalone, collection: str) -> int:
    with server.client() as client:
        return int(client.get("/api/media/", params={"collection": collection, "page_size": 1}).json()["count"])


def assets(server: Standalone, base: str) -> int:
    return sum(total(server, path) for path in (base, f"{base}/shoes", f"{base}/shoes/Groe-42", f"{base}/hats"))


def has(server: Standalone, base: str, number: int) -> bool:
    return assets(server, base) >= number


def outcomes(report: Any) -> dict[str, int]:
    return {name: number for name, number in report["counts"].items() if number}


def test_a_dry_run_says_what_would_become_of_each_file(
    tree: Path, server: Standalone, variables: dict[str, str], tmp_path: Path
) -> None:
    report = answer("import", tree, "--path", "users/1/dry", "--dry-run", home=tmp_path, code=0, **variables)
    assert outcomes(report) == {"planned": COUNT, "skipped": 3}
    reasons = {each["file"]: each["reason"] for each in report["files"] if each["reason"]}
    assert reasons == {"notes.md": "no media that is supported", "empty.jpg": "empty", ".DS_Store": "hidden"}
    paths = {each["path"] for each in report["files"] if each["path"]}
    assert paths == {f"users/1/dry{end}" for end in ("", "/shoes", "/shoes/Groe-42", "/hats")}
    assert assets(server, "users/1/dry") == 0


def test_an_import_that_is_interrupted_goes_on_where_it_was(
    tree: Path, server: Standalone, variables: dict[str, str], tmp_path: Path
) -> None:
    base = "users/1/shop"
    command = [sys.executable, "-m", "media_cli", "import", str(tree), "--path", base, "--jobs", "2", "-o", "json"]
    ends = []
    for number in (signal.SIGINT, signal.SIGKILL):
        before = assets(server, base)
        with subprocess.Popen(
            command,
            env=environment_of(tmp_path, **variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            wait_for(partial(has, server, base, before + 20), what="some files")
            process.send_signal(number)
            out, errors = process.communicate(timeout=60)
        ends.append((process.returncode, out, errors))
    (interrupted, report, errors), (killed, _, _) = ends
    assert (interrupted, killed) == (130, -signal.SIGKILL)
    assert "Run it again to go on" in errors
    assert set(outcomes(json.loads(report))) == {"uploaded", "left", "skipped"}

    here = assets(server, base)
    assert 40 <= here < COUNT
    rest = answer("import", tree, "--path", base, home=tmp_path, code=0, **variables)
    found = outcomes(rest)
    # What was on its way when it was killed may be there without being noted: it is then sent again, and kept once.
    assert found["uploaded"] == COUNT - here
    assert found["already"] == here
    assert assets(server, base) == COUNT

    again = answer("import", tree, "--path", base, home=tmp_path, code=0, **variables)
    assert outcomes(again) == {"already": COUNT, "skipped": 3}


def test_without_its_state_an_import_still_makes_nothing_twice(
    server: Standalone, variables: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.png").write_bytes(picture(7))
    (folder / "b.png").write_bytes(picture(7))
    arguments = ("import", folder, "--path", "users/1/twice", "--state")
    first = answer(*arguments, tmp_path / "one.jsonl", home=tmp_path, code=0, **variables)
    second = answer(*arguments, tmp_path / "two.jsonl", home=tmp_path, code=0, **variables)
    assert outcomes(first) == {"uploaded": 2}
    assert outcomes(second) == {"already": 2}
    assert [each["id"] for each in first["files"]] == [each["id"] for each in second["files"]]
    # A changed file is another one.
    (folder / "b.png").write_bytes(picture(8))
    third = answer(*arguments, tmp_path / "one.jsonl", home=tmp_path, code=0, **variables)
    assert outcomes(third) == {"uploaded": 1, "already": 1}


def test_a_file_answers_at_the_path_where_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "files/Größe 42"
    folder.mkdir(parents=True)
    (folder / "größe.png").write_bytes(picture(9))
    # One of its own: in the other one hundreds of pictures are before it.
    with standalone.started(tmp_path / "data") as server:
        variables = {"MEDIA_URL": server.base_url, "MEDIA_TOKEN": server.token}
        report = answer("import", folder.parent, "--path", "users/1/old", home=tmp_path, code=0, **variables)
        [entry] = report["files"]
        asset = server.finished(entry["id"])
        old = httpx2.get(f"{server.base_url}/media/default/users/1/old/Größe 42/größe.png")
        own = httpx2.get(asset["urls"]["original"])
        named = httpx2.get(asset["stable_urls"]["original"])
    assert asset["status"] == "ready"
    assert asset["collection"] == "users/1/old/Groe-42"
    assert "/users/1/old/Groe-42/" in asset["display_url"]
    assert asset["original_name"] == "größe.png"
    assert asset["metadata"] == {}
    assert asset["stable_path"] == "users/1/old/Größe 42/größe.png"
    assert asset["stable_path_url"] == str(old.url)
    assert (old.status_code, old.headers["Content-Type"], old.content) == (200, "image/png", own.content)
    assert (named.status_code, named.content) == (200, own.content)
    assert old.headers["Cache-Control"] == named.headers["Cache-Control"] == "public, max-age=300"


def test_a_file_that_fails_does_not_stop_the_others(
    server: Standalone, variables: dict[str, str], tmp_path: Path
) -> None:
    deep = tmp_path / "files" / "/".join("abcdefgh")
    deep.mkdir(parents=True)
    (deep / "deep.png").write_bytes(picture(1))
    (tmp_path / "files/mislabelled.pdf").write_bytes(picture(2))
    (tmp_path / "files/fine.png").write_bytes(picture(3))
    report = answer("import", tmp_path / "files", "--path", "users/1/bad", home=tmp_path, code=1, **variables)
    assert outcomes(report) == {"uploaded": 1, "failed": 2}
    reasons = {each["file"]: each["reason"] for each in report["files"] if each["reason"]}
    assert "8 folders" in reasons["a/b/c/d/e/f/g/h/deep.png"]
    assert "(415)" in reasons["mislabelled.pdf"]
    shown = media("import", tmp_path / "files", "--path", "users/1/bad", home=tmp_path, **variables)
    assert "mislabelled.pdf" in shown.stdout
    assert "2 failed" in shown.stdout
    assert "1 already" in shown.stdout


def test_without_a_server_or_its_token_it_ends(server: Standalone, tree: Path, tmp_path: Path) -> None:
    wrong = {"MEDIA_URL": server.base_url, "MEDIA_TOKEN": "of-another-server"}
    report = answer("import", tree, "--path", "users/1/x", home=tmp_path, code=3, **wrong)
    assert outcomes(report)["left"] > 100
    done = media("import", tree, "--path", "users/1/x", home=tmp_path, **wrong)
    assert "MEDIA_TOKEN" in done.stderr
    for arguments in (("import", tree), ("import", tree, "--path", "../x"), ("import", "/nowhere", "--path", "x")):
        assert media(*arguments, home=tmp_path).returncode == 2


def test_a_prefix_of_a_bucket(server: Standalone, variables: dict[str, str], tmp_path: Path) -> None:
    with s3server.start(tmp_path / "s3") as s3:
        s3.create_bucket("old-media")
        for number, key in enumerate(("product_images/a.png", "product_images/hats/b.png", "product_images/readme.md")):
            body = picture(100 + number) if key.endswith("png") else b"# text"
            s3.client().put_object(Bucket="old-media", Key=key, Body=body)
        s3.client().put_object(Bucket="old-media", Key="other/c.png", Body=picture(103))
        arguments = ("import", "s3://old-media/product_images", "--path", "users/1/product_images")
        aws = {name: value for name, value in s3.environment("old-media").items() if name.startswith("AWS_")}
        report = answer(*arguments, home=tmp_path, code=0, **variables, **aws)
        assert {each["file"]: each["path"] for each in report["files"] if each["id"]} == {
            "a.png": "users/1/product_images",
            "hats/b.png": "users/1/product_images/hats",
        }
        assert outcomes(report) == {"uploaded": 2, "skipped": 1}
        again = answer(*arguments, home=tmp_path, code=0, **variables, **aws)
        assert outcomes(again) == {"already": 2, "skipped": 1}
