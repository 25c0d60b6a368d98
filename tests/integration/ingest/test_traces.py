"""What a request leaves behind: its id, its trace, its log line, its metrics."""

import io
import json
import logging
from pathlib import Path

import httpx2
import pytest
import structlog
from prometheus_client import REGISTRY

from mediaasset import exposition, logs
from mediaasset.names import TRACEPARENT_ANNOTATION
from uploading import Api, running_api

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


async def test_a_request_id_is_taken_over_or_made(api: Api) -> None:
    sent = await api.client.get("/healthz", headers={"X-Request-ID": "req-1/a.b=c"})
    assert sent.headers["X-Request-ID"] == "req-1/a.b=c"
    made = [(await api.client.get("/healthz")).headers["X-Request-ID"] for _ in range(2)]
    assert made[0] != made[1]
    assert len(made[0]) == 32


@pytest.mark.parametrize("sent", ["", "a b", "x" * 129, 'a"b', "{}", "\u00e9"])
async def test_a_request_id_that_could_do_harm_is_replaced(api: Api, sent: str) -> None:
    answer = await api.client.get("/api/media/", headers={b"X-Request-ID": sent.encode()})
    assert answer.status_code == 401
    assert len(answer.headers["X-Request-ID"]) == 32


async def test_the_trace_of_an_upload_stays_with_its_asset(api: Api) -> None:
    made = await api.post(content=PNG, headers={"traceparent": PARENT})
    asset = await api.assets.get("shop", made.json()["id"])
    assert asset.metadata.annotations[TRACEPARENT_ANNOTATION] == PARENT
    # The next request on the same connection has none of it.
    other = await api.assets.get("shop", (await api.post(content=PNG)).json()["id"])
    assert TRACEPARENT_ANNOTATION not in other.metadata.annotations


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (f"01-{TRACE}-b7ad6b7169203331-01-more", f"01-{TRACE}-b7ad6b7169203331-01"),
        (f"00-{TRACE}-b7ad6b7169203331-01-more", None),
        (f"ff-{TRACE}-b7ad6b7169203331-01", None),
        (f"00-{'0' * 32}-b7ad6b7169203331-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (PARENT.upper(), None),
        ("something", None),
    ],
)
async def test_what_is_a_trace_context(api: Api, sent: str, kept: str | None) -> None:
    made = await api.post(content=PNG, headers={"traceparent": sent})
    asset = await api.assets.get("shop", made.json()["id"])
    assert asset.metadata.annotations.get(TRACEPARENT_ANNOTATION) == kept


async def test_a_line_of_json_says_request_trace_and_asset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr("sys.stderr", written)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    before = structlog.get_config()
    logs.configure()
    # Loggers made at import keep what they were configured with first.
    monkeypatch.setattr("media_ingest.edge._LOG", structlog.get_logger("media_ingest.access"))
    try:
        async with running_api(tmp_path) as api:
            made = await api.post(content=PNG, headers={"traceparent": PARENT, "X-Request-ID": "one"})
            await api.get(f"/api/media/{made.json()['id']}/")
    finally:
        structlog.configure(**before)
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    upload, read = [line for line in lines if line["event"] == "request"]
    assert (upload["request_id"], upload["trace_id"], upload["asset"]) == ("one", TRACE, made.json()["id"])
    assert (upload["method"], upload["status"], upload["user"]) == ("POST", 201, "42")
    assert (read["asset"], read["path"]) == (made.json()["id"], f"/api/media/{made.json()['id']}/")
    assert "trace_id" not in read


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_requests_are_counted_by_their_route(api: Api) -> None:
    route = {"method": "GET", "route": "/api/media/{id}"}
    seen = sample("media_ingest_requests_total", **route, status="404")
    timed = sample("media_ingest_request_seconds_count", **route)
    received = sample("media_ingest_received_bytes_total")
    uploads = sample("media_ingest_uploads_total", kind="image")
    problems = sample("media_ingest_problems_total", problem="not-found")
    for number in range(3):
        await api.get(f"/api/media/m{number}/")
    await api.post(content=PNG)
    assert sample("media_ingest_requests_total", **route, status="404") == seen + 3
    assert sample("media_ingest_request_seconds_count", **route) == timed + 3
    assert sample("media_ingest_received_bytes_total") == received + len(PNG)
    assert sample("media_ingest_uploads_total", kind="image") == uploads + 1
    assert sample("media_ingest_problems_total", problem="not-found") == problems + 3


async def test_nobody_makes_series_by_asking(api: Api) -> None:
    def series() -> int:
        return sum(len(family.samples) for family in REGISTRY.collect())

    for word in ("GET", "PURGE"):
        await api.client.request(word, "/nothing/at/all")
    before = series()
    for word in ("MKCOL", "LOCK", "REPORT", "SEARCH", "GET"):
        await api.client.request(word, f"/nothing/{word}")
    assert series() == before


def test_metrics_have_a_port_of_their_own() -> None:
    with exposition.served(0, "127.0.0.1") as port:
        text = httpx2.get(f"http://127.0.0.1:{port}/metrics").text
        assert "# TYPE media_ingest_requests_total counter" in text
        with (
            pytest.raises(OSError, match=f"cannot listen on 127.0.0.1 port {port} for metrics"),
            exposition.served(port, "127.0.0.1"),
        ):
            pass
    with exposition.served(None, "127.0.0.1") as none:
        assert none is None


async def test_metrics_are_not_on_the_port_of_the_api(api: Api) -> None:
    assert (await api.client.get("/metrics")).status_code == 404
