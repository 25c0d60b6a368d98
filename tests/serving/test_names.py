"""Stable names, as standalone and the gateway answer them: in place, with what the content's own URL has."""

import hashlib
import secrets
from collections.abc import Iterator
from email.utils import formatdate
from functools import partial

import httpx2
import pytest

from mediaasset import keys, pointers
from served import (
    ASTRAY,
    BY_NAME,
    BY_PATH,
    DOCUMENT,
    IMAGE,
    IN_TREE,
    JPEG,
    NAME,
    OWNER,
    POINTERS,
    PREFIX,
    VIDEO,
    Known,
    Served,
    check_problem,
    raw,
)
from service import wait_for

ALL = {**BY_NAME, **BY_PATH, **IN_TREE}
STABLE = "public, max-age=300"


@pytest.fixture
def client(served: Served) -> Iterator[httpx2.Client]:
    with httpx2.Client(timeout=10, headers={"Accept-Encoding": "identity"}) as http:
        yield http


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("name", "known"), ALL.items(), ids=ALL)
def test_a_name_answers_as_the_content_does_but_for_how_long_it_is_kept(
    client: httpx2.Client, served: Served, name: str, known: Known, method: str
) -> None:
    answer, own = client.request(method, served.stable(name)), client.request(method, served.url(known))
    assert answer.status_code == 200
    assert answer.content == (known.body if method == "GET" else b"")
    changing = {"date": "", "x-envoy-upstream-service-time": "", "x-request-id": ""}
    assert {**answer.headers, **changing} == {**own.headers, **changing, "cache-control": STABLE}
    assert answer.headers["ETag"] == known.etag
    assert answer.headers["Content-Type"] == known.mime


@pytest.mark.parametrize("name", [f"{NAME}/medium", "default/product_images/Größe 42 (1)/image.JPG"])
def test_conditions(client: httpx2.Client, served: Served, name: str) -> None:
    url = served.stable(name)
    modified = client.head(url).headers["Last-Modified"]
    for held in ({"If-None-Match": IMAGE.etag}, {"If-Modified-Since": modified}):
        answer = client.get(url, headers=held)
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["ETag"] == IMAGE.etag
        assert answer.headers["Cache-Control"] == STABLE
    for other in ({"If-None-Match": '"other"'}, {"If-Modified-Since": formatdate(0, usegmt=True)}):
        assert client.get(url, headers=other).content == IMAGE.body


@pytest.mark.parametrize("name", [f"{NAME}/mp4", "default/old/film.mov"])
def test_ranges(client: httpx2.Client, served: Served, name: str) -> None:
    url = served.stable(name)
    answer = client.get(url, headers={"Range": "bytes=100000-100009", "If-Range": VIDEO.etag})
    assert (answer.status_code, answer.content) == (206, VIDEO.body[100000:100010])
    assert answer.headers["Content-Range"] == f"bytes 100000-100009/{len(VIDEO.body)}"
    assert answer.headers["Cache-Control"] == STABLE
    assert client.get(url, headers={"Range": "bytes=0-9", "If-Range": '"other"'}).content == VIDEO.body
    check_problem(client.get(url, headers={"Range": f"bytes={len(VIDEO.body)}-"}), 416)


def test_queries_mean_nothing_and_names_are_read_only(client: httpx2.Client, served: Served) -> None:
    url = served.stable(f"{NAME}/medium")
    assert client.get(f"{url}?v=2").content == IMAGE.body
    assert client.options(url).status_code in (200, 204)
    check_problem(client.post(url), 405)


