import json
import re
from pathlib import Path

import pytest
from starlette.exceptions import HTTPException

from media_ingest.errors import KINDS, TYPE_PREFIX, Problem, Slug, slug_of, translate
from mediaasset.assets import AssetsError
from mediaasset.reasons import TABLE, MediaError, Reason

DOCS = Path(__file__).parents[3] / "docs" / "api" / "http.md"


def test_every_slug_has_a_row() -> None:
    assert set(KINDS) == set(Slug)


def test_the_documented_table_is_the_table() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| ([0-9]{3}) \|", DOCS.read_text(), flags=re.MULTILINE)
    assert {slug: int(status) for slug, status in rows} == {slug.value: kind.status for slug, kind in KINDS.items()}


def test_reasons_keep_their_status() -> None:
    shared = {slug: TABLE[reason].http_status for reason in Reason if (slug := slug_of(reason))}
    assert len(shared) == 10
    # A profile that does not exist is a failure to wait for in a cluster, but at the door a wrong field.
    assert shared.pop(Slug.PROFILE_NOT_FOUND) is None
    assert shared == {slug: KINDS[slug].status for slug in shared}


@pytest.mark.parametrize(
    ("error", "status", "slug"),
    [
        (Problem(Slug.FORBIDDEN), 403, Slug.FORBIDDEN),
        (MediaError(Reason.STORE_UNAVAILABLE), 503, Slug.STORE_UNAVAILABLE),
        (MediaError(Reason.DISK_FULL), 507, Slug.DISK_FULL),
        (MediaError(Reason.JOB_LOST), 500, Slug.INTERNAL),
        (AssetsError("10.0.0.1 refused"), 503, Slug.ASSETS_UNAVAILABLE),
        (HTTPException(404), 404, Slug.NOT_FOUND),
        (HTTPException(405, headers={"Allow": "GET"}), 405, Slug.METHOD_NOT_ALLOWED),
        (HTTPException(418, "teapot"), 418, Slug.REQUEST_REFUSED),
        (RuntimeError("10.0.0.1"), 500, Slug.INTERNAL),
    ],
)
def test_every_exception_becomes_a_problem(error: Exception, status: int, slug: str) -> None:
    response = translate(error).to_response()
    body = json.loads(bytes(response.body))
    assert (response.status_code, body["status"], body["type"]) == (status, status, TYPE_PREFIX + slug)
    assert response.media_type == "application/problem+json"
    assert body["title"]
    assert body["detail"]
    assert "10.0.0.1" not in str(body)
    assert ("Retry-After" in response.headers) is (status == 503)
    assert response.headers.get("Allow") == ("GET" if status == 405 else None)
