import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml

from rendered import Helm, Json, Render

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/media-operator"

_ACCOUNTS = {name: {"existingSecret": f"s3-{name}"} for name in ("ingest", "operator", "transcoder")}
_MINIMAL: Json = {
    "publicBaseURL": "https://media.example.org",
    "s3": {"bucket": "media", "credentials": _ACCOUNTS},
    "tokens": {"existingSecret": "media-tokens"},
}
_EVERYWHERE: Json = {
    "extraEnv": [{"name": "EXTRA", "value": "1"}],
    "podAnnotations": {"example.org/annotation": "a"},
    "podLabels": {"example.org/label": "a"},
    "priorityClassName": "high",
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "media", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "serviceAccount": {"create": True, "annotations": {"example.org/role": "a"}},
}
_SPREAD = [{"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"}]
#: What people may give the chart, by a name for it.
VALUES: dict[str, Json] = {
    "minimal": _MINIMAL,
    "everything": {
        "commonLabels": {"team": "media"},
        "global": {"imageRegistry": "registry.example.org", "imagePullSecrets": ["pull"]},
        "publicBaseURL": "http://127.0.0.1:8080",
        "workNamespace": {"name": "transcoders", "labels": {"a": "b"}, "annotations": {"a": "b"}},
        "s3": {
            "endpoint": "http://s3.storage.svc:7070",
            "publicEndpoint": "https://s3.example.org/",
            "region": "eu-central-1",
            "bucket": "media",
            "prefix": "/shared/media/",
            "pathStyle": False,
            "caBundle": {"configMap": "store-ca", "key": "bundle.pem"},
            "credentials": _ACCOUNTS,
        },
        "bucket": {
            "apply": {
                "enabled": True,
                "existingSecret": "s3-owner",
                "serviceAccount": {"annotations": {"example.org/role": "a"}},
                "principals": {"ingest": "INGEST", "operator": "OPERATOR"},
                "corsOrigins": ["https://shop.example.org"],
                "unblock": True,
            }
        },
        "tokens": {"existingSecret": "media-tokens"},
        "operator": {
            **_EVERYWHERE,
            "singleTenant": True,
            "maxActiveJobs": 3_000_000,
            "maxActiveJobsPerNamespace": 2,
            "backoffSeconds": 0.5,
            "allowedCIDRs": ["10.1.0.0/16"],
            "sweep": {
                "delete": True,
                "time": "23:30",
                "timeZone": "Europe/Berlin",
                "ageSeconds": 7200,
                "tombstoneSeconds": 3_000_000,
            },
            "foreignPrefixes": ["imports/"],
        },
        "ingest": {
            **_EVERYWHERE,
            "publicURL": "https://api.example.org",
            "signedURLSeconds": 600,
            "uploadLifetimeSeconds": 3_000_000,
            "trustedProxies": ["10.0.0.0/8"],
            "corsOrigins": ["https://shop.example.org"],
            "redis": {"existingSecret": "media-redis"},
            "limits": {
                "requestsPerToken": "120/minute",
                "uploadsPerAddress": "10/second;600/minute",
                "maxUploads": 8,
                "minUploadRate": 2_000_000,
                "paceSeconds": 7.5,
            },
            "jwt": {
                "jwksURL": "https://login.example.org/jwks",
                "issuer": "https://login.example.org",
                "audience": "media",
                "algorithms": ["ES256"],
                "leewaySeconds": 5,
                "namespace": "shop",
                "scopePrefix": "media:",
                "claims": {"user": "uid", "scopes": "realm_access.roles"},
            },
            "image": {"digest": "sha256:" + "0" * 64},
            "topologySpreadConstraints": _SPREAD,
            "autoscaling": {"enabled": True, "maxReplicas": 5},
        },
        "gateway": {**_EVERYWHERE, "topologySpreadConstraints": _SPREAD, "autoscaling": {"enabled": True}},
        "monitoring": {
            "podMonitors": {"enabled": True, "labels": {"release": "prometheus"}},
            "rules": {
                "enabled": True,
                "labels": {"release": "prometheus"},
                "alertLabels": {"team": "media"},
                "runbookURL": "https://wiki.example.org/media-alerts",
                "disabled": ["MediaCacheCold"],
            },
            "dashboard": {"enabled": True, "annotations": {"grafana_folder": "Media"}},
        },
        "transcoder": {
            **_EVERYWHERE,
            "progress": {
                "existingSecret": "media-progress",
                "port": 6380,
                "peers": [{"ipBlock": {"cidr": "10.9.8.7/32"}}],
            },
        },
        "whatsapp": {
            "accounts": ["support"],
            "webhookPaths": ["/api/webhook"],
            "graphURL": "https://graph.example.org/v24.0",
        },
        "webhooks": {"existingSecret": "media-webhooks"},
        "ingress": {
            "enabled": True,
            "className": "contour",
            "annotations": {"a": "b"},
            "tls": [{"secretName": "tls", "hosts": ["media.example.org"]}],
        },
        "httpRoute": {
            "enabled": True,
            "parentRefs": [{"name": "gateway"}],
            "hostnames": ["media.example.org"],
            "timeouts": {"request": "0s"},
        },
        "networkPolicy": {
            "s3Peers": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}],
            "clientPeers": [{"namespaceSelector": {}}],
            "metricsPeers": [{"podSelector": {"matchLabels": {"app": "prometheus"}}}],
            "deniedCIDRs": ["203.0.113.0/24", "2600::/32"],
        },
    },
    # The files that people begin with.
    **{file.stem: yaml.safe_load(file.read_text()) for file in sorted((CHART / "examples").glob("*.yaml"))},
    "namespaces": {**_MINIMAL, "watchNamespaces": ["shop", "museum"]},
    "shared": {
        **_MINIMAL,
        "s3": {"bucket": "media", "credentials": {"shared": {"existingSecret": "s3"}}},
        "ingress": {"enabled": True},
        "networkPolicy": {"enabled": False},
        "profiles": {"default": ""},
        "crds": {"keep": False},
    },
}


@pytest.fixture(scope="session")
def helm() -> Helm:
    """Return helm as a function of its arguments; `values` are given to it by standard input."""
    tools = [sys.executable, str(ROOT / "hack/cluster/tools.py"), "helm"]
    home = subprocess.run(tools, stdout=subprocess.PIPE, text=True, check=True).stdout.split(maxsplit=1)[1].strip()

    def run(*arguments: str, values: Json | None = None) -> "subprocess.CompletedProcess[str]":
        given = () if values is None else ("--values", "-")
        body = yaml.safe_dump(values or {})
        command = [f"{home}/helm", *arguments, *given]
        return subprocess.run(command, input=body, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def render(helm: Helm) -> Render:
    """Return what the chart renders with a named set of values, in the namespace `media-system`."""

    @cache
    def rendered(name: str) -> list[Json]:
        done = helm("template", "media", str(CHART), "--namespace", "media-system", values=VALUES[name])
        assert not done.returncode, done.stderr
        return [body for body in yaml.safe_load_all(done.stdout) if body]

    return rendered


@pytest.fixture(scope="session", params=VALUES)
def rendered(request: pytest.FixtureRequest, render: Render) -> list[Json]:
    """Return what the chart renders with each set of values."""
    return render(request.param)


@pytest.fixture(params=VALUES)
def given(request: pytest.FixtureRequest) -> Json:
    """Return each set of values."""
    values: Json = VALUES[request.param]
    return values


@pytest.fixture(scope="session")
def minimal() -> Json:
    """Return the values without which nothing is rendered."""
    return _MINIMAL
