"""The objects that the chart renders fit together."""

import base64
import gzip
import json
from pathlib import Path

import yaml

from media_ingest.app import ENDPOINTS
from rendered import Json, Render, container_of, env_of, named, of_kind, pod_of, template_of

CHART = Path(__file__).parents[2] / "charts/media-operator"


def test_no_two_objects_have_one_name(rendered: list[Json]) -> None:
    names = [(body["kind"], body["metadata"].get("namespace"), body["metadata"]["name"]) for body in rendered]
    assert len(set(names)) == len(names)


def test_every_object_carries_the_recommended_labels(rendered: list[Json]) -> None:
    wanted = {f"app.kubernetes.io/{name}" for name in ("name", "instance", "version", "part-of", "managed-by")}
    for body in rendered:
        assert {*wanted, "helm.sh/chart"} <= set(body["metadata"]["labels"]), body["metadata"]


def test_selectors_find_the_pods_of_their_component_and_no_others(rendered: list[Json]) -> None:
    workloads = of_kind(rendered, "Deployment", "Job")
    assert len(of_kind(rendered, "Deployment")) == 3

    def selected(labels: Json) -> list[str]:
        pods = [(each["metadata"]["name"], pod_of(each)["metadata"]["labels"]) for each in workloads]
        return [name for name, pod in pods if labels.items() <= pod.items()]

    for body in of_kind(rendered, "Deployment", "PodDisruptionBudget"):
        labels = body["spec"]["selector"]["matchLabels"]
        assert selected(labels) == [body["metadata"]["name"]]
        assert not [name for name in labels if "version" in name or "chart" in name]
    for body in of_kind(rendered, "Service"):
        assert selected(body["spec"]["selector"]) == [body["metadata"]["name"]]
    for body in of_kind(rendered, "NetworkPolicy"):
        if labels := body["spec"]["podSelector"].get("matchLabels"):
            assert selected(labels) == [body["metadata"]["name"]]


def test_the_ports_of_services_probes_and_policies_are_those_of_the_container(rendered: list[Json]) -> None:
    ports = {each["metadata"]["name"]: container_of(each)["ports"] for each in of_kind(rendered, "Deployment")}
    http, metrics = {"name": "http", "containerPort": 8080}, {"name": "metrics", "containerPort": 9090}
    assert {name.removeprefix("media-media-operator"): found for name, found in ports.items()} == {
        "": [http, metrics],
        "-gateway": [http, {"name": "metrics", "containerPort": 9113}],
        "-ingest": [http, metrics],
    }
    for service in of_kind(rendered, "Service"):
        assert service["metadata"]["name"] in ports
        assert [port["targetPort"] for port in service["spec"]["ports"]] == ["http"]
    for deployment in of_kind(rendered, "Deployment"):
        container = container_of(deployment)
        for probe in ("livenessProbe", "readinessProbe"):
            assert container[probe]["httpGet"]["port"] == "http"
            assert container[probe]["timeoutSeconds"] > 1


def test_routes_lead_to_services_that_exist(render: Render) -> None:
    rendered = render("everything")
    ports = {each["metadata"]["name"]: each["spec"]["ports"][0] for each in of_kind(rendered, "Service")}
    [ingress], [route] = of_kind(rendered, "Ingress"), of_kind(rendered, "HTTPRoute")
    paths = ingress["spec"]["rules"][0]["http"]["paths"]
    services = {path["path"]: path["backend"]["service"] for path in paths}
    assert {path: service["name"] for path, service in services.items()} == {
        "/media/": "media-media-operator-gateway",
        "/api/": "media-media-operator-ingest",
        "/webhooks/": "media-media-operator-ingest",
    }
    assert all(service["port"]["name"] == ports[service["name"]]["name"] for service in services.values())
    backends = {rule["matches"][0]["path"]["value"]: rule["backendRefs"][0] for rule in route["spec"]["rules"]}
    assert {path: backend["name"] for path, backend in backends.items()} == {
        path: service["name"] for path, service in services.items()
    }
    assert all(backend["port"] == ports[backend["name"]]["port"] for backend in backends.values())
    # Every path of the API is led somewhere, but for the probes.
    assert {path for path in ENDPOINTS if not path.startswith(("/api/", "/webhooks/"))} == {"/healthz", "/readyz"}


def test_the_host_is_that_of_the_public_url_unless_it_is_an_address(render: Render) -> None:
    [by_name], [by_address] = (of_kind(render(name), "Ingress") for name in ("shared", "everything"))
    assert [rule.get("host") for rule in by_name["spec"]["rules"]] == ["media.example.org"]
    assert [rule.get("host") for rule in by_address["spec"]["rules"]] == [None]


def test_images_are_named_by_registry_tag_or_digest(render: Render) -> None:
    def images(name: str) -> set[str]:
        rendered = render(name)
        pods = [pod_of(each) for each in of_kind(rendered, "Deployment", "Job")] + [template_of(rendered)]
        return {container["image"] for pod in pods for container in pod["spec"]["containers"]}

    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    components = ("operator", "ingest", "gateway", "transcoder")
    assert images("minimal") == {f"docker.io/media-operator/{each}:{version}" for each in components}
    other = {f"registry.example.org/media-operator/{each}:{version}" for each in components if each != "ingest"}
    assert images("everything") == {*other, "registry.example.org/media-operator/ingest@sha256:" + "0" * 64}


