"""The HTTP serving suite: how renditions are served, by standalone here and by the gateway in a cluster."""

import re
from collections.abc import Iterator
from datetime import timedelta
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path

import httpx2
import pytest

from served import (
    CUES,
    DOCUMENT,
    HIDDEN,
    IMAGE,
    PLAYLIST,
    PRIVATE,
    PUBLISHED,
    SEGMENTS,
    VIDEO,
    Known,
    Served,
    check_problem,
    raw,
)

YEAR = 31536000


@pytest.fixture
def client(served: Served) -> Iterator[httpx2.Client]:
    # An Ingress controller may compress text on its way; what is tested is what the server sends.
    with httpx2.Client(timeout=10, headers={"Accept-Encoding": "identity"}) as http:
        yield http


@pytest.mark.parametrize("known", PUBLISHED, ids=lambda known: known.key.rpartition("/")[2])
def test_rendition_is_served_with_its_headers(client: httpx2.Client, served: Served, known: Known) -> None:
    answer = client.get(served.url(known), headers={"Origin": "https://shop.example"})
    assert answer.status_code == 200
    assert answer.content == known.body
    headers = answer.headers
    assert headers["Content-Type"] == known.mime
    assert headers["Content-Length"] == str(len(known.body))
    assert headers["ETag"] == known.etag
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["Cache-Control"] == f"public, max-age={YEAR}, immutable"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert headers["Access-Control-Allow-Origin"] == "*"
    exposed = {name.strip().lower() for name in headers["Access-Control-Expose-Headers"].split(",")}
    assert exposed >= {"etag", "content-length", "content-range"}
    age = parsedate_to_datetime(headers["Date"]) - parsedate_to_datetime(headers["Last-Modified"])
    # Servers refresh their Date once a second, so an object may seem to be from the second after.
    assert timedelta(seconds=-2) < age < timedelta(minutes=10)
    assert "Set-Cookie" not in headers


def test_document_is_an_attachment_and_an_image_is_not(client: httpx2.Client, served: Served) -> None:
    assert client.get(served.url(DOCUMENT)).headers["Content-Disposition"].startswith("attachment")
    for known in (IMAGE, PLAYLIST, SEGMENTS, CUES):
        assert "Content-Disposition" not in client.get(served.url(known)).headers


@pytest.mark.parametrize("known", [IMAGE, VIDEO], ids=lambda known: known.mime)
def test_head_is_get_without_the_body(client: httpx2.Client, served: Served, known: Known) -> None:
    head, get = client.head(served.url(known)), client.get(served.url(known))
    assert (head.status_code, head.content) == (200, b"")
    changing = {"date": "", "x-envoy-upstream-service-time": "", "x-request-id": ""}
    assert {**head.headers, **changing} == {**get.headers, **changing}


def test_head_of_nothing_is_404(client: httpx2.Client, served: Served) -> None:
    answer = client.head(f"{served.base_url}/media/default/none/medium-0123456789abcdef.jpg")
    assert (answer.status_code, answer.content) == (404, b"")
    assert answer.headers["Content-Type"].startswith("application/problem+json")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', "*"])
def test_etag_that_matches_is_304(client: httpx2.Client, served: Served, method: str, form: str) -> None:
    answer = client.request(method, served.url(IMAGE), headers={"If-None-Match": form.format(IMAGE.etag)})
    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["ETag"] == IMAGE.etag
    assert answer.headers["Cache-Control"] == f"public, max-age={YEAR}, immutable"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Content-Type" not in answer.headers


def test_etag_that_differs_is_200_whatever_the_date_says(client: httpx2.Client, served: Served) -> None:
    since = client.head(served.url(IMAGE)).headers["Last-Modified"]
    answer = client.get(served.url(IMAGE), headers={"If-None-Match": '"other"', "If-Modified-Since": since})
    assert (answer.status_code, answer.content) == (200, IMAGE.body)


def test_if_modified_since(client: httpx2.Client, served: Served) -> None:
    modified = client.head(served.url(IMAGE)).headers["Last-Modified"]
    assert client.get(served.url(IMAGE), headers={"If-Modified-Since": modified}).status_code == 304
    for since in (formatdate(0, usegmt=True), "no date"):
        assert client.get(served.url(IMAGE), headers={"If-Modified-Since": since}).status_code == 200


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=10-99", 10, 99),
        ("bytes=100000-", 100000, len(VIDEO.body) - 1),
        ("bytes=-5", len(VIDEO.body) - 5, len(VIDEO.body) - 1),
        ("bytes=-999999999", 0, len(VIDEO.body) - 1),
        ("bytes=10-999999999", 10, len(VIDEO.body) - 1),
        (f"bytes={len(VIDEO.body) - 1}-", len(VIDEO.body) - 1, len(VIDEO.body) - 1),
    ],
)
def test_range(client: httpx2.Client, served: Served, asked: str, first: int, last: int) -> None:
    answer = client.get(served.url(VIDEO), headers={"Range": asked})
    assert answer.status_code == 206
    assert answer.content == VIDEO.body[first : last + 1]
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(VIDEO.body)}"
    assert answer.headers["Content-Length"] == str(last + 1 - first)
    assert answer.headers["Content-Type"] == "video/mp4"
    assert answer.headers["ETag"] == VIDEO.etag


