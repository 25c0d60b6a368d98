"""What the gateway does beyond serving as standalone does: its cache, and what goes between it and S3."""

import hashlib
import os
import secrets
import signal
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import obstore
import pytest

import gateway
from gateway import Bucket, Gateway, Start, crowd, put
from mediaasset import keys
from mediaasset.media import MEDIA_TYPES, Kind, MediaType
from served import check_problem
from servers import free_port
from service import wait_for
from tap import Tap

MIB = 1024 * 1024
#: For as long as a test lasts.
LONG = "3600"


def ask(served: Gateway, client: httpx2.Client, key: str) -> tuple[httpx2.Response, str]:
    """Return an answer, and what the cache had to do with it."""
    # The lines of several workers come late, and not in the order of the requests.
    agent = secrets.token_hex(8)
    answer = client.get(f"{served.base_url}/{key}", headers={"User-Agent": agent})
    (line,) = wait_for(
        lambda: [line for line in served.log("edge") if line["user_agent"] == agent], what="the line of the log"
    )
    return answer, line["cache"]


def test_nothing_of_the_client_goes_to_s3_and_nothing_of_s3_to_the_client(
    bucket: Bucket, line: Tap, start: Start, client: httpx2.Client
) -> None:
    key = put(bucket, b"x" * 1000)
    obstore.put(bucket.store, key, b"x" * 1000, attributes={"Content-Type": "text/html", "owner": "somebody"})
    served = start()
    sent = {
        "Authorization": "Bearer secret",
        "Cookie": "session=secret",
        "X-Amz-Security-Token": "secret",
        "X-Forwarded-For": "192.0.2.1",
        "Range": "bytes=1-2",
        "If-None-Match": '"other"',
    }
    query = "response-content-type=text/html&X-Amz-Signature=0&versionId=1"
    answer = client.get(f"{served.base_url}/{key}?{query}", headers=sent)
    assert (answer.status_code, answer.content) == (206, b"xx")

    (asked,) = line.asked
    assert (asked.method, asked.path) == ("GET", f"/media/{key}")
    assert asked.headers == {
        "host": urlsplit(line.endpoint).netloc,
        "range": f"bytes=0-{MIB - 1}",
    }
    assert {name.lower() for name in answer.headers} == {
        "access-control-allow-origin",
        "access-control-expose-headers",
        "cache-control",
        "connection",
        "content-length",
        "content-range",
        "content-security-policy",
        "content-type",
        "cross-origin-resource-policy",
        "date",
        "etag",
        "last-modified",
        "x-content-type-options",
    }
    assert answer.headers["Content-Type"] == "image/jpeg"


@pytest.mark.parametrize("media", MEDIA_TYPES, ids=lambda media: media.mime)
def test_type_is_that_of_the_table_whatever_s3_says(
    bucket: Bucket, start: Start, client: httpx2.Client, media: MediaType
) -> None:
    served = start()
    for extension in media.extensions:
        key = put(bucket, b"x", extension)
        obstore.put(bucket.store, key, b"x", attributes={"Content-Type": "text/html"})
        answer = client.get(f"{served.base_url}/{key}")
        assert answer.headers["Content-Type"] == media.mime
        assert answer.headers.get("Content-Disposition") == ("attachment" if media.kind is Kind.DOCUMENT else None)


