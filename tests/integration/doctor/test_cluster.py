"""`media doctor --namespace` on a real API server with the chart installed: each fault of a cluster is named rightly.

No controller runs here: what they would say of Deployments and Ingresses, the test says.
"""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import apiserver
import s3server
from media_cli.doctor import cluster, gather, registry, rights
from media_cli.doctor import site as site_module
from media_cli.doctor.cluster import NEEDS
from media_cli.doctor.registry import Check
from mediaasset.policies import bucket_policy
from mediacommand import answer
from s3server import Account, S3Server, tool

CHART = Path(__file__).parents[3] / "charts/media-operator"
SYSTEM, WORK = "media-system", "media-system-work"
COMPONENTS = ("ingest", "operator", "transcoder")


@dataclass
class Release:
    """The chart on an API server, and the bucket that it is told of."""

    kubeconfig: Path
    s3: S3Server
    accounts: dict[str, Account]
    values: dict[str, Any]

    def kubectl(self, *arguments: str) -> str:
        return apiserver.kubectl(self.kubeconfig, *arguments)

    def apply(self, *bodies: object) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(yaml.safe_dump_all(bodies))
            file.flush()
            self.kubectl("apply", "--server-side", "--force-conflicts", "-f", file.name)

    def secret(self, name: str, namespace: str, account: Account) -> None:
        keys = {"AWS_ACCESS_KEY_ID": account.access_key, "AWS_SECRET_ACCESS_KEY": account.secret_key}
        metadata = {"name": name, "namespace": namespace}
        self.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": keys})

    def run(self, home: Path, code: int) -> list[Any]:
        variables = {"KUBECONFIG": str(self.kubeconfig)}
        found: list[Any] = answer("doctor", "-n", SYSTEM, home=home, code=code, **variables)
        return found


def faults(found: list[Any], *checks: str) -> list[tuple[str, str]]:
    return [(each["check"], each["fault"]) for each in found if each["fault"] and each["check"] in checks]


CLUSTER = ("api", "crd", "rbac", "pods", "nodes", "ingress", "store", "rights")


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    folder = tmp_path_factory.mktemp("cluster")
    with s3server.start(folder / "s3") as s3, apiserver.start(folder / "api") as kubeconfig:
        accounts = {name: s3.create_account(name) for name in COMPONENTS}
        names = {name: account.access_key for name, account in accounts.items()}
        s3.create_bucket("media", bucket_policy("media", "root", names))
        values = {
            "publicBaseURL": "https://media.example.invalid",
            "s3": {
                "endpoint": s3.endpoint,
                "bucket": "media",
                "prefix": "root",
                "credentials": {name: {"existingSecret": f"s3-{name}"} for name in COMPONENTS},
            },
            "tokens": {"existingSecret": "media-tokens"},
            "ingress": {"enabled": True},
            "profiles": {"enabled": False},
        }
        made = Release(kubeconfig, s3, accounts, values)
        command = [str(tool("helm") / "helm"), "install", "media", str(CHART), "--values", "-", "-n", SYSTEM]
        command += ["--create-namespace", "--kubeconfig", str(kubeconfig)]
        done = subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        for name, account in accounts.items():
            made.secret(f"s3-{name}", WORK if name == "transcoder" else SYSTEM, account)
        for name in made.kubectl("get", "deployments", "-n", SYSTEM, "-o", "name").split():
            count = int(made.kubectl("get", name, "-n", SYSTEM, "-o", "jsonpath={.spec.replicas}"))
            status = {"status": dict.fromkeys(("replicas", "readyReplicas", "availableReplicas"), count)}
            made.kubectl("patch", name, "-n", SYSTEM, "--subresource=status", "--type=merge", "-p", json.dumps(status))
        address = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}
        [ingress] = made.kubectl("get", "ingress", "-n", SYSTEM, "-o", "name").split()
        made.kubectl("patch", ingress, "-n", SYSTEM, "--subresource=status", "--type=merge", "-p", json.dumps(address))
        yield made