@pytest.mark.parametrize("asked", [f"bytes={len(VIDEO.body)}-", "bytes=999999999-", "bytes=-0"])
def test_range_beyond_the_end_is_416(client: httpx2.Client, served: Served, asked: str) -> None:
    answer = client.get(served.url(VIDEO), headers={"Range": asked})
    check_problem(answer, 416)
    assert answer.headers["Content-Range"] == f"bytes */{len(VIDEO.body)}"


@pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "bytes=" + ",".join(f"{n}-{n}" for n in range(200)), "lines=1-2"])
def test_many_ranges_and_other_units_get_the_whole(client: httpx2.Client, served: Served, asked: str) -> None:
    answer = client.get(served.url(VIDEO), headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, VIDEO.body)


def test_if_range_decides_between_the_range_and_the_whole(client: httpx2.Client, served: Served) -> None:
    modified = client.head(served.url(VIDEO)).headers["Last-Modified"]
    for condition in (VIDEO.etag, modified):
        assert client.get(served.url(VIDEO), headers={"Range": "bytes=0-9", "If-Range": condition}).status_code == 206
    for condition in ('"other"', formatdate(0, usegmt=True)):
        for asked in ("bytes=0-9", "bytes=999999999-"):
            answer = client.get(served.url(VIDEO), headers={"Range": asked, "If-Range": condition})
            assert (answer.status_code, answer.content) == (200, VIDEO.body)


def test_preflight_is_answered(client: httpx2.Client, served: Served) -> None:
    headers = {
        "Origin": "https://shop.example",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "range",
    }
    answer = client.options(served.url(IMAGE), headers=headers)
    assert answer.status_code in (200, 204)
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "GET" in answer.headers["Access-Control-Allow-Methods"]
    assert "range" in answer.headers["Access-Control-Allow-Headers"].lower()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_renditions_are_read_only(client: httpx2.Client, served: Served, method: str) -> None:
    answer = client.request(method, served.url(IMAGE))
    check_problem(answer, 405)
    assert {"GET", "HEAD", "OPTIONS"} == set(re.split(r",\s*", answer.headers["Allow"]))
    assert client.get(served.url(IMAGE)).content == IMAGE.body


@pytest.mark.parametrize(
    "path",
    [
        *HIDDEN,
        "media/",
        "media/default/",
        "media/default/users/42",
        IMAGE.key.rpartition("/")[0] + "/",
        IMAGE.key + "/",
        IMAGE.key.replace(".jpg", ".png"),
        IMAGE.key.upper().replace("MEDIA/", "media/"),
        IMAGE.key + "%231",
        IMAGE.key + ".",
    ],
)
def test_what_is_no_rendition_is_404(client: httpx2.Client, served: Served, path: str) -> None:
    answer = client.get(f"{served.base_url}/{path}")
    assert answer.status_code == 404
    assert answer.content or served.is_behind_ingress
    if path.startswith("media/"):
        check_problem(answer, 404)


TAIL = IMAGE.key.removeprefix("media/")


@pytest.mark.parametrize(
    "target",
    [
        "/media/../uploads/default/one/00ff",
        "/media/%2e%2e/uploads/default/one/00ff",
        "/media/..%2fuploads/default/one/00ff",
        "/media/%252e%252e/uploads/default/one/00ff",
        "/media/../../../../../../etc/passwd",
        "/media/%2e%2e%2f%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/media/..%5c..%5cuploads/default/one/00ff",
        "/media//etc/passwd",
        "/media/%2fetc/passwd",
        f"/media/../private/{TAIL}",
        f"/media/..%2fprivate/{TAIL}",
        f"/media/{TAIL}%00",
        f"/media/{TAIL}%00.png",
        f"/media/{TAIL}%0a",
        f"/media/{TAIL}%0d%0a",
        f"/media/{TAIL}%0d%0aX-Injected:%201",
        "/media/%ff%fe",
        "/media/" + "a/" * 4000,
    ],
)
def test_no_path_leads_out(served: Served, target: str) -> None:
    status, body = raw(served, target)
    assert status in (400, 403, 404, 414)
    assert body or served.is_behind_ingress
    assert b"root:" not in body
    assert IMAGE.body not in body


def test_symbolic_link_is_not_followed(client: httpx2.Client, served: Served) -> None:
    if served.root is None:
        return  # An object store has no links.
    folder = served.root / IMAGE.key.rpartition("/")[0]
    targets = (Path("/etc/passwd"), served.root / PRIVATE.key, served.root / IMAGE.key)
    for number, target in enumerate(targets):
        link = folder / f"link{number}-0123456789abcdef.jpg"
        link.symlink_to(target)
        check_problem(client.get(f"{served.base_url}/{link.relative_to(served.root)}"), 404)


def test_object_that_is_still_being_written_is_not_served(client: httpx2.Client, served: Served) -> None:
    if served.root is None:
        return  # An object store shows no parts.
    staged = served.root / f"{IMAGE.key}#1"
    staged.write_bytes(b"half")
    check_problem(client.get(f"{served.base_url}/{IMAGE.key}%231"), 404)


def test_private_rendition_is_not_given_to_anybody(client: httpx2.Client, served: Served) -> None:
    answer = client.get(served.url(PRIVATE))
    assert answer.status_code in (403, 404)
    assert answer.content or served.is_behind_ingress
    assert PRIVATE.body not in answer.content


def test_private_is_not_reached_through_a_public_path(served: Served) -> None:
    assert raw(served, f"/media/../{PRIVATE.key}")[0] in (400, 403, 404)