def test_one_request_fills_the_cache_for_all(bucket: Bucket, line: Tap, start: Start, client: httpx2.Client) -> None:
    body = secrets.token_bytes(MIB // 2)
    key = put(bucket, body)
    served = start(GATEWAY_CACHE_SECONDS=LONG)
    for answer in crowd(served, f"/{key}", line):
        assert answer.endswith(b"\r\n\r\n" + body)
    assert line.arrived == 1
    assert client.get(f"{served.base_url}/{key}?copy=1").content == body
    assert line.arrived == 1


def test_what_was_seen_is_served_while_s3_is_down(
    bucket: Bucket, line: Tap, start: Start, client: httpx2.Client
) -> None:
    key, unseen = put(bucket, b"seen"), put(bucket, b"unseen")
    served = start(GATEWAY_CACHE_SECONDS="1")
    assert client.get(f"{served.base_url}/{key}").content == b"seen"
    line.broken = True

    def is_stale() -> bool:
        answer, cache = ask(served, client, key)
        assert (answer.status_code, answer.content) == (200, b"seen")
        return cache == "STALE"

    wait_for(is_stale, what="the cache to ask S3 again")
    assert line.asked[-1].status == 503
    answer = client.get(f"{served.base_url}/{unseen}")
    check_problem(answer, 503)
    assert answer.headers["Retry-After"] == "5"
    assert client.get(f"{served.base_url}/healthz").status_code == 200
    line.broken = False
    assert client.get(f"{served.base_url}/{unseen}").content == b"unseen"


def test_server_that_is_not_there_is_503(bucket: Bucket, line: Tap, start: Start, client: httpx2.Client) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    served = start(GATEWAY_ENDPOINT=nobody)
    check_problem(client.get(f"{served.base_url}/{put(bucket, b'x')}"), 503)


def test_one_that_was_killed_can_be_started_again(
    bucket: Bucket, line: Tap, start: Start, client: httpx2.Client, tmp_path: Path
) -> None:
    listen = f"127.0.0.1:{free_port()}"
    environment = gateway.settings(tmp_path / "gateway", line.endpoint, GATEWAY_LISTEN=listen)
    killed = subprocess.Popen([gateway.START], env=environment, start_new_session=True)
    run = tmp_path / "gateway/run"
    try:
        wait_for((run / "nginx.pid").exists, what="the gateway")
    finally:
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
    assert (run / "origin.sock").is_socket()
    # By this file the next start is known to be ready.
    (run / "nginx.pid").unlink()
    assert client.get(f"{start().base_url}/{put(bucket, b'again')}").content == b"again"


def test_unchanged_object_is_not_fetched_again(
    bucket: Bucket, folder: Path, line: Tap, start: Start, client: httpx2.Client
) -> None:
    key = put(bucket, b"unchanged")
    # This server compares fractions of a second as well, which no header carries. Others do not have them.
    os.utime(folder / "objects/media" / key, (1_700_000_000, 1_700_000_000))
    served = start(GATEWAY_CACHE_SECONDS="1")

    def is_revalidated() -> bool:
        answer, cache = ask(served, client, key)
        assert answer.content == b"unchanged"
        return cache == "REVALIDATED"

    wait_for(is_revalidated, what="the cache to ask S3 again")
    assert [asked.status for asked in line.asked] == [206, 304]
    answer = client.get(f"{served.base_url}/{key}")
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert answer.headers["ETag"] == f'"{hashlib.sha256(b"unchanged").hexdigest()[:16]}"'


def test_deleted_object_is_gone_once_the_cache_asks_again(bucket: Bucket, start: Start, client: httpx2.Client) -> None:
    key = put(bucket, b"deleted")
    served = start(GATEWAY_CACHE_SECONDS="1")
    assert client.get(f"{served.base_url}/{key}").status_code == 200
    obstore.delete(bucket.store, key)

    def is_gone() -> bool:
        return client.get(f"{served.base_url}/{key}").status_code != 200

    wait_for(is_gone, what="the cache to ask S3 again")
    check_problem(client.get(f"{served.base_url}/{key}"), 404)


def test_problem_is_not_cached(bucket: Bucket, start: Start, client: httpx2.Client) -> None:
    body = b"late"
    key = keys.rendition("media/shop/assets/late/", "medium", hashlib.sha256(body).hexdigest(), "jpg")
    served = start(GATEWAY_CACHE_SECONDS=LONG)
    check_problem(client.get(f"{served.base_url}/{key}"), 404)
    bucket.put(key, body)
    assert client.get(f"{served.base_url}/{key}").content == body


def test_seeking_in_a_video_fetches_the_part_only(
    bucket: Bucket, line: Tap, start: Start, client: httpx2.Client
) -> None:
    body = secrets.token_bytes(5 * MIB + 123)
    url = f"{start(GATEWAY_CACHE_SECONDS=LONG).base_url}/{put(bucket, body, 'mp4')}"
    etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    answer = client.get(url, headers={"Range": f"bytes={3 * MIB + 5}-{3 * MIB + 9}", "If-Range": etag})
    # With a condition, nginx must first see the validator: it asks for the beginning as well.
    assert (answer.status_code, answer.content) == (206, body[3 * MIB + 5 : 3 * MIB + 10])
    assert answer.headers["Content-Range"] == f"bytes {3 * MIB + 5}-{3 * MIB + 9}/{len(body)}"
    assert [asked.headers["range"] for asked in line.asked] == [
        f"bytes=0-{MIB - 1}",
        f"bytes={3 * MIB}-{4 * MIB - 1}",
    ]
    answer = client.get(url, headers={"Range": f"bytes={2 * MIB - 2}-{2 * MIB + 1}"})
    assert (answer.status_code, answer.content) == (206, body[2 * MIB - 2 : 2 * MIB + 2])
    whole = client.get(url)
    assert (whole.status_code, whole.content, whole.headers["ETag"]) == (200, body, etag)
    parts = sorted(int(asked.headers["range"].split("=")[1].split("-")[0]) for asked in line.asked)
    assert parts == [number * MIB for number in range(6)]
    beyond = client.get(url, headers={"Range": f"bytes={9 * MIB}-"})
    check_problem(beyond, 416)
    assert beyond.headers["Content-Range"] == f"bytes */{len(body)}"


def test_log_is_json_with_what_an_operator_needs(bucket: Bucket, start: Start, client: httpx2.Client) -> None:
    key = put(bucket, b"logged")
    served = start()
    client.get(f"{served.base_url}/{key}?token=1", headers={"User-Agent": 'a "quoted" agent\\'})
    (entry,) = wait_for(lambda: served.log("edge"), what="the line of the log")
    assert (entry["method"], entry["path"], entry["status"], entry["bytes"]) == ("GET", f"/{key}", 200, 6)
    assert (entry["cache"], entry["upstream_status"]) == ("MISS", "206")
    assert entry["user_agent"] == 'a "quoted" agent\\'
