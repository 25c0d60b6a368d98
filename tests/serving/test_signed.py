"""Private renditions, for the servers that answer signed URLs themselves: standalone, and a gateway with a secret."""

import re
import secrets
import time
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import urljoin

import httpx2
import pytest

from mediaasset.signing import UrlSigner
from served import (
    OTHER_TREE,
    PRIVATE,
    PRIVATE_DOCUMENT,
    PRIVATE_FILM,
    PRIVATE_PLAYLIST,
    PRIVATE_SEGMENTS,
    UNPUBLISHED,
    Known,
    Served,
    check_problem,
    raw,
)
from service import wait_for

pytestmark = pytest.mark.parametrize("served", ["gateway that signs", "standalone"], indirect=True)


@pytest.fixture
def client(served: Served) -> Iterator[httpx2.Client]:
    with httpx2.Client(timeout=10) as http:
        yield http


def refused(client: httpx2.Client, url: str, slug: str = "signature-invalid") -> None:
    answer = client.get(url, headers={"Origin": "https://shop.example"})
    check_problem(answer, 403)
    assert answer.json()["type"] == f"urn:media-operator:problem:{slug}"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "ETag" not in answer.headers


@pytest.mark.parametrize("known", UNPUBLISHED, ids=lambda known: known.key.rpartition("/")[2])
def test_signed_rendition_is_served_with_its_headers(client: httpx2.Client, served: Served, known: Known) -> None:
    refused(client, served.url(known))
    answer = client.get(served.signed(known), headers={"Origin": "https://shop.example"})
    assert (answer.status_code, answer.content) == (200, known.body)
    headers = answer.headers
    match = re.fullmatch(r"private, max-age=(\d+)", headers["Cache-Control"])
    assert match is not None
    # What was made within a twelfth of the time ends with the first of it.
    assert 3300 - 60 < int(match[1]) <= 3600
    assert (headers["Content-Type"], headers["ETag"]) == (known.mime, known.etag)
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers.get("Content-Disposition") == ("attachment" if known is PRIVATE_DOCUMENT else None)


def test_ranges_conditions_and_head_are_as_with_public_ones(client: httpx2.Client, served: Served) -> None:
    url = served.signed(PRIVATE_FILM)
    part = client.get(url, headers={"Range": "bytes=10-99", "If-Range": PRIVATE_FILM.etag})
    assert (part.status_code, part.content) == (206, PRIVATE_FILM.body[10:100])
    assert part.headers["Content-Range"] == f"bytes 10-99/{len(PRIVATE_FILM.body)}"
    head = client.head(url)
    assert (head.status_code, head.content, head.headers["Content-Length"]) == (200, b"", str(len(PRIVATE_FILM.body)))
    kept = client.get(url, headers={"If-None-Match": PRIVATE_FILM.etag})
    assert (kept.status_code, kept.content) == (304, b"")
    assert kept.headers["Cache-Control"].startswith("private, max-age=")
    check_problem(client.get(url, headers={"Range": f"bytes={len(PRIVATE_FILM.body)}-"}), 416)
    check_problem(client.post(url), 405)
    assert client.options(url, headers={"Access-Control-Request-Method": "GET"}).status_code in (200, 204)


def test_every_part_of_the_url_counts(client: httpx2.Client, served: Served) -> None:
    url = served.signed(PRIVATE)
    expires, key_id, signature = url.rpartition("/~")[2].partition("/")[0].split(".")
    other = "B" if signature[0] == "A" else "A"
    # The last letter of 43 has two bits that mean nothing: that there is one way to write it counts as well.
    twin = chr(ord(signature[-1]) + 1)
    for changed in (
        url.replace(expires, str(int(expires) + 1)),
        url.replace(expires, f"0{expires}"),
        url.replace(key_id, "00000000"),
        url.replace(signature, other + signature[1:]),
        url.replace(signature, signature[:-1] + twin),
        url.replace(signature, signature[:-1]),
        url.replace(signature, signature + "A"),
        url.replace("medium-", "small-"),
        url.replace("/users/", "/others/"),
        url.replace(".jpg", ".png"),
        url.replace("/~", "/"),
        url.replace("/~", "/~/~"),
        f"{url}?download=evil.exe",
        f"{served.base_url}/private/",
        f"{served.base_url}/private/~1.00000000.{'A' * 43}/",
        url.replace("/users/", "/" + "a/" * 3000 + "users/"),
        f"{served.base_url}/private/~%C3%A4.0.0/{PRIVATE.key}",
    ):
        assert changed != url
        refused(client, changed)
    assert client.get(f"{url}?v=1").content == PRIVATE.body


