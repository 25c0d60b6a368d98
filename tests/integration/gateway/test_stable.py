"""What the gateway keeps of stable names, and what it asks S3 for them."""

import secrets
from urllib.parse import urlsplit

import httpx2
import obstore
import pytest

from gateway import Bucket, Gateway, Start, crowd, put
from mediaasset import pointers
from served import check_problem
from service import wait_for
from tap import Tap

LONG = "3600"


def point(bucket: Bucket, body: bytes) -> tuple[str, str]:
    """Write a rendition, and a pointer to it; return what stands in the URL after /media/, and the key."""
    path, key = f"shop/old/{secrets.token_hex(8)}.jpg", put(bucket, body)
    obstore.put(bucket.store, pointers.path_key(path), pointers.body(("shop", "one"), {"medium": key}))
    return path, key


def asked(line: Tap) -> list[str]:
    """Return what S3 was asked for: pointers, and the last part of the keys of others."""
    return ["pointer" if "/.paths/" in each.path else each.path.rpartition("/")[2] for each in line.asked]


def test_names_answer_from_the_cache_of_the_content(
    bucket: Bucket, line: Tap, start: Start, client: httpx2.Client
) -> None:
    path, key = point(bucket, b"picture")
    served = start(GATEWAY_CACHE_SECONDS=LONG)
    assert client.get(f"{served.base_url}/{key}").content == b"picture"
    for _ in range(3):
        assert client.get(pointers.url(served.base_url, path)).content == b"picture"
    assert asked(line) == [key.rpartition("/")[2], "pointer"]
    assert line.asked[-1].headers.keys() <= {"host", "connection"}


def test_names_answer_while_s3_is_down(bucket: Bucket, line: Tap, start: Start, client: httpx2.Client) -> None:
    (path, _), (unseen, _) = point(bucket, b"seen"), point(bucket, b"unseen")
    served = start(GATEWAY_CACHE_SECONDS="1")
    url = pointers.url(served.base_url, path)
    assert client.get(url).content == b"seen"
    line.broken = True

    def both_were_asked_for() -> bool:
        answer = client.get(url)
        assert (answer.status_code, answer.content) == (200, b"seen")
        return {"pointer", "jpg"} <= {name.rpartition(".")[2] for name in asked(line)[2:]}

    wait_for(both_were_asked_for, what="the cache to ask S3 again")
    assert line.asked[-1].status == 503
    answer = client.get(pointers.url(served.base_url, unseen))
    check_problem(answer, 503)
    assert answer.headers["Retry-After"] == "5"
    line.broken = False
    assert client.get(pointers.url(served.base_url, unseen)).content == b"unseen"


def test_one_request_finds_a_name_for_all_and_none_is_asked_for_what_can_be_no_name(
    bucket: Bucket, line: Tap, start: Start
) -> None:
    path, _ = point(bucket, b"picture")
    served = start(GATEWAY_CACHE_SECONDS=LONG)
    for answer in crowd(served, urlsplit(pointers.url("", path)).path, line):
        assert answer.endswith(b"\r\n\r\npicture")
    assert line.arrived == 2
    for none in ("/media/a.html", "/media/a", "/media/by-name/a/b.svg", "/media/.env", "/media/"):
        check_problem(httpx2.get(served.base_url + none), 404)
    assert line.arrived == 2


def test_that_there_is_no_such_name_is_kept_for_seconds(
    bucket: Bucket, line: Tap, start: Start, client: httpx2.Client
) -> None:
    path, key = point(bucket, b"picture")
    pointer = pointers.path_key(path)
    body = bytes(obstore.get(bucket.store, pointer).bytes())
    obstore.delete(bucket.store, pointer)
    served = start(GATEWAY_CACHE_SECONDS=LONG)
    url = pointers.url(served.base_url, path)
    for _ in range(20):
        check_problem(client.get(url), 404)
    assert 1 <= line.arrived < 20
    obstore.put(bucket.store, pointer, body)
    wait_for(lambda: client.get(url).content == b"picture", seconds=30, what="the name")
    assert key in line.asked[-1].path


@pytest.mark.parametrize("seconds", ["0", "60"])
def test_how_long_browsers_keep_a_name_is_set(
    bucket: Bucket, start: Start, client: httpx2.Client, seconds: str
) -> None:
    path, key = point(bucket, b"picture")
    served: Gateway = start(GATEWAY_STABLE_MAX_AGE=seconds, GATEWAY_MAX_AGES="/media/shop/=1000")
    assert client.get(pointers.url(served.base_url, path)).headers["Cache-Control"] == f"public, max-age={seconds}"
    assert client.get(f"{served.base_url}/{key}").headers["Cache-Control"] == "public, max-age=1000"


def test_a_limit_counts_a_name_once(bucket: Bucket, start: Start, client: httpx2.Client) -> None:
    path, _ = point(bucket, b"picture")
    served = start(GATEWAY_RATE="1/minute", GATEWAY_RATE_BURST="2", GATEWAY_CACHE_SECONDS=LONG)
    url = pointers.url(served.base_url, path)
    assert [client.get(url).status_code for _ in range(4)] == [200, 200, 200, 429]
