"""What a cluster that is not ours needs for the tests, and what our own has: an S3 server, here a pod of it."""

import json
import os
import secrets
import shutil
import subprocess
from pathlib import Path

import httpx2

from cluster import Cluster, Json
from s3server import tool
from service import wait_for

_E2E = Path(__file__).parents[1] / "e2e"
_IMAGE = "media-operator/versitygw:e2e"
_NAMESPACE = "media-e2e-s3"
#: Where images may have been built, best first: hack/e2e.sh takes Docker for the real kind, buildah for ours.
BUILDERS = (
    ("buildah", "docker", "podman")
    if os.environ.get("CLUSTER", "local") == "local"
    else ("docker", "buildah", "podman")
)


def facts(cluster: Cluster) -> Json:
    """Start an S3 server in the cluster; return the same facts as `hack/cluster/kind get facts`, as far as needed."""
    builder = next(program for program in BUILDERS if shutil.which(program))
    verb = "bud" if builder == "buildah" else "build"
    command = [builder, verb, "-t", _IMAGE, "-f", str(_E2E / "s3.Dockerfile"), str(tool("versitygw"))]
    subprocess.run(command, check=True, capture_output=True)
    cluster.load(_IMAGE)
    secret = secrets.token_urlsafe(24)
    cluster.namespace(_NAMESPACE)
    cluster.secret("s3", _NAMESPACE, secret=secret)
    cluster.kubectl("delete", "pod", "s3", "-n", _NAMESPACE, "--ignore-not-found")
    cluster.kubectl("apply", "-n", _NAMESPACE, "-f", str(_E2E / "s3.yaml"))
    cluster.wait("pod", "s3", "Ready", _NAMESPACE)
    nodes = json.loads(cluster.kubectl("get", "nodes", "-o", "json"))["items"]
    address = next(each["address"] for each in nodes[0]["status"]["addresses"] if each["type"] == "InternalIP")
    endpoint = f"http://{address}:30900"
    # The node learns of the Service a moment after its pod is Ready.
    wait_for(lambda: _answers(endpoint), what="the S3 server")
    return {
        "s3_endpoint": endpoint,
        "s3_access_key": "root",
        "s3_secret_key": secret,
        "ingress_http": os.environ.get("MEDIA_E2E_INGRESS_URL", f"http://{address}"),
        "ingress_class": os.environ.get("MEDIA_E2E_INGRESS_CLASS", ""),
    }


def _answers(url: str) -> bool:
    try:
        httpx2.get(url, timeout=5)
    except httpx2.HTTPError:
        return False
    return True
