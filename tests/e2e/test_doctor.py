"""`media doctor` in the pod of ingest, and beside the cluster by a kubeconfig: a sound release, and planted faults."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

import apiserver
from cluster import Json
from installed import RELEASE, SYSTEM, Installed, credentials
from media_cli.doctor.flow import SAMPLES
from mediacommand import answer
from s3server import Account
from service import wait_for

NAME = f"{RELEASE}-media-operator"
PHOTO = Path(__file__).parents[1] / "data/photo.jpg"


def inside(media: Installed, *options: str, code: int | None, **variables: str) -> list[Json]:
    """Run it where docs/operations/doctor.md says, in the pod of ingest, with its account and ServiceAccount."""
    told = [f"{name}={value}" for name, value in variables.items()]
    program = ("python", "-P", "-m", "media_cli", "doctor", "--output", "json", *options)
    done = media.cluster.run("exec", "-n", SYSTEM, f"deploy/{NAME}-ingest", "--", "env", *told, *program)
    assert code is None or done.returncode == code, done.stdout + done.stderr
    found: list[Json] = json.loads(done.stdout)
    return found


def outside(media: Installed, home: Path, *options: str, code: int, **variables: str) -> list[Json]:
    """Run it as a person with the kubeconfig of an administrator."""
    variables |= {"KUBECONFIG": str(media.cluster.kubeconfig), "MEDIA_TOKEN": media.token}
    found: list[Json] = answer("doctor", "-n", SYSTEM, *options, home=home, code=code, **variables)
    return found


def faults(found: list[Json]) -> set[tuple[str, str]]:
    return {(each["check"], each["fault"]) for each in found if each["fault"]}


def well(found: list[Json]) -> set[str]:
    return {each["check"] for each in found if each["severity"] == "ok"}


@pytest.fixture(scope="module", autouse=True)
def served(media: Installed) -> None:
    """Have media to look at: those that came last are, and these are more than it takes."""
    names = [media.upload(PHOTO)["id"] for _ in range(SAMPLES // 6)]
    assert [media.finished(name)["status"] for name in names] == ["ready"] * len(names)


def test_a_sound_release_is_well_in_its_own_pod(media: Installed) -> None:
    found = inside(media, code=0, MEDIA_TOKEN=media.token)
    assert faults(found) == set()
    assert well(found) >= {"store", "clock", "rights", "api", "crd", "rbac", "server", "media"}


def test_a_sound_release_is_well_beside_the_cluster_but_for_its_plain_http(media: Installed, tmp_path: Path) -> None:
    found = outside(media, tmp_path, "--upload", code=1)
    assert faults(found) == {("tls", "http-only")}
    checks = {"store", "clock", "rights", "storage", "api", "crd", "rbac", "pods", "nodes", "ingress", "server"}
    assert well(found) >= {*checks, "route", "media", "upload"}
    assert not any(account.secret_key in json.dumps(found) for account in media.accounts.values())


@contextmanager
def wrong_key(media: Installed) -> Iterator[None]:
    account = media.accounts["operator"]
    media.cluster.secret("s3-operator", SYSTEM, **credentials(Account(account.access_key, "mistyped")))
    try:
        yield
    finally:
        media.cluster.secret("s3-operator", SYSTEM, **credentials(account))


@contextmanager
def without_rights(media: Installed) -> Iterator[None]:
    """Take the rights in the cluster from ingest."""
    name = f"{SYSTEM}:{NAME}-ingest"
    binding = media.cluster.get("clusterrolebinding", name)
    media.cluster.kubectl("delete", "clusterrolebinding", name)
    try:
        yield
    finally:
        kept = {member: binding["metadata"][member] for member in ("name", "labels", "annotations")}
        media.cluster.apply({**binding, "metadata": kept})


@contextmanager
def older_resources(media: Installed) -> Iterator[None]:
    """Have the definition of a version before a field that nobody uses meanwhile."""
    path = apiserver.CRDS / "mediaassets.yaml"

    def apply(definition: Any) -> None:
        arguments = ("apply", "--server-side", "--force-conflicts", "-f", "-")
        media.cluster.kubectl(*arguments, stdin=yaml.safe_dump(definition))

    definition = yaml.safe_load(path.read_text())
    status = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    del status["properties"]["thumbHash"]
    # As it is by now, with the annotations of whoever installed it.
    media.cluster.kubectl("replace", "-f", "-", stdin=yaml.safe_dump(_replaced(media, definition)))
    try:
        yield
    finally:
        apply(yaml.safe_load(path.read_text()))


def _replaced(media: Installed, definition: Json) -> Json:
    found = media.cluster.get("crd", definition["metadata"]["name"])
    return {**found, "spec": {**found["spec"], "versions": definition["spec"]["versions"]}}


@contextmanager
def without_gateway(media: Installed) -> Iterator[None]:
    scale = ("scale", "-n", SYSTEM, f"deployment/{NAME}-gateway")
    media.cluster.kubectl(*scale, "--replicas=0")
    try:
        yield
    finally:
        media.cluster.kubectl(*scale, "--replicas=2")
        media.cluster.kubectl("rollout", "status", "-n", SYSTEM, f"deployment/{NAME}-gateway", "--timeout=90s")


@contextmanager
def ingress_to_nowhere(media: Installed) -> Iterator[None]:
    found = media.cluster.get("ingress", NAME, SYSTEM)
    (rule,) = found["spec"]["rules"]

    def lead(service: str) -> None:
        rule["http"]["paths"][0]["backend"]["service"]["name"] = service
        members = ("name", "namespace", "labels", "annotations")
        kept = {member: found["metadata"].get(member) for member in members}
        body = {"apiVersion": found["apiVersion"], "kind": found["kind"], "metadata": kept, "spec": found["spec"]}
        # As Helm, or its next upgrade would be told that the rules are somebody else's.
        own = ("--server-side", "--force-conflicts", "--field-manager=helm")
        media.cluster.kubectl("apply", *own, "-f", "-", stdin=json.dumps(body))

    before = rule["http"]["paths"][0]["backend"]["service"]["name"]
    lead("nowhere")
    try:
        yield
    finally:
        lead(before)


PLANTED = {
    ("store", "wrong-key"): wrong_key,
    ("rbac", "rbac"): without_rights,
    ("crd", "crd-old"): older_resources,
    ("pods", "pods"): without_gateway,
    ("ingress", "route-backend"): ingress_to_nowhere,
}


def test_each_planted_fault_is_named(media: Installed, tmp_path: Path) -> None:
    with ExitStack() as planted:
        for fault in PLANTED.values():
            planted.enter_context(fault(media))
        redis = {"MEDIA_REDIS_URL": "redis://127.0.0.1:9"}
        wanted = {("rbac", "rbac"), ("crd", "crd-old"), ("redis", "redis-down")}
        # The API server publishes a definition that has changed within seconds.
        own = wait_for(lambda: seen if faults(seen := inside(media, code=2, **redis)) >= wanted else None, what="both")
        found = outside(media, tmp_path, code=2)
    assert faults(found) >= set(PLANTED)
    # What these two lead to.
    assert "route" in {check for check, _ in faults(found)}
    assert {each["about"] for each in found if each["fault"] == "wrong-key"} == {
        f"s3://{media.bucket}/{media.prefix} as operator"
    }
    [rights] = [each for each in found if each["fault"] == "rbac"]
    assert rights["about"] == f"ServiceAccount {NAME}-ingest of ingest"
    assert "create mediaassets in all namespaces" in rights["found"]
    assert [each["about"] for each in found if each["fault"] == "pods"] == [f"Deployment {SYSTEM}/{NAME}-gateway"]
    assert "thumbHash" in json.dumps(found)
    # A pod sees what is its own.
    assert ("store", "wrong-key") not in faults(own)

    # With all of it mended nothing is left to say; what an API server publishes follows within seconds.
    wait_for(lambda: faults(inside(media, code=None)) == set(), what="all to be well again")
    assert faults(outside(media, tmp_path, code=1)) == {("tls", "http-only")}


def test_a_name_that_does_not_resolve(media: Installed) -> None:
    found = inside(media, "--public-url", "https://media.invalid", code=2)
    assert ("dns", "dns") in faults(found)
    assert [each["about"] for each in found if each["fault"] == "dns"] == ["publicBaseURL: media.invalid"]