def test_refusal_does_not_tell_what_is_there(client: httpx2.Client, served: Served) -> None:
    absent = Known(PRIVATE.key.replace("medium-", "absent-"), b"", "")
    url = served.signed(PRIVATE)
    answers = [client.get(each) for each in (url.replace("/~", "/~1"), url.replace("/~", "/~1").replace("m-", "n-"))]
    assert answers[0].content == answers[1].content
    assert answers[0].status_code == answers[1].status_code == 403
    # Whoever may ask is told.
    check_problem(client.get(served.signed(absent)), 404)


def test_time_that_is_over_is_said(client: httpx2.Client, served: Served) -> None:
    refused(client, served.signed(PRIVATE, timedelta(seconds=-1)), "url-expired")
    # Only to whom it was given.
    refused(client, served.signed(PRIVATE, timedelta(seconds=-1)).replace("medium-", "small-"))
    url = served.signed(PRIVATE, timedelta(seconds=2))
    assert client.get(url).status_code == 200
    ends = int(url.rpartition("/~")[2].partition(".")[0])
    wait_for(lambda: time.time() > ends + 0.1, what="its end")
    # It lies in the cache, which is behind the check.
    refused(client, url, "url-expired")


def test_secret_before_this_one_still_opens_and_any_other_does_not(client: httpx2.Client, served: Served) -> None:
    for signer in served.signers:
        assert client.get(signer.url(PRIVATE.key, timedelta(hours=1))).content == PRIVATE.body
    removed = UrlSigner(served.base_url, secrets.token_bytes(32))
    refused(client, removed.url(PRIVATE.key, timedelta(hours=1)))


def test_playlist_opens_what_it_names_and_no_other_directory(client: httpx2.Client, served: Served) -> None:
    url = served.signed(PRIVATE_PLAYLIST)
    name = client.get(url).text.splitlines()[1]
    segment = client.get(urljoin(url, name), headers={"Range": "bytes=5-9"})
    assert (segment.status_code, segment.content) == (206, PRIVATE_SEGMENTS.body[5:10])
    check_problem(client.get(urljoin(url, "missing.mp4")), 404)
    token = url.rpartition("/~")[2].partition("/")[0]
    for known in (OTHER_TREE, PRIVATE, PRIVATE_FILM):
        refused(client, f"{served.base_url}/private/~{token}/{known.key.removeprefix('private/')}")
    # Nor does the token of a file open a directory.
    token = served.signed(PRIVATE).rpartition("/~")[2].partition("/")[0]
    refused(client, re.sub(r"~[^/]+", f"~{token}", url))


def test_download_is_saved_under_the_name_that_was_signed(client: httpx2.Client, served: Served) -> None:
    url = served.signed(PRIVATE_DOCUMENT, file_name='naïve "1".txt')
    answer = client.get(url)
    assert (answer.status_code, answer.content) == (200, PRIVATE_DOCUMENT.body)
    disposition = answer.headers["Content-Disposition"]
    assert disposition.startswith("attachment; filename")
    assert disposition.endswith("filename*=UTF-8''na%C3%AFve%20_1_.txt")
    assert client.get(url.replace(".txt?", ".txt?x=1&")).headers["Content-Disposition"] == disposition
    refused(client, url.removesuffix("txt") + "exe")
    refused(client, url.partition("?")[0])


@pytest.mark.parametrize("way", ["../", "%2e%2e/", "..%2f", "%252e%252e/", "./", "/", "%2f"])
def test_no_path_leads_out(served: Served, way: str) -> None:
    token = served.signed(PRIVATE).rpartition("/~")[2].partition("/")[0]
    for rest in (PRIVATE_FILM.key, f"{way}{PRIVATE_FILM.key}", "uploads/default/one/00ff"):
        status, body = raw(served, f"/private/~{token}/{way}{rest}")
        assert status in (400, 403, 404)
        assert body
        assert PRIVATE_FILM.body[:100] not in body
    query = f"/media/../private/~{token}/{PRIVATE_FILM.key.removeprefix('private/')}"
    assert raw(served, query)[0] in (400, 403, 404)
