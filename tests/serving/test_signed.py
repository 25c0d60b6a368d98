"""Private renditions, for the servers that sign their URLs themselves. In a cluster S3 does, and serves them too."""

import re
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import urlsplit

import httpx2
import pytest

from served import PRIVATE, Served, check_problem, raw

pytestmark = pytest.mark.parametrize("served", ["standalone"], indirect=True)


@pytest.fixture
def client(served: Served) -> Iterator[httpx2.Client]:
    with httpx2.Client(timeout=10) as http:
        yield http


def test_private_rendition_needs_a_signature(client: httpx2.Client, served: Served) -> None:
    check_problem(client.get(served.url(PRIVATE)), 403)
    answer = client.get(served.signed(PRIVATE.key, timedelta(hours=1)))
    assert (answer.status_code, answer.content) == (200, PRIVATE.body)
    assert answer.headers["Content-Type"] == "image/jpeg"
    match = re.fullmatch(r"private, max-age=(\d+)", answer.headers["Cache-Control"])
    assert match is not None
    assert 3500 < int(match[1]) <= 3600


def test_signature_holds_for_one_object_and_its_time(client: httpx2.Client, served: Served) -> None:
    url = served.signed(PRIVATE.key, timedelta(hours=1))
    other = url.replace("medium-", "small-")
    check_problem(client.get(other), 403)
    check_problem(client.get(url[:-4] + ("0000" if not url.endswith("0000") else "1111")), 403)
    check_problem(client.get(re.sub(r"expires=(\d)", r"expires=9\1", url)), 403)
    check_problem(client.get(served.signed(PRIVATE.key, timedelta(seconds=-1))), 403)
    check_problem(client.get(f"{served.base_url}/{PRIVATE.key}?expires=1e9&signature=%C3%A4"), 403)


def test_private_is_not_reached_through_a_public_path(client: httpx2.Client, served: Served) -> None:
    query = urlsplit(served.signed(PRIVATE.key, timedelta(hours=1))).query
    assert raw(served, f"/media/../{PRIVATE.key}?{query}")[0] in (400, 403, 404)
