"""A real cluster, and the chart installed in it once for all tests.

pytest-kind makes the cluster, by the real kind or by hack/cluster/kind, which speaks its command line. With
CLUSTER=current it is the one of $KUBECONFIG instead, whose nodes must have the images. See hack/e2e.sh.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import elsewhere
import films
import installed
from apiproxy import Proxy
from cluster import Cluster, Json
from installed import Installed
from outside import without_operator


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Cluster:
    if os.environ.get("CLUSTER") == "current":
        kubectl = shutil.which("kubectl")
        assert kubectl, "kubectl is not in PATH"
        return Cluster(Path(os.environ["KUBECONFIG"]), Path(kubectl), lambda _: None)
    kind: Any = request.getfixturevalue("kind_cluster")
    return Cluster(kind.kubeconfig_path.absolute(), kind.kubectl_path, kind.load_docker_image)


@pytest.fixture(scope="session")
def facts(request: pytest.FixtureRequest, cluster: Cluster) -> Json:
    """Return where the ingress controller and the S3 server are."""
    if os.environ.get("CLUSTER", "local") != "local":
        return elsewhere.facts(cluster)
    kind: Any = request.getfixturevalue("kind_cluster")
    command = [str(kind.kind_path), "get", "facts", "--name", kind.name]
    found: Json = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    return found


@pytest.fixture(scope="session")
def media(cluster: Cluster, facts: Json) -> Iterator[Installed]:
    release = installed.from_checkout(cluster, facts)
    yield release
    release.uninstall()


@pytest.fixture(scope="module")
def alone(media: Installed) -> Iterator[Installed]:
    """Give the release without its operator."""
    with without_operator(media):
        yield media


@pytest.fixture
def proxy(alone: Installed) -> Iterator[Proxy]:
    with Proxy(alone.cluster.kubeconfig).running() as running:
        yield running


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a short clip with sound that no browser plays."""
    path = tmp_path_factory.mktemp("clip") / "clip.mov"
    coded = ("-c:v", "mpeg4", "-c:a", "pcm_s16le")
    picture, sound = "testsrc2=size=1280x720:rate=25:duration=2", "sine=frequency=440:duration=2"
    return films.clip(path, *coded, picture=picture, sound=sound)


@pytest.fixture(scope="session")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a clip that takes a transcoder some seconds."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    picture = "testsrc2=size=1920x1080:rate=30:duration=12"
    return films.clip(path, "-c:v", "mpeg4", "-q:v", "3", picture=picture, sound="").read_bytes()
