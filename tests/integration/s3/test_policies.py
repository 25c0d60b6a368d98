"""Every cell of the table of rights, tried on a real server with an account for each component."""

import urllib.error
import urllib.request
from collections.abc import Callable
from itertools import product
from typing import Any

import botocore.exceptions
import pytest

from mediaasset.policies import RIGHTS, Component, Right, bucket_policy
from s3server import S3Server

ROOT = "root/of/ours"
BUCKET = "rights"

Try = Callable[[Any, str], Any]


def sign(client: Any, key: str) -> None:
    url = client.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": key}, ExpiresIn=60)
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"there"


def write_in_parts(client: Any, key: str) -> None:
    begun = client.create_multipart_upload(Bucket=BUCKET, Key=key)
    named = {"Bucket": BUCKET, "Key": key, "UploadId": begun["UploadId"]}
    client.upload_part(**named, PartNumber=1, Body=b"part")
    client.abort_multipart_upload(**named)


#: What each right lets one do; each of them must be refused without it.
TRIES: dict[Right, tuple[Try, ...]] = {
    Right.READ: (
        lambda client, key: client.get_object(Bucket=BUCKET, Key=key),
        lambda client, key: client.head_object(Bucket=BUCKET, Key=key),
    ),
    Right.SIGN: (sign,),
    Right.WRITE: (
        lambda client, key: client.put_object(Bucket=BUCKET, Key=key, Body=b"there"),
        lambda client, key: client.put_object(Bucket=BUCKET, Key=f"{key}.new", Body=b"there", IfNoneMatch="*"),
        write_in_parts,
    ),
    Right.DELETE: (lambda client, key: client.delete_object(Bucket=BUCKET, Key=key),),
    Right.ABORT: (),
    Right.LIST: (lambda client, key: client.list_objects_v2(Bucket=BUCKET, Prefix=key.rpartition("/")[0] + "/"),),
}


@pytest.fixture(scope="session")
def clients(server: S3Server) -> dict[Component, Any]:
    accounts = {name: server.create_account(f"{name}-rights") for name in Component if name is not Component.ANONYMOUS}
    names = {str(name): account.access_key for name, account in accounts.items()}
    server.create_bucket(BUCKET, bucket_policy(BUCKET, ROOT, names))
    return {name: server.client(account) for name, account in accounts.items()}


def status_of(attempt: Try, client: Any, key: str) -> int:
    try:
        attempt(client, key)
    except botocore.exceptions.ClientError as error:
        return int(error.response["ResponseMetadata"]["HTTPStatusCode"])
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    return 200


def is_granted(rights: frozenset[Right], right: Right) -> bool:
    # To S3 a signature is a read by the signer.
    return right in rights or ({right} <= {Right.READ, Right.SIGN} and bool(rights & {Right.READ, Right.SIGN}))


@pytest.mark.parametrize(
    ("prefix", "component"),
    list(product(RIGHTS, [name for name in Component if name is not Component.ANONYMOUS])),
)
def test_cell(server: S3Server, clients: dict[Component, Any], prefix: str, component: Component) -> None:
    # What anyone may read, every account may.
    rights = RIGHTS[prefix].get(component, frozenset()) | RIGHTS[prefix].get(Component.ANONYMOUS, frozenset())
    key = f"{ROOT}/{prefix}/default/{component}"
    for right, attempts in TRIES.items():
        for attempt in attempts:
            server.client().put_object(Bucket=BUCKET, Key=key, Body=b"there")
            expected = 200 if is_granted(rights, right) else 403
            assert status_of(attempt, clients[component], key) == expected, right
            server.client().delete_object(Bucket=BUCKET, Key=f"{key}.new")


@pytest.mark.parametrize("component", [name for name in Component if name is not Component.ANONYMOUS])
def test_nothing_outside_of_the_root_prefix(
    server: S3Server, clients: dict[Component, Any], component: Component
) -> None:
    for key in ("media/default/x", "root/of/others/media/x", f"{ROOT}/unknown/x"):
        server.client().put_object(Bucket=BUCKET, Key=key, Body=b"there")
        for attempts in TRIES.values():
            for attempt in attempts:
                assert status_of(attempt, clients[component], key) == 403


@pytest.mark.parametrize("prefix", RIGHTS)
def test_anonymous_gets_what_is_public_and_nothing_else(
    server: S3Server, clients: dict[Component, Any], prefix: str
) -> None:
    key = f"{ROOT}/{prefix}/default/anonymous"
    server.client().put_object(Bucket=BUCKET, Key=key, Body=b"there")

    def status(method: str, path: str) -> int:
        request = urllib.request.Request(f"{server.endpoint}/{BUCKET}/{path}", method=method)
        try:
            with urllib.request.urlopen(request, data=b"x" if method == "PUT" else None) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    expected = 200 if Right.READ in RIGHTS[prefix].get(Component.ANONYMOUS, ()) else 403
    assert status("GET", key) == status("HEAD", key) == expected
    assert status("PUT", key) == status("DELETE", key) == 403
    assert status("GET", f"?list-type=2&prefix={ROOT}/{prefix}/") == 403


@pytest.mark.parametrize("component", [name for name in Component if name is not Component.ANONYMOUS])
def test_only_who_may_abort_sees_and_ends_the_uploads_of_others(
    server: S3Server, clients: dict[Component, Any], component: Component
) -> None:
    for prefix in RIGHTS:
        key = f"{ROOT}/{prefix}/default/unfinished"
        begun = server.client().create_multipart_upload(Bucket=BUCKET, Key=key)

        def lists(client: Any, key: str) -> Any:
            return client.list_multipart_uploads(Bucket=BUCKET, Prefix=f"{ROOT}/")

        def aborts(client: Any, key: str, upload: str = begun["UploadId"]) -> Any:
            return client.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload)

        rights = RIGHTS[prefix].get(component, frozenset())
        assert status_of(lists, clients[component], key) == (200 if component is Component.OPERATOR else 403)
        # Who writes in parts may take them back.
        assert status_of(aborts, clients[component], key) == (200 if rights & {Right.ABORT, Right.WRITE} else 403)


def test_missing_object_is_missing_to_who_may_list_and_not_refused(
    server: S3Server, clients: dict[Component, Any]
) -> None:
    for prefix, cells in RIGHTS.items():
        for component, rights in cells.items():
            if {Right.READ, Right.LIST} <= rights:
                key = f"{ROOT}/{prefix}/default/nothing"
                assert status_of(TRIES[Right.READ][1], clients[component], key) == 404
