"""What a platform team may set: who may read and how often, how long it is kept, and what is counted."""

import re
from pathlib import Path

import httpx2

import gateway
import s3server
from alerting import unknown
from gateway import Bucket, Gateway, Start, put
from served import check_problem
from service import wait_for


def page(served: Gateway) -> str:
    """Return what Prometheus would read."""
    directory = served.output.parent / "run"
    with httpx2.Client(transport=httpx2.HTTPTransport(uds=str(directory / "metrics.sock"))) as http:
        return http.get("http://gateway/metrics").text


def metrics(served: Gateway) -> dict[str, float]:
    text = page(served)
    found = re.findall(r"^([a-z_]+(?:\{[^}]*\})?) (\S+)$", text, re.MULTILINE)
    assert len(found) == sum(not line.startswith("#") for line in text.splitlines())
    return {name: float(value) for name, value in found}


def test_ages_are_those_of_the_first_path_that_fits(bucket: Bucket, start: Start, client: httpx2.Client) -> None:
    served = start(GATEWAY_MAX_AGES="/media/shop/assets/=86400 /media/shop.assets/=1 /media/shop/=604800")
    keys = {"assets": put(bucket, b"one"), "products": "media/shop/products/u/medium-0123456789abcdef.jpg"}
    keys["other"] = "media/other/products/u/medium-0123456789abcdef.jpg"
    for key in keys.values():
        bucket.put(key, b"body")
    found = {name: client.get(f"{served.base_url}/{key}").headers["Cache-Control"] for name, key in keys.items()}
    assert found == {
        "assets": "public, max-age=86400",
        "products": "public, max-age=604800",
        "other": "public, max-age=31536000, immutable",
    }
    missing = client.get(f"{served.base_url}/media/shop/assets/u/medium-0123456789abcdef.jpg")
    assert missing.headers["Cache-Control"] == "no-store"


def test_pages_of_other_origins_read_nothing(bucket: Bucket, start: Start, client: httpx2.Client) -> None:
    url = f"{start(GATEWAY_CORS_ORIGINS='https://shop.example http://localhost:3000').base_url}/{put(bucket, b'one')}"
    for origin in ("https://shop.example", "http://localhost:3000"):
        for _ in range(2):
            answer = client.get(url, headers={"Origin": origin})
            assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, origin)
            assert answer.headers["Vary"] == "Origin"
    for sent in ({"Origin": "https://shop.example.evil"}, {"Origin": "null"}, {}):
        answer = client.get(url, headers=sent)
        assert (answer.status_code, answer.headers["Vary"]) == (200, "Origin")
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_one_client_who_asks_too_often_is_told_to_wait(bucket: Bucket, start: Start, client: httpx2.Client) -> None:
    served = start(GATEWAY_RATE="1/minute", GATEWAY_RATE_BURST="3")
    url = f"{served.base_url}/{put(bucket, b'one')}"

    def ask(chain: str) -> httpx2.Response:
        return client.get(url, headers={"X-Forwarded-For": chain})

    # What a client claims itself, before the address that the proxy saw, makes nobody another.
    answers = [ask(f"198.51.100.{number}, 192.0.2.1, 10.1.2.3") for number in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 4 + [429] * 2
    check_problem(answers[-1], 429)
    assert answers[-1].headers["Retry-After"] == "1"
    assert ask("192.0.2.2").status_code == 200
    wait_for(lambda: len(served.log("edge")) == 7, what="the lines of the log")
    assert {line["remote"] for line in served.log("edge")} == {"192.0.2.1", "192.0.2.2"}


def test_only_trusted_proxies_say_who_asks(bucket: Bucket, start: Start, client: httpx2.Client) -> None:
    served = start(GATEWAY_TRUSTED_PROXIES="203.0.113.0/24")
    client.get(f"{served.base_url}/{put(bucket, b'one')}", headers={"X-Forwarded-For": "192.0.2.1"})
    (line,) = wait_for(lambda: served.log("edge"), what="the line of the log")
    assert line["remote"] == "127.0.0.1"


def test_metrics_count_what_clients_and_the_store_did(bucket: Bucket, start: Start, client: httpx2.Client) -> None:
    served = start()
    key = put(bucket, b"x" * 1000)
    for _ in range(3):
        client.get(f"{served.base_url}/{key}")
    client.get(f"{served.base_url}/media/none/medium-0123456789abcdef.jpg")
    client.get(f"{served.base_url}/healthz")
    # Each worker shares its numbers once a second.
    wait_for(lambda: metrics(served).get("media_gateway_request_seconds_count") == 4, what="the metrics")
    found = metrics(served)
    assert found['media_gateway_requests_total{code="200",cache="MISS"}'] == 1
    assert found['media_gateway_requests_total{code="200",cache="HIT"}'] == 2
    assert found['media_gateway_requests_total{code="404",cache="MISS"}'] == 1
    assert found['media_gateway_request_seconds_bucket{le="+Inf"}'] == 4
    assert found["media_gateway_sent_bytes_total"] > 3000
    store = {name: count for name, count in found.items() if name.startswith("media_gateway_store_requests_total")}
    assert sum(store.values()) == 2
    assert found['media_gateway_connections{state="writing"}'] >= 1
    # Alerts and dashboards ask for nothing else.
    assert not list(unknown(page(served), "media_gateway_"))


def test_metrics_are_on_no_port_of_the_clients(start: Start, client: httpx2.Client) -> None:
    check_problem(client.get(f"{start().base_url}/metrics"), 404)


def test_a_refused_account_is_no_missing_file(tmp_path: Path, client: httpx2.Client) -> None:
    with s3server.start(tmp_path / "s3") as server:
        account = server.create_account("gateway")
        bucket = gateway.bucket(server, account=account)
        key = put(bucket, b"one")
        right = server.environment("media", account=account)
        wrong = right | {"AWS_SECRET_ACCESS_KEY": "another"}
        with gateway.start(tmp_path / "wrong", server.endpoint, **wrong) as served:
            check_problem(client.get(f"{served.base_url}/{key}"), 503)
        with gateway.start(tmp_path / "anonymous", server.endpoint) as served:
            check_problem(client.get(f"{served.base_url}/{key}"), 404)
        with gateway.start(tmp_path / "right", server.endpoint, **right) as served:
            assert client.get(f"{served.base_url}/{key}").content == b"one"
            check_problem(client.get(f"{served.base_url}/{key.replace('medium', 'small')}"), 404)