def test_a_sound_release_is_well_but_for_the_name_that_nobody_knows(release: Release, tmp_path: Path) -> None:
    found = release.run(tmp_path, 2)
    assert faults(found, *CLUSTER) == []
    # It is the name of publicBaseURL that does not resolve; what hangs on it cannot be reached.
    assert ("dns", "dns") in faults(found, "dns")
    assert {each["about"] for each in found if each["fault"] == "dns"} == {"publicBaseURL: media.example.invalid"}
    well = {(each["check"], each["about"].split()[-1]) for each in found if each["severity"] == "ok"}
    assert {("rights", name) for name in COMPONENTS} <= well
    assert {("rbac", "operator"), ("rbac", "ingest")} <= well
    assert not any(account.secret_key in json.dumps(found) for account in release.accounts.values())


def test_a_wrong_secret_and_a_missing_one(release: Release, tmp_path: Path) -> None:
    release.secret("s3-operator", SYSTEM, Account(release.accounts["operator"].access_key, "mistyped"))
    release.kubectl("delete", "secret", "s3-transcoder", "-n", WORK)
    try:
        found = release.run(tmp_path, 2)
    finally:
        release.secret("s3-operator", SYSTEM, release.accounts["operator"])
        release.secret("s3-transcoder", WORK, release.accounts["transcoder"])
    assert ("store", "wrong-key") in faults(found, "store")
    assert [each["about"] for each in found if each["fault"] == "wrong-key"] == ["s3://media/root as operator"]
    assert [each["about"] for each in found if each["fault"] == "secret-missing"] == [f"Secret {WORK}/s3-transcoder"]


def test_a_role_that_is_missing(release: Release, tmp_path: Path) -> None:
    name = f"{SYSTEM}:media-media-operator"
    binding = json.loads(release.kubectl("get", "clusterrolebinding", name, "-o", "json"))
    release.kubectl("delete", "clusterrolebinding", name)
    try:
        found = release.run(tmp_path, 2)
    finally:
        kept = {member: binding["metadata"][member] for member in ("name", "labels")}
        release.apply({**binding, "metadata": kept})
    [finding] = [each for each in found if each["fault"] == "rbac"]
    assert finding["about"] == "ServiceAccount media-media-operator of operator"
    assert "update mediaassets/status in all namespaces" in finding["found"]
    assert "jobs" not in finding["found"]


def test_pods_that_do_not_run_and_an_ingress_that_nobody_takes(release: Release, tmp_path: Path) -> None:
    down = '{"status":{"availableReplicas":0,"readyReplicas":0}}'
    deployment = ("patch", "deployment", "media-media-operator-ingest", "-n", SYSTEM, "--subresource=status")
    release.kubectl(*deployment, "--type=merge", "-p", down)
    ingress = ("patch", "ingress", "media-media-operator", "-n", SYSTEM, "--subresource=status", "--type=merge", "-p")
    release.kubectl(*ingress, '{"status":{"loadBalancer":null}}')
    try:
        found = release.run(tmp_path, 2)
    finally:
        release.kubectl(*deployment, "--type=merge", "-p", down.replace("0", "2"))
        release.kubectl(*ingress, '{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.1"}]}}}')
    assert faults(found, *CLUSTER) == [("pods", "pods"), ("ingress", "route-waiting")]


def test_a_deployment_that_is_scaled_to_none_and_a_route_to_a_service_that_is_gone(
    release: Release, tmp_path: Path
) -> None:
    scale = ("scale", "deployment", "media-media-operator-gateway", "-n", SYSTEM)
    service = json.loads(release.kubectl("get", "service", "media-media-operator-ingest", "-n", SYSTEM, "-o", "json"))
    release.kubectl(*scale, "--replicas=0")
    release.kubectl("delete", "service", "media-media-operator-ingest", "-n", SYSTEM)
    try:
        found = release.run(tmp_path, 2)
    finally:
        release.kubectl(*scale, "--replicas=2")
        kept = {member: service["metadata"][member] for member in ("name", "namespace", "labels")}
        release.apply({**service, "metadata": kept})
    assert faults(found, *CLUSTER) == [("pods", "pods"), ("ingress", "route-backend")]
    [backend] = [each for each in found if each["fault"] == "route-backend"]
    assert "media-media-operator-ingest" in backend["found"]


