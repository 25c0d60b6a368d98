"""The programs of the pods read what the chart says, and it means what they take it for."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from pydantic_settings import BaseSettings

from media_ingest.app import ENDPOINTS
from media_ingest.jwts import JwtSettings
from media_ingest.settings import ClusterSettings as IngestSettings
from media_operator.settings import ClusterSettings, DefinitionSettings, ReleaseSettings
from media_operator.sweepsettings import PodSettings, SweepSettings
from mediaasset.s3 import StoreSettings, open_store
from rendered import Helm, Json, Render, container_of, env_of, named, of_kind, pod_of

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/media-operator"


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
    helm: Helm,
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
def test_a_cache_of_any_size_fits_into_its_pod(helm: Helm, minimal: Json, size: str, expected: int) -> None:
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


def test_ephemeral_storage_that_is_said_counts(helm: Helm, minimal: Json) -> None:
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


def test_a_gateway_gets_what_was_set(helm: Helm, minimal: Json) -> None:
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