@pytest.mark.parametrize(
    "path",
    [
        f"{NAME}/large",
        f"{NAME}-other/medium",
        NAME,
        f"{NAME}/",
        f"{NAME}/medium/",
        f"{NAME}/medium.jpg",
        # A directory answers by its files, and nothing else by that of one.
        f"{NAME}/hls",
        f"{NAME}/hls/",
        f"{NAME}/hls/other.m3u8",
        f"{NAME}/hls/index.html",
        f"{NAME}/medium/index.m3u8",
        "by-name/",
        "by-name/medium",
        "default/old/none.jpg",
        "default/old/film.mov/",
        "default/old/FILM.mov",
        "default/old/film",
        "default/old/",
        "default/old/film.mov%00",
        "default/old/film.mov%0a",
        "default/./old/film.mov%2f",
        *(key.removeprefix("media/") for key in POINTERS),
        *ASTRAY,
    ],
)
def test_anything_else_is_404(served: Served, client: httpx2.Client, path: str) -> None:
    status, body = raw(served, f"/media/{path}")
    assert status in (400, 403, 404)
    assert body or served.is_behind_ingress
    assert not any(known.body in body for known in ALL.values())
    assert b"default/one" not in body
    if "%" not in path:
        check_problem(client.get(f"{served.base_url}/media/{path}"), 404)


@pytest.mark.parametrize(
    "target",
    [
        f"/media/../media/{NAME}/medium",
        f"/media/{NAME}/hls/../medium",
        f"/media/{NAME}/hls/..%2fmedium",
        f"/media/{NAME}/hls/%2e%2e/%2e%2e/original",
        f"/media/{NAME}//medium",
        "/media//default/old/film.mov",
        "/media/default/old/../../../private/x.mov",
        "/media/%ff%fe.jpg",
        "/media/" + "a/" * 3000 + "a.jpg",
    ],
)
def test_no_path_leads_out(served: Served, target: str) -> None:
    status, body = raw(served, target)
    # What a server tidies up is the same path as any other.
    assert (status == 200 and body in (IMAGE.body, DOCUMENT.body, VIDEO.body)) or status in (400, 403, 404, 414)


def picture(served: Served) -> Known:
    """Write another picture."""
    body = JPEG + secrets.token_bytes(16)
    known = Known(keys.rendition(PREFIX, "medium", hashlib.sha256(body).hexdigest(), "jpg"), body, "image/jpeg")
    served.write(known.key, known.body)
    return known


def test_what_a_name_leads_to_changes_under_the_same_url(client: httpx2.Client, served: Served) -> None:
    name = pointers.by_name("default", "users/42", f"avatar-{secrets.token_hex(4)}")
    url, pointer = served.stable(f"{name}/medium"), pointers.name_key(name)
    check_problem(client.get(url), 404)
    for _ in range(2):
        known = picture(served)
        served.write(pointer, pointers.body(OWNER, {"medium": known.key}))
        wait_for(partial(_all_show, client, served, url, known), seconds=60, what="the new picture")
        answer = client.get(url)
        assert answer.headers["ETag"] == known.etag
        assert client.get(url, headers={"If-None-Match": known.etag}).status_code == 304


def _all_show(client: httpx2.Client, served: Served, url: str, known: Known) -> bool:
    return all(client.get(url).content == known.body for _ in range(served.in_a_row))


@pytest.mark.parametrize("goes", ["name", "content"])
def test_what_is_deleted_or_made_private_is_gone_soon(client: httpx2.Client, served: Served, goes: str) -> None:
    path = f"default/old/{secrets.token_hex(4)}.jpg"
    url, pointer, known = served.stable(path), pointers.path_key(path), picture(served)
    served.write(pointer, pointers.body(OWNER, {"medium": known.key}))
    wait_for(partial(_all_show, client, served, url, known), what="the name")
    served.delete(pointer if goes == "name" else known.key)

    def is_gone() -> bool:
        return all(client.get(url).status_code == httpx2.codes.NOT_FOUND for _ in range(served.in_a_row))

    # The store is not asked about what is fresh: 10 s, of the pointer and then of the content.
    wait_for(is_gone, seconds=60, what="its end")
    check_problem(client.get(url, headers={"If-None-Match": known.etag}), 404)
