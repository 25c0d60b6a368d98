"""What the pods of the chart may do: to the node, to the API server, to the network."""

import ipaddress
from pathlib import Path

import pytest
import yaml

from media_transcoder.sources.addresses import is_allowed
from rendered import Helm, Json, Render, of_kind, pod_of, template_of

Rights = set[tuple[str, str, str, str]]
CHART = Path(__file__).parents[2] / "charts/media-operator"

ASSETS, PROFILES = "mediaassets.media-operator.io", "mediaprofiles.media-operator.io"


def pods(rendered: list[Json]) -> dict[str, Json]:
    """Return the spec of every pod that there will be."""
    found = {body["metadata"]["name"]: pod_of(body)["spec"] for body in of_kind(rendered, "Deployment", "Job")}
    return {**found, "transcoder": template_of(rendered)["spec"]}


#: Volumes that the restricted Pod Security Standard allows.
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def violations(pod: Json) -> list[str]:
    """Return where a pod breaks the restricted Pod Security Standard (baseline included), as of Kubernetes 1.34."""
    found = [field for field in ("hostNetwork", "hostPID", "hostIPC") if pod.get(field)]
    found += [f"volume {v['name']}" for v in pod.get("volumes", ()) if not set(v) - {"name"} <= VOLUMES]
    own = pod.get("securityContext", {})
    found += [field for field in ("sysctls", "windowsOptions", "seLinuxOptions") if own.get(field)]
    for container in [*pod.get("initContainers", ()), *pod["containers"], *pod.get("ephemeralContainers", ())]:
        context = container.get("securityContext", {})
        merged = {**own, **context}
        checks = {
            "allowPrivilegeEscalation": context.get("allowPrivilegeEscalation") is False,
            "capabilities": context.get("capabilities", {}) == {"drop": ["ALL"]},
            "privileged": not context.get("privileged"),
            "procMount": context.get("procMount", "Default") == "Default",
            "runAsNonRoot": merged.get("runAsNonRoot") is True,
            "runAsUser": merged.get("runAsUser") != 0,
            "seccompProfile": merged.get("seccompProfile", {}).get("type") in ("RuntimeDefault", "Localhost"),
            "hostPort": not any(port.get("hostPort") for port in container.get("ports", ())),
        }
        found += [f"{container['name']}: {name}" for name, holds in checks.items() if not holds]
    return found


def test_the_check_of_pods_finds_what_is_wrong() -> None:
    container: Json = {"name": "a", "ports": [{"hostPort": 1}], "securityContext": {"privileged": True}}
    pod: Json = {"hostPID": True, "volumes": [{"name": "v", "hostPath": {"path": "/"}}], "containers": [container]}
    wrong = ["allowPrivilegeEscalation", "capabilities", "privileged", "runAsNonRoot", "seccompProfile", "hostPort"]
    assert violations(pod) == ["hostPID", "volume v", *(f"a: {name}" for name in wrong)]


def test_every_pod_is_restricted(rendered: list[Json]) -> None:
    # Three Deployments, the transcoders, and the Jobs: of an upgrade, of an uninstall, and perhaps of the bucket.
    assert len(pods(rendered)) == 4 + len(of_kind(rendered, "Job"))
    for name, pod in pods(rendered).items():
        assert not violations(pod), name


def test_every_pod_is_stricter_than_that(rendered: list[Json]) -> None:
    for name, pod in pods(rendered).items():
        own = pod["securityContext"]
        assert (own["runAsUser"], own["runAsGroup"], own["fsGroup"]) == (65532, 65532, 65532), name
        assert pod["enableServiceLinks"] is False
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert {"cpu", "memory", "ephemeral-storage"} <= set(container["resources"]["requests"])
            assert {"memory", "ephemeral-storage"} <= set(container["resources"]["limits"])
            # Everything that is written to has a limit, and python's own temporary files a place.
            assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}  # noqa: S108 - of a pod
        assert all(volume["emptyDir"]["sizeLimit"] for volume in pod["volumes"] if "emptyDir" in volume)