def test_a_node_whose_disk_is_full(release: Release, tmp_path: Path) -> None:
    release.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "full"}})
    pressure = {"type": "DiskPressure", "status": "True", "reason": "KubeletHasDiskPressure"}
    status = ("patch", "node", "full", "--subresource=status", "--type=merge", "-p")
    release.kubectl(*status, json.dumps({"status": {"conditions": [pressure]}}))
    try:
        found = release.run(tmp_path, 2)
    finally:
        release.kubectl("delete", "node", "full")
    assert faults(found, *CLUSTER) == [("nodes", "disk-full")]
    assert [each["about"] for each in found if each["fault"] == "disk-full"] == ["node full"]


@contextmanager
def routed(release: Release) -> Iterator[dict[str, Any]]:
    """Give the HTTPRoute that the chart makes, in place of its Ingress, without a Gateway that has looked at it."""
    definition = tool("gateway-api") / "gateway.networking.k8s.io_httproutes.yaml"
    release.kubectl("apply", "--server-side", "-f", str(definition))
    apiserver.established(release.kubeconfig, definition)
    chart = [str(tool("helm") / "helm"), "template", "media", str(CHART), "--values", "-", "-n", SYSTEM]
    ways = {"ingress": {"enabled": False}, "httpRoute": {"enabled": True, "parentRefs": [{"name": "web"}]}}
    rendered = subprocess.run(
        [*chart, "--show-only", "templates/routes.yaml"],
        input=json.dumps({**release.values, **ways}),
        capture_output=True,
        text=True,
        check=True,
    )
    ingress = json.loads(release.kubectl("get", "ingress", "media-media-operator", "-n", SYSTEM, "-o", "json"))
    release.kubectl("delete", "ingress", "media-media-operator", "-n", SYSTEM)
    route: dict[str, Any] = yaml.safe_load(rendered.stdout)
    release.apply(route)
    try:
        yield route
    finally:
        release.kubectl("delete", "-f", str(definition))
        kept = {member: ingress["metadata"][member] for member in ("name", "namespace", "labels")}
        release.apply({**ingress, "metadata": kept})
        status = json.dumps({"status": ingress["status"]})
        patch = ("patch", "ingress", "media-media-operator", "-n", SYSTEM, "--subresource=status", "--type=merge")
        release.kubectl(*patch, "-p", status)


def test_a_route_of_the_gateway_api_that_waits_is_refused_or_leads_nowhere(release: Release, tmp_path: Path) -> None:
    def say(**states: str) -> None:
        """Say what the controller of a Gateway says of a route."""
        times = {"lastTransitionTime": "2026-01-01T00:00:00Z", "message": "No listener has this host."}
        conditions = [{"type": kind, "status": state, "reason": "Because", **times} for kind, state in states.items()]
        parent = {"parentRef": {"name": "web"}, "controllerName": "example.org/gateway", "conditions": conditions}
        patch = ("patch", "httproute", "media-media-operator", "-n", SYSTEM, "--subresource=status", "--type=merge")
        release.kubectl(*patch, "-p", json.dumps({"status": {"parents": [parent]}}))

    with routed(release) as route:
        assert faults(release.run(tmp_path, 2), *CLUSTER) == [("ingress", "route-waiting")]
        say(Accepted="False")
        refused = release.run(tmp_path, 2)
        assert faults(refused, *CLUSTER) == [("ingress", "route-refused")]
        assert any("Because: No listener has this host." in each["found"] for each in refused)
        say(Accepted="True", ResolvedRefs="True")
        assert faults(release.run(tmp_path, 2), *CLUSTER) == []
        route["spec"]["rules"][0]["backendRefs"][0]["name"] = "nowhere"
        release.apply(route)
        assert faults(release.run(tmp_path, 2), *CLUSTER) == [("ingress", "route-backend")]


