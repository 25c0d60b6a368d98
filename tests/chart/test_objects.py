"""The objects that the chart renders fit together, and with the programs that they run."""

import base64
import gzip
import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings

from media_ingest.app import ENDPOINTS
from media_ingest.jwts import JwtSettings
from media_ingest.settings import ClusterSettings as IngestSettings
from media_operator import manifest
from media_operator.classes import larger_class
from media_operator.cluster import read_template
from media_operator.settings import ClusterSettings, DefinitionSettings, ReleaseSettings
from media_operator.sweepsettings import PodSettings, SweepSettings
from media_transcoder.live import PASSWORD_VARIABLE, USERNAME_VARIABLE
from mediaasset.s3 import StoreSettings, open_store
from mediaasset.task import REDIS_VARIABLE, MediaClass

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/media-operator"
Json = dict[str, Any]
Render = Callable[[str], list[Json]]
Helm = Callable[..., Any]


def of_kind(rendered: list[Json], *kinds: str) -> list[Json]:
    return [body for body in rendered if body["kind"] in kinds]


def named(rendered: list[Json], kind: str, name: str) -> Json:
    [found] = [body for body in of_kind(rendered, kind) if body["metadata"]["name"] == name]
    return found


def pod_of(workload: Json) -> Json:
    template: Json = workload["spec"]["template"]
    return template


def container_of(workload: Json) -> Json:
    [container] = pod_of(workload)["spec"]["containers"]
    found: Json = container
    return found


def env_of(container: Json) -> dict[str, str]:
    """Return the variables of a container; one from a Secret holds where it comes from."""
    variables = container["env"]
    assert len({each["name"] for each in variables}) == len(variables)
    return {each["name"]: each.get("value") or json.dumps(each.get("valueFrom", "")) for each in variables}


def template_of(rendered: list[Json]) -> Json:
    [config] = [each for each in of_kind(rendered, "ConfigMap") if "pod.yaml" in each["data"]]
    template: Json = yaml.safe_load(config["data"]["pod.yaml"])
    return template


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


