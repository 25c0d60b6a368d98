"""Nobody may do more than the tables say: in the store, and in the cluster."""

from typing import Any

import httpx2
import pytest
from botocore.exceptions import ClientError

from installed import SYSTEM, WORK, Installed
from mediaasset import keys
from mediaasset.policies import RIGHTS, Component, Right

OBJECT = "rights/probe/one"
CELLS = [
    (component, prefix, right)
    for prefix in RIGHTS
    for component in Component
    for right in (Right.READ, Right.WRITE, Right.DELETE)
]


def is_allowed(component: Component, prefix: str, right: Right) -> bool:
    # What anybody may do, a component may do too.
    rights = RIGHTS[prefix].get(component, frozenset()) | RIGHTS[prefix].get(Component.ANONYMOUS, frozenset())
    # Who signs a URL to read lends its own right to read.
    return right in rights or (right is Right.READ and Right.SIGN in rights)


def attempt(media: Installed, component: Component, key: str, right: Right) -> int:
    """Try it; return the HTTP status."""
    if component is Component.ANONYMOUS:
        url = f"{media.s3.endpoint}/{media.bucket}/{key}"
        method = {Right.READ: "GET", Right.WRITE: "PUT", Right.DELETE: "DELETE"}[right]
        return httpx2.request(method, url, content=b"x" if right is Right.WRITE else None).status_code
    client = media.s3.client(media.accounts[component.value])
    calls: dict[Right, Any] = {Right.READ: client.get_object, Right.DELETE: client.delete_object}
    try:
        if right is Right.WRITE:
            client.put_object(Bucket=media.bucket, Key=key, Body=b"x")
        else:
            calls[right](Bucket=media.bucket, Key=key)
    except ClientError as error:
        status: int = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return status
    return 200


@pytest.mark.parametrize(("component", "prefix", "right"), CELLS, ids=str)
def test_cell_of_the_table(media: Installed, component: Component, prefix: str, right: Right) -> None:
    media.put(f"{prefix}/{OBJECT}", b"probe")
    status = attempt(media, component, media.key(f"{prefix}/{OBJECT}"), right)
    assert (status < 300) if is_allowed(component, prefix, right) else (status == 403)


@pytest.mark.parametrize("prefix", [keys.UPLOADS, keys.PRIVATE, keys.WORK, keys.TOMBSTONES])
def test_gateway_gives_nothing_but_what_is_public(media: Installed, prefix: str) -> None:
    media.put(f"{prefix}/{OBJECT}", b"probe")
    assert httpx2.get(f"{media.base_url}/{prefix}/{OBJECT}").status_code == 404


def test_transcoder_has_no_token_and_no_right_in_the_cluster(media: Installed) -> None:
    name = media.apply(b"\x89PNG\r\n\x1a\n")
    asset = media.stalled(name)
    (pod,) = media.cluster.find("pods", WORK, f"media-operator.io/asset-uid={asset['metadata']['uid']}")
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert not [volume for volume in pod["spec"]["volumes"] if "projected" in volume]
    account = f"system:serviceaccount:{WORK}:{pod['spec']['serviceAccountName']}"
    for verb, kind in (("get", "secrets"), ("list", "pods"), ("patch", "mediaassets"), ("create", "jobs")):
        answer = media.cluster.run("auth", "can-i", verb, kind, "-n", WORK, "--as", account)
        assert answer.stdout.strip() == "no", (verb, kind)


@pytest.mark.parametrize(
    ("component", "verb", "kind", "namespace", "expected"),
    [
        ("operator", "create", "jobs", WORK, "yes"),
        ("operator", "create", "jobs", "shop", "no"),
        ("operator", "list", "pods", "shop", "no"),
        ("operator", "get", "secrets", WORK, "no"),
        ("operator", "list", "secrets", SYSTEM, "no"),
        ("operator", "update", "mediaassets/status", "shop", "yes"),
        ("operator", "create", "mediaassets", "shop", "no"),
        ("ingest", "create", "mediaassets", "shop", "yes"),
        ("ingest", "update", "mediaassets/status", "shop", "no"),
        ("ingest", "create", "jobs", WORK, "no"),
        ("ingest", "get", "secrets", SYSTEM, "no"),
        ("gateway", "get", "mediaassets", "shop", "no"),
        ("gateway", "list", "pods", SYSTEM, "no"),
    ],
)
def test_service_accounts_may_do_their_work_and_no_more(  # noqa: PLR0917 - one row of a table
    media: Installed, component: str, verb: str, kind: str, namespace: str, expected: str
) -> None:
    (found,) = media.cluster.find("deployments", SYSTEM, f"app.kubernetes.io/component={component}")
    account = f"system:serviceaccount:{SYSTEM}:{found['spec']['template']['spec']['serviceAccountName']}"
    kind, _, subresource = kind.partition("/")
    options = ["--subresource", subresource] if subresource else []
    answer = media.cluster.run("auth", "can-i", verb, kind, *options, "-n", namespace, "--as", account)
    assert answer.stdout.strip() == expected


@pytest.mark.parametrize("namespace", [SYSTEM, WORK])
def test_everything_runs_in_namespaces_that_enforce_the_restricted_standard(media: Installed, namespace: str) -> None:
    labels = media.cluster.get("namespace", namespace)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
