"""Pages of other origins: those that are set may use the API with a token, and nobody else learns anything."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from media_ingest.app import EXPOSED
from media_ingest.settings import Settings
from uploading import Api, running_api

SHOP, OTHER = "https://shop.example.org", "https://other.example.org"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with running_api(tmp_path, cors_origins=(SHOP,), requests_per_address="1000/hour") as running:
        yield running


def asking(origin: str, method: str, *headers: str) -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": ", ".join(headers),
    }


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"])
async def test_a_page_may_ask_with_every_method_and_the_headers_that_there_are(api: Api, method: str) -> None:
    headers = asking(SHOP, method, "authorization", "idempotency-key", "tus-resumable", "upload-offset", "content-type")
    answer = await api.client.options("/api/tus/m1", headers=headers)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, SHOP)
    assert method in answer.headers["Access-Control-Allow-Methods"].split(", ")
    allowed = {name.lower() for name in answer.headers["Access-Control-Allow-Headers"].split(", ")}
    assert {"authorization", "idempotency-key", "tus-resumable", "upload-offset", "content-type"} <= allowed
    assert int(answer.headers["Access-Control-Max-Age"]) > 0
    # Another origin's answer must not be taken out of a cache.
    assert "Origin" in answer.headers["Vary"]
    assert "Access-Control-Allow-Credentials" not in answer.headers
    # Asking first is no request that counts.
    assert "RateLimit" not in answer.headers


async def test_another_origin_another_method_and_another_header_may_not(api: Api) -> None:
    for headers in (asking(OTHER, "POST"), asking(SHOP, "TRACE"), asking(SHOP, "POST", "x-anything")):
        assert (await api.client.options("/api/media/upload/", headers=headers)).status_code == 400
    answer = await api.client.get("/api/media/", headers={**api.auth(), "Origin": OTHER})
    assert answer.status_code == 200
    assert "Access-Control-Allow-Origin" not in answer.headers


async def test_what_tus_is_understood_is_still_answered(api: Api) -> None:
    answer = await api.client.options("/api/tus/", headers={"Origin": SHOP})
    assert (answer.status_code, answer.headers["Tus-Version"]) == (204, "1.0.0")
    assert "Tus-Version" in answer.headers["Access-Control-Expose-Headers"]


async def test_refusals_are_read_too(api: Api) -> None:
    refused = await api.client.post("/api/media/upload/", content=PNG, headers={"Origin": SHOP})
    assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (401, SHOP)
    assert set(refused.headers["Access-Control-Expose-Headers"].split(", ")) == set(EXPOSED)
    assert "RateLimit" in refused.headers


async def test_without_origins_there_is_nothing_of_it(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        answer = await api.client.get("/healthz", headers={"Origin": SHOP})
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        asked = await api.client.options("/api/media/upload/", headers=asking(SHOP, "POST"))
        assert asked.status_code == 405


async def test_any_origin(tmp_path: Path) -> None:
    async with running_api(tmp_path, cors_origins=("*",)) as api:
        answer = await api.client.get("/healthz", headers={"Origin": OTHER})
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("origin", ["shop.example.org", f"{SHOP}/", "https://*.example.org", "null", ""])
def test_an_origin_that_is_none(origin: str) -> None:
    with pytest.raises(ValidationError, match="cors_origins"):
        Settings(cors_origins=(origin,))
