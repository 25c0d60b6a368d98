"""A scanner, as a command and as a service, before an upload becomes an asset."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

import scanners
from media_ingest.scan import scanner_of
from media_ingest.settings import Settings
from uploading import Api, running_api, serving

PNG = b"\x89PNG\r\n\x1a\n" + bytes(3_000_000)
MARK = scanners.MARK
#: Ends as clamscan does, and says what it found.
COMMAND = """
import sys
found = b"something-harmful" in sys.stdin.buffer.read()
print("stdin: Test-Signature FOUND" if found else "stdin: OK")
sys.exit(1 if found else 0)
"""


@asynccontextmanager
async def scanned(tmp_path: Path, **settings: object) -> AsyncIterator[Api]:
    scanner = scanner_of(Settings.model_validate(settings))
    async with running_api(tmp_path, parts={"scanner": scanner}, **settings) as api:
        yield api


@asynccontextmanager
async def service() -> AsyncIterator[str]:
    async def scan(request: Request) -> Response:
        found = MARK in await request.body()
        return PlainTextResponse("Test-Signature", 406) if found else PlainTextResponse("OK")

    async with serving(Starlette(routes=[Route("/scan", scan, methods=["POST"])])) as port:
        yield f"http://127.0.0.1:{port}/scan"


async def check_verdicts(api: Api) -> None:
    clean = await api.post(content=PNG)
    assert clean.status_code == 201
    before = api.objects()
    infected = await api.post(files={"file": ("a.png", PNG + MARK)}, headers={"Idempotency-Key": "k"})
    assert (infected.status_code, infected.json()["type"].rpartition(":")[2]) == (422, "infected")
    assert "Test-Signature" in infected.json()["found"]
    tus = {**api.auth(), "Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}
    size = {"Upload-Length": str(len(PNG + MARK))}
    resumable = await api.client.post("/api/tus/", content=PNG + MARK, headers={**tus, **size})
    assert resumable.status_code == 422
    assert api.objects() == before
    assert (await api.get("/api/media/")).json()["count"] == 1


async def test_a_command(tmp_path: Path) -> None:
    async with scanned(tmp_path, scan_command=(sys.executable, "-c", COMMAND)) as api:
        await check_verdicts(api)


async def test_a_service(tmp_path: Path) -> None:
    async with service() as url, scanned(tmp_path, scan_url=url) as api:
        await check_verdicts(api)


async def test_the_daemon_of_clamav(tmp_path: Path) -> None:
    with scanners.clamd(tmp_path) as port:
        async with scanned(tmp_path, scan_url=f"clamd://127.0.0.1:{port}") as api:
            await check_verdicts(api)


async def test_an_icap_server(tmp_path: Path) -> None:
    with scanners.clamd(tmp_path) as daemon, scanners.icap(tmp_path, daemon) as port:
        async with scanned(tmp_path, scan_url=f"icap://127.0.0.1:{port}/avscan") as api:
            await check_verdicts(api)
        # This service sends what is clean back instead of saying so.
        (tmp_path / "other").mkdir()
        async with scanned(tmp_path / "other", scan_url=f"icap://127.0.0.1:{port}/virus_scan") as api:
            assert (await api.post(content=PNG)).status_code == 503


async def test_what_clamav_takes_is_too_long_or_it_is_gone(tmp_path: Path) -> None:
    with scanners.clamd(tmp_path, max_bytes=1_000_000) as port:
        async with scanned(tmp_path, scan_url=f"clamd://127.0.0.1:{port}") as api:
            response = await api.post(content=PNG)
            assert response.status_code == 503
            assert await api.nothing_exists()


FAULTS = {
    "missing": {"scan_command": ("/nowhere/scanner",)},
    "fails": {"scan_command": (sys.executable, "-c", "raise SystemExit(2)")},
    "hangs": {"scan_command": ("sleep", "1000"), "scan_seconds": 0.2},
    "killed": {"scan_command": ("sh", "-c", "kill -9 $$")},
    "refuses": {"scan_url": "http://127.0.0.1:1/"},
    "clamd refuses": {"scan_url": "clamd://127.0.0.1:1"},
    "icap refuses": {"scan_url": "icap://127.0.0.1:1/avscan"},
}


@pytest.mark.parametrize("settings", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("is_open", [False, True], ids=["closed", "open"])
async def test_a_scanner_without_a_verdict(tmp_path: Path, settings: dict[str, object], *, is_open: bool) -> None:
    async with scanned(tmp_path, scan_fail_open=is_open, **settings) as api:
        response = await api.post(content=PNG)
        assert response.status_code == (201 if is_open else 503)
        if not is_open:
            assert response.headers["Retry-After"]
            assert await api.nothing_exists()


async def test_a_scanner_that_knows_early_and_one_that_talks(tmp_path: Path) -> None:
    for command in ("print('bad', flush=True); raise SystemExit(1)", "print('x' * 10**6); raise SystemExit(1)"):
        (tmp_path / str(len(command))).mkdir()
        async with scanned(tmp_path / str(len(command)), scan_command=(sys.executable, "-c", command)) as api:
            response = await api.post(content=PNG)
            assert response.status_code == 422
            assert len(response.json()["found"]) <= 200


async def test_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert scanner_of(Settings()) is None
    monkeypatch.setenv("MEDIA_INGEST_SCAN_COMMAND", json.dumps(["clamdscan", "--no-summary", "-"]))
    assert Settings().scan_command == ("clamdscan", "--no-summary", "-")
    assert scanner_of(Settings())
    assert asyncio.iscoroutinefunction(scanner_of(Settings()).scan)  # type: ignore[union-attr]  # there is one