def test_autoscaling_takes_the_place_of_replicas(render: Render) -> None:
    for name, scaled in (("minimal", False), ("everything", True)):
        rendered = render(name)
        found = {body["metadata"]["name"]: body["spec"] for body in of_kind(rendered, "HorizontalPodAutoscaler")}
        for component in ("media-media-operator-ingest", "media-media-operator-gateway"):
            deployment = named(rendered, "Deployment", component)
            assert (component in found, "replicas" not in deployment["spec"]) == (scaled, scaled)
            if scaled:
                assert found[component]["scaleTargetRef"]["name"] == component
    assert found["media-media-operator-ingest"]["maxReplicas"] == 5


def test_monitors_read_the_port_that_pods_have(render: Render) -> None:
    assert not of_kind(render("minimal"), "PodMonitor")
    monitors = of_kind(render("everything"), "PodMonitor")
    for monitor in monitors:
        assert monitor["metadata"]["labels"]["release"] == "prometheus"
        pod = pod_of(named(render("everything"), "Deployment", monitor["metadata"]["name"]))
        assert monitor["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        [endpoint] = monitor["spec"]["podMetricsEndpoints"]
        assert endpoint["port"] in {port["name"] for port in pod["spec"]["containers"][0]["ports"]}
    assert len(monitors) == 3


def test_there_is_one_operator_and_the_others_can_be_drained(rendered: list[Json]) -> None:
    operator = named(rendered, "Deployment", "media-media-operator")["spec"]
    assert (operator["replicas"], operator["strategy"]["type"]) == (1, "Recreate")
    budgets = {each["metadata"]["name"]: each["spec"] for each in of_kind(rendered, "PodDisruptionBudget")}
    assert {name.rpartition("-")[2] for name in budgets} == {"ingest", "gateway"}
    assert all("minAvailable" not in spec and spec["maxUnavailable"] for spec in budgets.values())


def test_definitions_are_touched_by_their_job_alone(render: Render) -> None:
    files = {path.name: path.read_text() for path in sorted((CHART / "crds").glob("*.yaml"))}
    names = [yaml.safe_load(text)["metadata"]["name"] for text in files.values()]
    for name, deleted in (("minimal", None), ("shared", names)):
        rendered = render(name)
        assert not of_kind(rendered, "CustomResourceDefinition"), "a rollback would bring those of its revision"
        hooks = [
            body for body in rendered if body["metadata"].get("annotations", {}).get("helm.sh/hook") == "pre-upgrade"
        ]
        assert [body["kind"] for body in hooks if "Role" in body["kind"]] == ["ClusterRole", "ClusterRoleBinding"]
        [config] = of_kind(hooks, "ConfigMap")
        assert {file: yaml.safe_load(text) for file, text in config["data"].items()} == {
            file: yaml.safe_load(text) for file, text in files.items()
        }
        container = container_of(named(rendered, "Job", "media-media-operator-crds"))
        [mount] = [each for each in container["volumeMounts"] if each["name"] == "crds"]
        assert env_of(container) == {"MEDIA_OPERATOR_DEFINITIONS": mount["mountPath"]}
        # Only who says so deletes them, when the release goes.
        release = env_of(container_of(named(rendered, "Job", "media-media-operator-release")))
        assert json.loads(release.get("MEDIA_OPERATOR_DEFINITIONS", "null")) == deleted
        roles = [body for body in of_kind(rendered, "ClusterRole") if body["metadata"]["name"].endswith("release-crds")]
        assert [role["rules"][0]["resourceNames"] for role in roles] == ([deleted] if deleted else [])


def test_profiles_are_the_files_and_one_is_the_default(render: Render) -> None:
    files = [yaml.safe_load(path.read_text()) for path in sorted((CHART / "files/profiles").glob("*.yaml"))]
    marker = "media-operator.io/is-default-profile"
    for name, default in (("minimal", ["web"]), ("shared", [])):
        profiles = of_kind(render(name), "MediaProfile")
        assert [each["spec"] for each in profiles] == [file["spec"] for file in files]
        annotated = [each["metadata"] for each in profiles if each["metadata"]["annotations"].get(marker) == "true"]
        assert [metadata["name"] for metadata in annotated] == default


def test_before_an_uninstall_who_holds_assets_is_stopped_and_they_are_released(rendered: list[Json]) -> None:
    hooks = {
        body["kind"]: body["metadata"]["annotations"]
        for body in rendered
        if body["metadata"].get("annotations", {}).get("helm.sh/hook") == "pre-delete"
    }
    assert {"Job", "ServiceAccount", "Role", "RoleBinding"} <= set(hooks)
    # Of one weight, Helm takes hooks by name: the Job would come before rights that it needs.
    weights = {kind: int(annotations["helm.sh/hook-weight"]) for kind, annotations in hooks.items()}
    assert all(weight < weights["Job"] for kind, weight in weights.items() if kind != "Job")
    policies = {annotations["helm.sh/hook-delete-policy"] for annotations in hooks.values()}
    assert policies == {"before-hook-creation,hook-succeeded"}
    job = named(rendered, "Job", "media-media-operator-release")
    container = container_of(job)
    assert container["args"] == ["release"]
    stopped = ["media-media-operator", "media-media-operator-ingest"]
    names = [f"{named(rendered, 'Deployment', name)['metadata']['namespace']}/{name}" for name in stopped]
    assert json.loads(env_of(container)["MEDIA_OPERATOR_DEPLOYMENTS"]) == names


def test_a_release_fits_into_its_secret(render: Render) -> None:
    files = [path.read_text() for path in sorted(CHART.rglob("*")) if path.is_file()]
    release = json.dumps([files, [yaml.safe_dump(body) for body in render("everything")]])
    assert len(base64.b64encode(gzip.compress(release.encode()))) < 512 * 1024