@contextmanager
def resource(release: Release, plural: str) -> Iterator[dict[str, Any]]:
    """Give the definition of a resource, and put it back in the end."""
    path = apiserver.CRDS / f"{plural}.yaml"
    try:
        yield yaml.safe_load(path.read_text())
    finally:
        release.apply(yaml.safe_load(path.read_text()))
        apiserver.established(release.kubeconfig, path)


def test_a_resource_that_is_old_and_one_that_is_missing(release: Release, tmp_path: Path) -> None:
    with resource(release, "mediaassets") as definition:
        schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
        spec = schema["spec"]
        del spec["properties"]["collectionPolicy"], schema["status"]["properties"]["thumbHash"]
        spec.pop("x-kubernetes-validations", None)
        release.kubectl("delete", "crd", "mediaassets.media-operator.io")
        release.apply(definition)
        old = release.run(tmp_path, 2)
        release.kubectl("delete", "crd", "mediaassets.media-operator.io")
        missing = release.run(tmp_path, 2)
    [finding] = [each for each in old if each["check"] == "crd" and each["fault"]]
    assert finding["fault"] == "crd-old"
    assert "2 fields: spec.collectionPolicy, status.thumbHash." in finding["found"]
    assert faults(missing, "crd") == [("crd", "crd-missing")]


async def test_a_pod_asks_for_itself(release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in this process what runs in the pod of ingest, whose ServiceAccount and account of S3 it has."""
    namespace = tmp_path / "namespace"
    namespace.write_text(SYSTEM)
    config = yaml.safe_load(release.kubeconfig.read_text())
    token = release.kubectl("create", "token", "media-media-operator-ingest", "-n", SYSTEM).strip()
    config["users"][0]["user"] = {"token": token}
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    variables = release.s3.environment("media", prefix="root", account=release.accounts["ingest"])
    variables |= {"KUBECONFIG": str(tmp_path / "kubeconfig"), "KUBERNETES_SERVICE_HOST": "127.0.0.1"}
    for name, value in {**variables, "MEDIA_INGEST_TOKENS": "/etc/media-ingest/tokens.yaml"}.items():
        monkeypatch.setenv(name, value)
    for module in (gather, site_module):
        monkeypatch.setattr(module, "POD_NAMESPACE", namespace)
    checks = [Check(look.__module__, look) for look in (cluster.api, cluster.resources, cluster.rights, rights.look)]
    async with gather.site(gather.Asked()) as site:
        found = await registry.run(checks, site)
    assert [each.record() for each in found if each.severity is not registry.Severity.OK] == []
    about = {each.about for each in found}
    assert {"ingest", "everybody"} <= about
    assert {each for each in about if each.startswith("ServiceAccount")} == {"ServiceAccount ingest of ingest"}


def test_no_release_and_no_api_server(release: Release, tmp_path: Path) -> None:
    variables = {"KUBECONFIG": str(release.kubeconfig)}
    found = answer("doctor", "-n", "default", home=tmp_path, code=2, **variables)
    assert faults(found, "pods") == [("pods", "no-release")]
    away = yaml.safe_load(release.kubeconfig.read_text())
    away["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(away))
    found = answer("doctor", "-n", SYSTEM, home=tmp_path, code=2, KUBECONFIG=str(tmp_path / "kubeconfig"))
    assert faults(found, "api") == [("api", "api-server")]


def test_the_rights_that_are_asked_for_are_those_that_the_chart_gives(release: Release) -> None:
    given = set()
    for kind in ("roles", "clusterroles"):
        arguments = ("get", kind, "-A", "-l", "app.kubernetes.io/part-of=media-operator", "-o", "json")
        for role in json.loads(release.kubectl(*arguments))["items"]:
            if "app.kubernetes.io/component" not in role["metadata"]["labels"]:
                continue
            for rule in role["rules"]:
                given |= {
                    (role["metadata"]["labels"]["app.kubernetes.io/component"], group, each, verb)
                    for group in rule["apiGroups"]
                    for each in rule["resources"]
                    for verb in rule["verbs"]
                }
    asked = {
        (need.component, need.group, "/".join(part for part in (need.resource, need.sub) if part), verb)
        for need in NEEDS
        for verb in need.verbs
    }
    assert asked == given