def test_only_clients_of_the_api_server_have_a_token(rendered: list[Json]) -> None:
    with_token = {name for name, pod in pods(rendered).items() if pod["automountServiceAccountToken"]}
    assert with_token == {f"media-media-operator{name}" for name in ("", "-ingest", "-release", "-crds")}
    assert not [body for body in of_kind(rendered, "ServiceAccount") if body["automountServiceAccountToken"]]


def test_the_work_namespace_enforces_the_standard_and_stays(rendered: list[Json]) -> None:
    [namespace] = of_kind(rendered, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert namespace["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def rights(rendered: list[Json]) -> dict[str, Rights]:
    """Return what each ServiceAccount may do: (namespace or "*", resource, name or "*", verb)."""
    roles = {(b["kind"], b["metadata"].get("namespace"), b["metadata"]["name"]): b for b in rendered if "rules" in b}
    found: dict[str, Rights] = {}
    for binding in of_kind(rendered, "RoleBinding", "ClusterRoleBinding"):
        namespace = binding["metadata"].get("namespace")
        kind = binding["roleRef"]["kind"]
        role = roles[kind, namespace if kind == "Role" else None, binding["roleRef"]["name"]]
        [subject] = binding["subjects"]
        found.setdefault(f"{subject['namespace']}/{subject['name']}", set()).update(
            (namespace or "*", f"{resource}.{group}".rstrip("."), name, verb)
            for rule in role["rules"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for name in rule.get("resourceNames", ["*"])
            for verb in rule["verbs"]
        )
    return found


def may(namespace: str, resource: str, verbs: str, name: str = "*") -> Rights:
    return {(namespace, resource, name, verb) for verb in verbs.split()}


def expected(namespaces: list[str], work: str) -> dict[str, Rights]:
    operator = may("*", PROFILES, "get list watch")
    ingest = may("*", PROFILES, "get list watch")
    release = may("media-system", "deployments.apps", "get patch", "media-media-operator")
    release |= may("media-system", "deployments.apps", "get patch", "media-media-operator-ingest")
    release |= may("media-system", "pods", "get list watch")
    for each in namespaces:
        operator |= may(each, ASSETS, "delete get list watch patch")
        operator |= may(each, "mediaassets/status.media-operator.io", "update") | may(each, "events", "create")
        ingest |= may(each, ASSETS, "create delete get list patch watch")
        release |= may(each, ASSETS, "get list patch")
    operator |= may(work, "events", "list")
    if namespaces != ["*"]:
        operator |= may("media-system", "events", "create")
    operator |= may(work, "jobs.batch", "create delete get list watch") | may(work, "pods", "get list watch")
    crds: Rights = set()
    for each in (ASSETS, PROFILES):
        crds |= may("*", "customresourcedefinitions.apiextensions.k8s.io", "get update", each)
    return {
        "media-system/media-media-operator-crds": crds,
        "media-system/media-media-operator": operator,
        "media-system/media-media-operator-ingest": ingest,
        "media-system/media-media-operator-release": release,
    }


@pytest.mark.parametrize(
    ("name", "namespaces", "work"),
    [
        ("minimal", ["*"], "media-system-work"),
        ("everything", ["*"], "transcoders"),
        ("namespaces", ["shop", "museum"], "media-system-work"),
    ],
)
def test_each_account_may_do_this_and_no_more(render: Render, name: str, namespaces: list[str], work: str) -> None:
    accounts = may(work, "secrets", "get", "whatsapp-support") if name == "everything" else set()
    wanted = expected(namespaces, work)
    wanted["media-system/media-media-operator-ingest"] |= accounts
    assert rights(render(name)) == wanted


def test_only_who_asks_for_it_has_ingest_list_secrets(helm: Helm, minimal: Json) -> None:
    values = {**minimal, "whatsapp": {"discover": True, "accounts": ["support"]}}
    done = helm("template", "media", str(CHART), "--namespace", "media-system", values=values)
    found = rights([body for body in yaml.safe_load_all(done.stdout) if body])
    secrets = {right for right in found["media-system/media-media-operator-ingest"] if right[1] == "secrets"}
    assert secrets == may("media-system-work", "secrets", "list")


def test_people_get_assets_by_the_built_in_roles_and_never_their_status(rendered: list[Json]) -> None:
    aggregated = {
        label.rpartition("-")[2]: role["rules"]
        for role in of_kind(rendered, "ClusterRole")
        for label in role["metadata"]["labels"]
        if "aggregate-to" in label
    }
    assert set(aggregated) == {"view", "edit", "admin"}
    resources = {r for rules in aggregated.values() for rule in rules for r in rule["resources"]}
    assert resources == {"mediaassets"}
    assert aggregated["view"][0]["verbs"] == ["get", "list", "watch"]


def reaches(policy: Json, address: str, port: int) -> bool:
    """Tell whether a policy lets its pods connect to an address outside of the cluster's pods."""
    ip = ipaddress.ip_address(address)

    def in_block(block: Json) -> bool:
        return ip in ipaddress.ip_network(block["cidr"]) and not any(
            ip in ipaddress.ip_network(each) for each in block.get("except", ())
        )

    return any(
        port in {each["port"] for each in rule.get("ports", [{"port": port}])}
        and ("to" not in rule or any(in_block(peer["ipBlock"]) for peer in rule["to"] if "ipBlock" in peer))
        for rule in policy["spec"]["egress"]
    )


def transcoder_policy(rendered: list[Json]) -> Json:
    [policy] = [b for b in of_kind(rendered, "NetworkPolicy") if b["metadata"]["name"].endswith("-transcoder")]
    assert policy["spec"]["podSelector"] == {}
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert policy["spec"]["ingress"] == []
    return policy


PRIVATE = [
    "0.0.0.1",
    "10.0.0.1",
    "10.96.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "2002:a00:1::1",
    "2001::1",
    "3fff::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_transcoders_reach_no_private_address(render: Render, address: str) -> None:
    assert not is_allowed(address)
    assert not reaches(transcoder_policy(render("everything")), address, 443)
    assert not reaches(transcoder_policy(render("minimal")), address, 6443)


def test_transcoders_reach_dns_the_store_and_public_addresses(render: Render) -> None:
    open_, closed = transcoder_policy(render("minimal")), transcoder_policy(render("everything"))
    assert reaches(open_, "10.96.0.10", 53)
    assert reaches(open_, "10.0.0.1", 443), "the store's port, while nobody has said where the store is"
    assert all(reaches(policy, "93.184.215.14", 8443) for policy in (open_, closed))
    assert all(reaches(policy, "2606:2800:21f::1", 443) for policy in (open_, closed))
    assert reaches(closed, "10.1.2.3", 80), "an allowed range is open here as well"
    assert not reaches(closed, "203.0.113.7", 443)
    assert not reaches(closed, "2600::1", 443)
    assert {"namespaceSelector": {"matchLabels": {"a": "b"}}} in [
        peer for rule in closed["spec"]["egress"] for peer in rule.get("to", ())
    ]


def test_clients_reach_no_more_than_the_api_and_media_and_prometheus_the_metrics(render: Render) -> None:
    policies = {body["metadata"]["name"]: body["spec"] for body in of_kind(render("everything"), "NetworkPolicy")}
    clients = {"ports": [{"port": "http"}], "from": [{"namespaceSelector": {}}]}
    metrics = {"ports": [{"port": "metrics"}], "from": [{"podSelector": {"matchLabels": {"app": "prometheus"}}}]}
    assert policies["media-media-operator-gateway"]["ingress"] == [clients, metrics]
    assert policies["media-media-operator-ingest"]["ingress"] == [clients, metrics]
    assert policies["media-media-operator"]["ingress"] == [metrics]
    assert policies["media-media-operator-transcoder"]["ingress"] == []
    assert not of_kind(render("shared"), "NetworkPolicy")