def test_probes_ask_for_what_ingest_answers(rendered: list[Json]) -> None:
    container = container_of(named(rendered, "Deployment", "media-media-operator-ingest"))
    paths = {probe: container[probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe")}
    assert paths == {"livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    assert set(paths.values()) <= set(ENDPOINTS)


@pytest.mark.parametrize(
    ("kind", "name", "settings"),
    [
        ("Deployment", "media-media-operator", [ClusterSettings, SweepSettings, PodSettings, StoreSettings]),
        ("Deployment", "media-media-operator-ingest", [IngestSettings, StoreSettings]),
        ("Job", "media-media-operator-release", [ReleaseSettings]),
        ("Job", "media-media-operator-crds", [DefinitionSettings]),
    ],
)
def test_every_variable_is_one_that_the_program_reads_and_takes(
    rendered: list[Json], monkeypatch: pytest.MonkeyPatch, kind: str, name: str, settings: list[type[BaseSettings]]
) -> None:
    given = env_of(container_of(named(rendered, kind, name)))
    for variable, value in given.items():
        monkeypatch.setenv(variable, value)
    known = {f"{model.model_config['env_prefix']}{field}".upper() for model in settings for field in model.model_fields}
    for model in settings:
        prefix = model.model_config["env_prefix"]
        # What is said of JWTs has a model of its own, and a test below.
        ours = {name for name in given if name.startswith(prefix) and not name.startswith("MEDIA_INGEST_JWT_")}
        assert ours
        assert ours <= known
        model()
    assert {variable.split("_")[0] for variable in given} <= {"MEDIA", "AWS", "SSL", "EXTRA"}


def test_values_reach_the_programs(render: Render, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered = render("everything")
    for name in ("media-media-operator", "media-media-operator-ingest"):
        for variable, value in env_of(container_of(named(rendered, "Deployment", name))).items():
            monkeypatch.setenv(variable, value)
    operator, store, ingest, sweep = ClusterSettings(), StoreSettings(), IngestSettings(), SweepSettings()
    assert (sweep.sweep_deletes, sweep.sweep_time, sweep.sweep_time_zone) == (True, "23:30", "Europe/Berlin")
    assert (sweep.sweep_age_seconds, sweep.sweep_tombstone_seconds) == (7200, 3_000_000)
    assert sweep.upload_lifetime_seconds == ingest.upload_lifetime_seconds == 3_000_000
    assert (sweep.namespaces, sweep.single_tenant) == (operator.namespaces, True)
    assert operator.single_tenant
    assert (operator.max_active_jobs, operator.max_active_jobs_per_namespace) == (3_000_000, 2)
    assert operator.backoff_seconds == 0.5
    assert (operator.allowed_cidrs, operator.foreign_prefixes) == (("10.1.0.0/16",), ("imports/",))
    assert operator.work_namespace == "transcoders"
    assert store.url == "s3://media/shared/media"
    assert (ingest.public_url, ingest.signed_url_seconds) == ("https://api.example.org", 600)


@pytest.mark.parametrize(
    ("given", "bases"),
    [
        ({}, ("https://s3.us-east-1.amazonaws.com/media",) * 2),
        ({"pathStyle": False}, ("https://media.s3.us-east-1.amazonaws.com",) * 2),
        ({"endpoint": "http://store:7070/"}, ("http://store:7070/media",) * 2),
        (
            {"endpoint": "http://store:7070", "publicEndpoint": "https://s3.example.org/"},
            ("http://store:7070/media", "https://s3.example.org/media"),
        ),
        (
            {"endpoint": "http://store:7070/", "publicEndpoint": "https://s3.example.org/", "pathStyle": False},
            ("http://media.store:7070", "https://media.s3.example.org"),
        ),
    ],
)
async def test_the_bucket_is_in_every_url_of_the_store(
    helm: Callable[..., Any],
    minimal: Json,
    monkeypatch: pytest.MonkeyPatch,
    given: Json,
    bases: tuple[str, str],
) -> None:
    values = {**minimal, "s3": {**minimal["s3"], "prefix": "root", **given}}
    rendered = list(yaml.safe_load_all(helm("template", "media", str(CHART), values=values).stdout))
    for name, base in zip(("media-media-operator", "media-media-operator-ingest"), bases, strict=True):
        with monkeypatch.context() as patch:
            for variable, value in env_of(container_of(named(rendered, "Deployment", name))).items():
                patch.setenv(variable, value)
            # obstore takes the variables as they are, plain http included.
            store = open_store(StoreSettings())
            signed = await store.sign("private/a.jpg", timedelta(minutes=1))
        assert signed.partition("?")[0] == f"{base}/root/private/a.jpg"
    gateway = env_of(container_of(named(rendered, "Deployment", "media-media-operator-gateway")))
    assert gateway["GATEWAY_ENDPOINT"] == given.get("endpoint", "https://s3.us-east-1.amazonaws.com").rstrip("/")


def mebibytes(quantity: str) -> int:
    return int(quantity.removesuffix("Mi"))


@pytest.mark.parametrize(("size", "expected"), [("100m", 100), ("1g", 1024), ("20g", 20 * 1024)])
def test_a_cache_of_any_size_fits_into_its_pod(
    helm: Callable[..., Any], minimal: Json, size: str, expected: int
) -> None:
    done = helm("template", "media", str(CHART), "--set", f"gateway.cache.size={size}", values=minimal)
    deployment = named(list(yaml.safe_load_all(done.stdout)), "Deployment", "media-media-operator-gateway")
    container = container_of(deployment)
    assert env_of(container)["GATEWAY_CACHE_SIZE"] == size
    volumes = [mebibytes(volume["emptyDir"]["sizeLimit"]) for volume in pod_of(deployment)["spec"]["volumes"]]
    resources = container["resources"]
    limit, request = (mebibytes(resources[each]["ephemeral-storage"]) for each in ("limits", "requests"))
    assert expected < max(volumes) < limit - min(volumes)
    assert expected < request <= limit
    assert resources["requests"].keys() == {"cpu", "memory", "ephemeral-storage"}


def test_ephemeral_storage_that_is_said_counts(helm: Callable[..., Any], minimal: Json) -> None:
    said = {"limits": {"ephemeral-storage": "9Gi"}}
    done = helm("template", "media", str(CHART), values={**minimal, "gateway": {"resources": said}})
    deployment = named(list(yaml.safe_load_all(done.stdout)), "Deployment", "media-media-operator-gateway")
    assert container_of(deployment)["resources"]["limits"] == {"memory": "256Mi", "ephemeral-storage": "9Gi"}


def test_the_operator_has_ten_minutes_until_it_answers(rendered: list[Json]) -> None:
    probe = container_of(named(rendered, "Deployment", "media-media-operator"))["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 600


def test_defaults_are_those_of_the_programs(render: Render, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered = render("minimal")
    needed: Json = {"public_base_url": "https://a", "work_namespace": "a", "pod_template": "/a"}
    programmed = ClusterSettings(**needed), IngestSettings(tokens=Path("/a")), SweepSettings()
    for name in ("media-media-operator", "media-media-operator-ingest"):
        for variable, value in env_of(container_of(named(rendered, "Deployment", name))).items():
            monkeypatch.setenv(variable, value)
    charted = ClusterSettings(), IngestSettings(), SweepSettings()
    # Without a chart there is one class.
    given = {*needed, "tokens", "namespaces", "classes", "version"}
    for ours, theirs in zip(charted, programmed, strict=True):
        assert ours.model_dump(exclude=given) == theirs.model_dump(exclude=given)


def test_ingest_is_told_its_limits_its_issuer_and_its_redis(render: Render, monkeypatch: pytest.MonkeyPatch) -> None:
    pod = named(render("everything"), "Deployment", "media-media-operator-ingest")["spec"]["template"]["spec"]
    [container] = pod["containers"]
    for variable, value in env_of(container).items():
        monkeypatch.setenv(variable, value)
    settings, jwt = IngestSettings(), JwtSettings()
    assert (settings.requests_per_token, settings.uploads_per_address) == ("120/minute", "10/second;600/minute")
    assert (settings.requests_per_address, settings.max_uploads) == ("", 8)
    assert (settings.trusted_proxies, settings.metrics_port) == (("10.0.0.0/8",), 9090)
    assert (jwt.jwks_url, jwt.issuer, jwt.audience) == (
        "https://login.example.org/jwks",
        "https://login.example.org",
        "media",
    )
    assert (jwt.algorithms, jwt.namespace, jwt.scope_prefix, jwt.leeway_seconds) == (("ES256",), "shop", "media:", 5)
    assert (jwt.user_claim, jwt.username_claim, jwt.scopes_claim) == ("uid", "preferred_username", "realm_access.roles")
    redis = {each["name"]: each["valueFrom"]["secretKeyRef"] for each in container["env"] if "REDIS" in each["name"]}
    assert redis["MEDIA_REDIS_URL"] == {"name": "media-redis", "key": "MEDIA_REDIS_URL", "optional": False}
    assert all(redis[f"MEDIA_REDIS_{name}"]["optional"] for name in ("USERNAME", "PASSWORD"))


def test_keys_of_an_issuer_may_lie_in_a_config_map(helm: Helm, minimal: Json) -> None:
    jwt = {"jwksConfigMap": "keys", "issuer": "https://a", "audience": "media"}
    done = helm("template", "media", str(CHART), values={**minimal, "ingest": {"jwt": jwt}})
    pod = named(list(yaml.safe_load_all(done.stdout)), "Deployment", "media-media-operator-ingest")["spec"]["template"]
    [container] = pod["spec"]["containers"]
    assert env_of(container)["MEDIA_INGEST_JWT_JWKS_FILE"] == "/etc/media-jwks/jwks.json"
    assert {"name": "jwks", "mountPath": "/etc/media-jwks", "readOnly": True} in container["volumeMounts"]
    assert "keys" in [volume.get("configMap", {}).get("name") for volume in pod["spec"]["volumes"]]
    for wrong in ({**jwt, "issuer": ""}, {**jwt, "audience": ""}, {**jwt, "jwksURL": "https://a/jwks"}):
        assert helm("template", "media", str(CHART), values={**minimal, "ingest": {"jwt": wrong}}).returncode


def test_the_gateway_gets_what_its_start_reads(rendered: list[Json]) -> None:
    given = env_of(container_of(named(rendered, "Deployment", "media-media-operator-gateway")))
    read = set(re.findall(r"\$\{([A-Z_]+):-", (ROOT / "gateway/start.sh").read_text()))
    read |= {"AWS_SECRET_ACCESS_KEY", "AWS_REGION"}
    assert {"GATEWAY_ENDPOINT", "GATEWAY_BUCKET", "GATEWAY_PREFIX"} <= set(given) - {"EXTRA"} <= read


def test_a_gateway_gets_what_was_set(helm: Callable[..., Any], minimal: Json) -> None:
    gateway = {
        "maxAges": [{"path": "/media/shop/", "seconds": 604800}, {"path": "/media/", "seconds": 86400}],
        "corsOrigins": ["https://shop.example", "http://localhost:3000"],
        "limits": {"requestsPerAddress": "100/second", "burst": 50},
        "trustedProxies": ["192.0.2.0/24"],
    }
    s3 = minimal["s3"] | {"credentials": {"gateway": {"existingSecret": "s3-gateway"}}}
    done = helm("template", "media", str(CHART), values={**minimal, "s3": s3, "gateway": gateway})
    deployment = named(list(yaml.safe_load_all(done.stdout)), "Deployment", "media-media-operator-gateway")
    given = env_of(container_of(deployment))
    assert given["GATEWAY_MAX_AGES"].split() == ["/media/shop/=604800", "/media/=86400"]
    assert given["GATEWAY_CORS_ORIGINS"] == "https://shop.example http://localhost:3000"
    assert (given["GATEWAY_RATE"], given["GATEWAY_RATE_BURST"]) == ("100/second", "50")
    assert given["GATEWAY_TRUSTED_PROXIES"] == "192.0.2.0/24"
    variables = {each["name"]: each for each in container_of(deployment)["env"]}
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        assert variables[name]["valueFrom"]["secretKeyRef"] == {"name": "s3-gateway", "key": name}
    assert given["AWS_REGION"]


def test_signed_urls_have_one_secret_a_route_and_their_rights(helm: Helm, minimal: Json) -> None:
    values = {
        **minimal,
        "s3": minimal["s3"]
        | {"credentials": minimal["s3"]["credentials"] | {"gateway": {"existingSecret": "s3-gateway"}}},
        "gateway": {"signing": {"existingSecret": "media-signing"}},
        "ingress": {"enabled": True},
        "httpRoute": {"enabled": True, "parentRefs": [{"name": "gateway"}]},
        "bucket": {"apply": {"enabled": True}},
    }
    done = helm("template", "media", str(CHART), values=values)
    rendered = [body for body in yaml.safe_load_all(done.stdout) if body]
    containers = {
        name: container_of(named(rendered, "Deployment", f"media-media-operator-{name}"))
        for name in ("gateway", "ingest")
    }
    taken = {
        each["name"]: each["valueFrom"]["secretKeyRef"]
        for container in containers.values()
        for each in container["env"]
        if "SIGNING" in each["name"] and "valueFrom" in each
    }
    assert {each.pop("name") for each in taken.values()} == {"media-signing"}
    assert taken == {
        "GATEWAY_SIGNING_KEY": {"key": "current", "optional": False},
        "GATEWAY_SIGNING_PREVIOUS_KEY": {"key": "previous", "optional": True},
        "MEDIA_INGEST_SIGNING_KEY": {"key": "current"},
    }
    read = set(re.findall(r"\$\{([A-Z_]+):-", (ROOT / "gateway/start.sh").read_text()))
    assert {name for name in taken if name.startswith("GATEWAY_")} <= read
    given = env_of(containers["ingest"])
    assert given["MEDIA_INGEST_SIGNING_BASE_URL"] == values["publicBaseURL"]
    assert {name for name in given if "SIGNING" in name} <= {
        f"MEDIA_INGEST_{field}".upper() for field in IngestSettings.model_fields
    }
    [ingress], [route] = of_kind(rendered, "Ingress"), of_kind(rendered, "HTTPRoute")
    paths = {path["path"]: path["backend"]["service"]["name"] for path in ingress["spec"]["rules"][0]["http"]["paths"]}
    assert paths["/private/"] == paths["/media/"]
    backends = {rule["matches"][0]["path"]["value"]: rule["backendRefs"] for rule in route["spec"]["rules"]}
    assert backends["/private/"] == backends["/media/"]
    assert "--signed-urls" in container_of(named(rendered, "Job", "media-media-operator-bucket"))["args"]
    # Nobody else reads what is private.
    refused = helm("template", "media", str(CHART), values={**values, "s3": minimal["s3"]})
    assert "s3.credentials.gateway" in refused.stderr


def test_the_pods_of_jobs_are_what_the_operator_takes(rendered: list[Json], tmp_path: Path) -> None:
    file = tmp_path / "pod.yaml"
    [config] = [each for each in of_kind(rendered, "ConfigMap") if "pod.yaml" in each["data"]]
    file.write_text(config["data"]["pod.yaml"])
    template = read_template(file)
    [container] = template["spec"]["containers"]
    operator = env_of(container_of(named(rendered, "Deployment", "media-media-operator")))
    store = {
        name: value
        for name, value in env_of(container).items()
        if name.startswith(("MEDIA_STORE", "AWS_")) and "KEY" not in name
    }
    assert store.items() <= operator.items()
    assert "MEDIA_STORE_URL" in store
    [account] = [b for b in of_kind(rendered, "ServiceAccount") if b["metadata"]["name"].endswith("-transcoder")]
    assert account["metadata"]["namespace"] == operator["MEDIA_OPERATOR_WORK_NAMESPACE"]
    assert template["spec"]["serviceAccountName"] == account["metadata"]["name"]
    deployment = named(rendered, "Deployment", "media-media-operator")
    mounted = {mount["name"]: mount["mountPath"] for mount in container_of(deployment)["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod_of(deployment)["spec"]["volumes"]}
    assert volumes["config"]["configMap"]["name"] == config["metadata"]["name"]
    assert f"{mounted['config']}/pod.yaml" == operator["MEDIA_OPERATOR_POD_TEMPLATE"]


def test_each_component_has_the_account_that_is_meant_for_it(render: Render) -> None:
    def secrets(name: str) -> list[str]:
        rendered = render(name)
        pods = [pod_of(each)["spec"] for each in of_kind(rendered, "Deployment")] + [template_of(rendered)["spec"]]
        variables = [each for pod in pods for container in pod["containers"] for each in container["env"]]
        found = {each["valueFrom"]["secretKeyRef"]["name"] for each in variables if "secretKeyRef" in str(each)}
        return sorted(found)

    assert secrets("minimal") == ["s3-ingest", "s3-operator", "s3-transcoder"]
    assert secrets("shared") == ["s3"]


def test_everyone_who_asks_the_store_knows_its_authority(render: Render) -> None:
    for name, expected in (("everything", True), ("minimal", False)):
        rendered = render(name)
        pods = [pod_of(each) for each in of_kind(rendered, "Deployment")] + [template_of(rendered)]
        assert len(pods) == 4
        for pod in pods:
            [container] = pod["spec"]["containers"]
            assert ("SSL_CERT_FILE" in env_of(container)) is expected
            volumes = [each["configMap"] for each in pod["spec"]["volumes"] if each["name"] == "store-ca"]
            mounts = [each["mountPath"] for each in container["volumeMounts"] if each["name"] == "store-ca"]
            if expected:
                [volume], [mount] = volumes, mounts
                assert volume == {"name": "store-ca", "items": [{"key": "bundle.pem", "path": "ca.crt"}]}
                assert env_of(container)["SSL_CERT_FILE"] == f"{mount}/ca.crt"
            else:
                assert not volumes + mounts


def test_a_change_for_transcoders_restarts_the_operator(helm: Callable[..., Any], minimal: Json) -> None:
    def checksum(*given: str) -> str:
        done = helm("template", "media", str(CHART), *given, values=minimal)
        bodies = [body for body in yaml.safe_load_all(done.stdout) if body]
        found: str = pod_of(named(bodies, "Deployment", "media-media-operator"))["metadata"]["annotations"][
            "checksum/transcoder"
        ]
        return found

    assert checksum() == checksum("--set", "ingest.replicas=5")
    assert checksum() != checksum("--set", "transcoder.classes.video.scratchSizeLimit=9Gi")


def test_graph_is_metas_own_unless_another_is_named(render: Render) -> None:
    def told(name: str) -> list[str]:
        [container] = template_of(render(name))["spec"]["containers"]
        return [each["value"] for each in container["env"] if each["name"] == "MEDIA_GRAPH_URL"]

    assert (told("minimal"), told("everything")) == ([], ["https://graph.example.org/v24.0"])


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


def test_progress_goes_to_redis_where_a_secret_says_so(render: Render) -> None:
    def told(name: str) -> dict[str, bool]:
        [container] = template_of(render(name))["spec"]["containers"]
        found = {each["name"]: each.get("valueFrom", {}) for each in container["env"] if "REDIS" in each["name"]}
        references = {variable: source["secretKeyRef"] for variable, source in found.items()}
        assert all(each["name"] == "media-progress" for each in references.values())
        return {variable: each.get("optional", False) for variable, each in references.items()}

    def opened(name: str) -> list[Json]:
        policy = named(render(name), "NetworkPolicy", "media-media-operator-transcoder")
        return [each for each in policy["spec"]["egress"] if {"port": 6380} in each.get("ports", [])]

    assert told("minimal") == {}
    assert opened("minimal") == []
    assert told("everything") == {REDIS_VARIABLE: False, USERNAME_VARIABLE: True, PASSWORD_VARIABLE: True}
    assert opened("everything") == [{"ports": [{"port": 6380}], "to": [{"ipBlock": {"cidr": "10.9.8.7/32"}}]}]


def test_classes_reach_the_operator_and_its_pods(helm: Helm, minimal: Json, monkeypatch: pytest.MonkeyPatch) -> None:
    audio = {"resources": {"limits": {"memory": "1Gi"}}, "deadlineSeconds": 3_000_000, "nodeSelector": {"disk": "fast"}}
    given = {"defaultClass": "Image", "largeVideoBytes": 5_000_000, "classes": {"audio": audio}}
    values = {**minimal, "transcoder": given, "operator": {"interactiveReservedJobs": 0}}
    done = helm("template", "media", str(CHART), values=values)
    rendered = list(yaml.safe_load_all(done.stdout))
    for variable, value in env_of(container_of(named(rendered, "Deployment", "media-media-operator"))).items():
        monkeypatch.setenv(variable, value)
    settings = ClusterSettings()
    assert (settings.default_class, settings.large_video_bytes) == (MediaClass.IMAGE, 5_000_000)
    assert settings.interactive_reserved_jobs == 0
    own = settings.classes[MediaClass.AUDIO]
    assert (own.deadline_seconds, own.node_selector, own.tolerations) == (3_000_000, {"disk": "fast"}, None)
    assert own.resources == {
        "requests": {"cpu": "250m", "memory": "128Mi", "ephemeral-storage": "128Mi"},
        "limits": {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "2Gi"},
    }
    [config] = [each for each in of_kind(rendered, "ConfigMap") if "pod.yaml" in each["data"]]
    template = yaml.safe_load(config["data"]["pod.yaml"])
    # Whoever has no class gets what a video does.
    assert manifest.template_of(template, settings.classes[MediaClass.VIDEO]) == template
    pods = {name: manifest.template_of(template, each)["spec"] for name, each in settings.classes.items()}
    sizes = {name: pod["volumes"][-1]["emptyDir"]["sizeLimit"] for name, pod in pods.items()}
    assert sizes == {"Image": "1Gi", "Audio": "1Gi", "Video": "4Gi", "LargeVideo": "16Gi"}
    assert pods[MediaClass.AUDIO]["nodeSelector"] == {"disk": "fast"}


def test_each_class_has_at_least_what_a_smaller_one_has(rendered: list[Json], monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in env_of(container_of(named(rendered, "Deployment", "media-media-operator"))).items():
        monkeypatch.setenv(variable, value)
    settings = ClusterSettings()
    size = {"1Gi": 1, "512Mi": 0.5, "2Gi": 2, "6Gi": 6}
    for small in MediaClass:
        large = larger_class(small, settings)
        if large is not None:
            one, other = settings.classes[small], settings.classes[large]
            assert (one.deadline_seconds or 0) < (other.deadline_seconds or 0)
            limits = [size[(each.resources or {})["limits"]["memory"]] for each in (one, other)]
            assert limits[0] < limits[1]
