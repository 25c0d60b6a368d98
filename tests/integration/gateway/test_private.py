"""What the gateway does with signed URLs beyond what standalone does: where they go, and when they end."""

import hashlib
import json
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import obstore
import pytest

import gateway
import s3server
import tap
from gateway import Bucket, Gateway
from mediaasset import keys
from mediaasset.signing import UrlSigner
from s3server import Account, S3Server
from served import check_problem
from service import wait_for
from tap import Tap

VECTORS = json.loads((Path(__file__).parents[2] / "data/signatures.json").read_text())
HOUR = timedelta(hours=1)
OLD, NEW = "o" * 32, "n" * 32


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3server.start(tmp_path_factory.mktemp("closed")) as made:
        yield made


@pytest.fixture(scope="module")
def account(server: S3Server) -> Account:
    return server.create_account("gateway")


@pytest.fixture(scope="module")
def closed(server: S3Server, account: Account) -> Bucket:
    return gateway.bucket(server, account=account, signed_urls=True)


class Closed:
    """Starts gateways that may read private objects, behind a line on which what they ask is seen."""

    def __init__(self, stack: ExitStack, path: Path, environment: dict[str, str], line: Tap) -> None:
        self._stack, self._path, self._environment, self.line = stack, path, environment, line

    def start(self, **settings: str) -> Gateway:
        path = self._path / secrets.token_hex(4)
        return self._stack.enter_context(gateway.start(path, self.line.endpoint, **self._environment | settings))


@pytest.fixture
def gateways(server: S3Server, account: Account, closed: Bucket, tmp_path: Path) -> Iterator[Closed]:
    with ExitStack() as stack:
        line = stack.enter_context(tap.start(closed.endpoint))
        yield Closed(stack, tmp_path, server.environment("media", account=account), line)


def put(bucket: Bucket, body: bytes) -> str:
    prefix = f"private/shop/assets/{secrets.token_hex(8)}/"
    key = keys.rendition(prefix, "medium", hashlib.sha256(body).hexdigest(), "jpg")
    bucket.put(key, body)
    return key


@pytest.mark.parametrize("vector", VECTORS["urls"], ids=lambda vector: vector["why"])
def test_vectors(closed: Bucket, gateways: Closed, client: httpx2.Client, vector: dict[str, str]) -> None:
    obstore.put(closed.store, vector["key"], vector["why"].encode())
    served = gateways.start(GATEWAY_SIGNING_KEY=VECTORS["secret"])
    path = vector["url"].removeprefix("https://media.test")
    answer = client.get(f"{served.base_url}{path}")
    assert (answer.status_code, answer.text) == (200, vector["why"])
    check_problem(client.get(f"{served.base_url}{path}".replace("/~4", "/~5")), 403)


def test_token_goes_neither_to_s3_nor_whole_into_the_log(
    closed: Bucket, gateways: Closed, client: httpx2.Client
) -> None:
    key = put(closed, b"private")
    served = gateways.start(GATEWAY_SIGNING_KEY=NEW)
    path = urlsplit(UrlSigner(served.base_url, NEW.encode()).url(key, HOUR)).path
    signature = path.split("/")[2].rpartition(".")[2]
    for written in (path, path.replace("~", "%7E"), path.replace("~", "%7e") + "?x=1"):
        assert client.get(f"{served.base_url}{written}").content == b"private"
    # Refused ones might still be of use to somebody, with the path they are for.
    assert client.get(f"{served.base_url}{path}x").status_code == 403
    assert {asked.path for asked in gateways.line.asked} == {f"/media/{key}"}
    lines = wait_for(lambda: served.log("edge")[3:], what="the lines of the log")
    assert lines[0]["path"].endswith(f".…/{key.removeprefix('private/')}x")
    assert signature not in served.output.read_text()


def test_every_url_of_an_object_is_answered_from_one_copy(
    closed: Bucket, gateways: Closed, client: httpx2.Client
) -> None:
    key = put(closed, b"once")
    served = gateways.start(GATEWAY_SIGNING_KEY=NEW, GATEWAY_SIGNING_PREVIOUS_KEY=OLD, GATEWAY_CACHE_SECONDS="3600")
    for secret in (NEW, OLD):
        for lifetime in (HOUR, 2 * HOUR):
            url = UrlSigner(served.base_url, secret.encode()).url(key, lifetime)
            assert client.get(url).content == b"once"
    assert len(gateways.line.asked) == 1


def test_what_is_deleted_or_published_is_gone_whatever_its_url_says(
    closed: Bucket, gateways: Closed, client: httpx2.Client
) -> None:
    key = put(closed, b"moved")
    served = gateways.start(GATEWAY_SIGNING_KEY=NEW, GATEWAY_CACHE_SECONDS="1")
    url = UrlSigner(served.base_url, NEW.encode()).url(key, HOUR)
    assert client.get(url).content == b"moved"
    obstore.delete(closed.store, key)
    wait_for(lambda: client.get(url).status_code != 200, what="the cache to ask S3 again")
    check_problem(client.get(url), 404)


def test_rotation_lets_those_in_who_have_urls_and_ends_with_the_old_secret(
    closed: Bucket, gateways: Closed, client: httpx2.Client
) -> None:
    key = put(closed, b"rotated")
    secrets_of = [
        {"GATEWAY_SIGNING_KEY": OLD},
        # The new one is made known, before anybody signs with it.
        {"GATEWAY_SIGNING_KEY": OLD, "GATEWAY_SIGNING_PREVIOUS_KEY": NEW},
        {"GATEWAY_SIGNING_KEY": NEW, "GATEWAY_SIGNING_PREVIOUS_KEY": OLD},
        {"GATEWAY_SIGNING_KEY": NEW},
    ]
    found = []
    for settings in secrets_of:
        served = gateways.start(**settings)
        urls = [UrlSigner(served.base_url, secret.encode()).url(key, HOUR) for secret in (OLD, NEW)]
        found.append([client.get(url).status_code for url in urls])
    assert found == [[200, 403], [200, 200], [200, 200], [403, 200]]


def test_without_a_secret_there_is_nothing_private(closed: Bucket, gateways: Closed, client: httpx2.Client) -> None:
    key = put(closed, b"hidden")
    served = gateways.start()
    for url in (f"{served.base_url}/{key}", UrlSigner(served.base_url, NEW.encode()).url(key, HOUR)):
        check_problem(client.get(url), 404)
    assert not gateways.line.asked
