"""What people notice of an upgrade, a rollback, a roll and a store that is away: nothing, or a clear answer."""

import base64
import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
import yaml

from alerting import unknown
from cluster import Json
from httpproxy import HttpProxy
from installed import CHART, COMPONENTS, SYSTEM, WORK, Installed, credentials, labels
from outside import without_operator
from served import check_problem
from service import UPLOAD, wait_for

PHOTO = (Path(__file__).parents[1] / "data/photo.jpg").read_bytes()
CRD = "mediaassets.media-operator.io"
#: Stops the first ffmpeg that it sees in its pod.
STOP = """
import os, pathlib, signal
while True:
    for comm in pathlib.Path("/proc").glob("[0-9]*/comm"):
        try:
            if comm.read_text().startswith("ffmpeg"):
                os.kill(int(comm.parent.name), signal.SIGSTOP)
                raise SystemExit
        except (FileNotFoundError, ProcessLookupError):
            continue
"""
CONTINUE = STOP.replace("SIGSTOP", "SIGCONT")


@pytest.fixture
def restored(media: Installed) -> Iterator[Installed]:
    yield media
    media.install()


@dataclass
class Traffic:
    """Clients that call again and again, each on a connection of its own, and what came of it."""

    media: Installed
    stopping: threading.Event = field(default_factory=threading.Event)
    done: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    #: The ids of assets, by the kind of their upload.
    uploaded: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def repeat(self, name: str, call: Callable[[httpx2.Client], httpx2.Response]) -> None:
        """Call until told to stop; anything but success is noted."""
        with self.media.client() as client:
            while not self.stopping.wait(0.1):
                try:
                    answer = call(client)
                except httpx2.HTTPError as error:
                    self.failed.append(f"{name}: {error!r}")
                    continue
                if not answer.is_success:
                    self.failed.append(f"{name}: {answer.status_code} {answer.text[:200]}")
                self.done[name] += 1

    def upload(self, client: httpx2.Client) -> httpx2.Response:
        return self._kept("upload", client.post(UPLOAD, files={"file": ("photo.jpg", PHOTO)}))

    def slow(self, client: httpx2.Client) -> httpx2.Response:
        """Upload a body that takes five seconds to come."""

        def pieces() -> Iterator[bytes]:
            for begin in range(0, len(PHOTO), len(PHOTO) // 20):
                self.stopping.wait(0.25)
                yield PHOTO[begin : begin + len(PHOTO) // 20]

        return self._kept("slow", client.put("/api/media/upload/photo.jpg", content=pieces()))

    def tus(self, client: httpx2.Client) -> httpx2.Response:
        """Upload in ten requests, any of which another replica may get."""
        version = {"Tus-Resumable": "1.0.0"}
        name = base64.b64encode(b"photo.jpg").decode()
        metadata = {"Upload-Length": str(len(PHOTO)), "Upload-Metadata": f"filename {name}"}
        answer = client.post("/api/tus/", headers={**version, **metadata})
        url, offset, size = answer.headers.get("Location", ""), 0, len(PHOTO) // 10 + 1
        while answer.is_success and offset < len(PHOTO):
            headers = {**version, "Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
            answer = client.patch(url, content=PHOTO[offset : offset + size], headers=headers)
            offset = int(answer.headers.get("Upload-Offset", "0"))
        if answer.is_success:
            # The upload has the id that its asset gets.
            self.uploaded["tus"].append(url.rstrip("/").rpartition("/")[2])
        return answer

    def _kept(self, kind: str, answer: httpx2.Response) -> httpx2.Response:
        if answer.is_success:
            self.uploaded[kind].append(answer.json()["id"])
        return answer


def test_nobody_notices_a_roll_of_the_gateway_and_ingest(media: Installed) -> None:
    url = media.ready(media.apply(PHOTO))["status"]["url"]
    traffic = Traffic(media)
    calls: dict[str, Callable[[httpx2.Client], httpx2.Response]] = {
        "read": lambda client: client.get(url),
        "list": lambda client: client.get("/api/media/"),
        "upload": traffic.upload,
        "slow": traffic.slow,
        "tus": traffic.tus,
    }
    names = [f"deployment/media-media-operator-{name}" for name in ("gateway", "ingest")]
    # Whose transcoders would only be in the way.
    with without_operator(media):
        with ThreadPoolExecutor(len(calls)) as pool:
            running = [pool.submit(traffic.repeat, name, call) for name, call in calls.items()]
            try:
                wait_for(lambda: set(traffic.done) == set(calls), what="traffic of all kinds")
                media.cluster.kubectl("rollout", "restart", "-n", SYSTEM, *names)
                for name in names:
                    media.cluster.kubectl("rollout", "status", "-n", SYSTEM, name, "--timeout=180s")
                # What was told to stop may take a while.
                old = f"{labels('ingest')},pod-template-hash"
                wait_for(lambda: len(media.cluster.find("pods", SYSTEM, old)) == 2, what="the pods of before to go")
                after = traffic.done.copy()
                wait_for(lambda: all(traffic.done[name] > after[name] for name in calls), what="traffic to go on")
            finally:
                traffic.stopping.set()
            for each in running:
                each.result()
        assert not traffic.failed
        assert set(traffic.uploaded) == {"upload", "slow", "tus"}
        with media.client() as client:
            for asset in (asset for assets in traffic.uploaded.values() for asset in assets[:-1]):
                assert client.delete(f"/api/media/{asset}/").is_success
    for assets in traffic.uploaded.values():
        assert media.finished(assets[-1])["status"] == "ready"


def definition(media: Installed) -> Json:
    """Return what the API server knows of the spec of assets."""
    [version] = media.cluster.get("crd", CRD)["spec"]["versions"]
    spec: Json = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    return spec


def executed(media: Installed, uid: str, script: str) -> bool:
    """Run a script in the pod of an asset; tell whether it could be done."""
    pods = media.cluster.find("pods", WORK, f"media-operator.io/asset-uid={uid}")
    [name] = [pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] == "Running"] or [""]
    command = ("exec", "-n", WORK, name, "--", "timeout", "60", "python3", "-c", script)
    return bool(name) and not media.cluster.run(*command).returncode


@pytest.fixture
def older(restored: Installed, tmp_path: Path) -> Iterator[Installed]:
    """Install what this chart could have been before `caption` was thought of."""
    chart = shutil.copytree(CHART, tmp_path / "older")
    file = chart / "crds/mediaassets.yaml"
    body = yaml.safe_load(file.read_text())
    del body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["caption"]
    file.write_text(yaml.safe_dump(body))
    restored.cluster.kubectl("replace", "-f", str(file))
    restored.install(chart=chart)
    yield restored
    # Helm does not touch the definitions, and who replaced them would hinder the next install.
    restored.install({"crds": {"upgrade": True}})


def test_job_runs_through_an_upgrade_and_a_rollback_which_leaves_the_new_fields(
    older: Installed, long_clip: bytes
) -> None:
    media = older
    assert "caption" not in definition(media)
    # Its encoder stands still, so that the Job runs for as long as we like.
    during = media.apply(long_clip)
    uid = media.asset(during)["metadata"]["uid"]
    wait_for(lambda: executed(media, uid, STOP), seconds=120, what="the encoder to stand still")
    rolled = {"podAnnotations": {"example.org/release": "newer"}}
    media.install({**{name: {**media.values[name], **rolled} for name in COMPONENTS}, "crds": {"upgrade": True}})
    new = definition(media)
    assert "caption" in new
    assert not media.cluster.find("clusterroles", SYSTEM, "app.kubernetes.io/component=crds"), "its rights are gone"
    name = media.apply(PHOTO, caption="of the newer release")
    media.rollback()
    assert definition(media) == new
    assert media.ready(name)["spec"]["caption"] == "of the newer release"
    assert "status" in media.asset(during)
    assert executed(media, uid, CONTINUE)
    status = media.ready(during)["status"]
    assert status["attempt"] == 1
    assert len(media.jobs(uid)) == 1
    assert httpx2.get(status["url"]).status_code == 200


def test_media_of_the_cache_load_while_the_store_is_away_and_the_rest_fails_clearly(media: Installed) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((urlsplit(media.base_url).hostname, 9))
        here = probe.getsockname()[0]
    renditions = media.ready(media.apply(PHOTO))["status"]["renditions"]
    known, other = [each["url"] for each in renditions if each["name"] in ("medium", "large")]
    s3, gateway = media.values["s3"], media.values["gateway"]
    with HttpProxy(media.s3.endpoint, bind=here).running() as way:
        try:
            # One cache, that is asked twice.
            media.install({"s3": {**s3, "endpoint": way.url}, "gateway": {**gateway, "replicas": 1}})
            # A pod of before may still answer.
            wait_for(lambda: httpx2.get(known).is_success and "medium" in "".join(way.reads), what="the new gateway")
            before = httpx2.get(known)
            way.gone = True
            after = httpx2.get(known)
            assert (after.status_code, after.content) == (200, before.content)
            check_problem(httpx2.get(other), 503)
            with media.client() as client:
                refused = client.post(UPLOAD, files={"file": ("photo.jpg", PHOTO)})
            assert refused.status_code == 503
            assert refused.content
            way.gone = False
            wait_for(lambda: httpx2.get(other).is_success, what="the store to be back")
        finally:
            way.gone = False
            media.install()


def test_answer_may_take_longer_than_the_controller_likes_by_default(restored: Installed) -> None:
    media = restored
    # Contour gives an answer 15 seconds unless it is told so: docs/operations/ingress.md. Others have 60.
    annotations = {"projectcontour.io/response-timeout": "infinity"}
    media.install({"ingress": {**media.values["ingress"], "annotations": annotations}})
    name = media.apply(PHOTO, suspend=True, userID="alice")
    with media.client() as client:
        answer = client.get(f"/api/media/{name}/", params={"wait": 18})
    assert answer.status_code == 200
    assert answer.elapsed.total_seconds() >= 18


def test_header_that_is_too_large_is_refused(media: Installed) -> None:
    url = media.ready(media.apply(PHOTO))["status"]["url"]
    for size, statuses in ((4_000, {200}), (200_000, {400, 431})):
        with contextlib.suppress(httpx2.RemoteProtocolError, httpx2.WriteError, httpx2.ReadError):
            assert httpx2.get(url, headers={"X-Large": "a" * size}).status_code in statuses
    assert httpx2.get(url).status_code == 200


def over(values: Json, example: Json) -> Json:
    """Return an example with these values in place of its own, as Helm lays one file over another."""
    both = {name: over(value, example[name]) for name, value in values.items() if isinstance(example.get(name), dict)}
    return {**example, **values, **both}


def certify(folder: Path, host: str) -> tuple[Path, Path]:
    """Make a certificate that vouches for itself; return its key and it."""
    key, certificate = folder / "tls.key", folder / "tls.crt"
    what = ["-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}", "-days", "2"]
    made = ["-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", "-x509", *what, *made], check=True, capture_output=True)
    return key, certificate


def tokens_for(media: Installed, namespaces: list[str]) -> str:
    """Make a Secret with the tokens for these namespaces alone; return its name."""
    held = media.cluster.get("secret", media.values["tokens"]["existingSecret"], SYSTEM)["data"]["tokens.yaml"]
    entries = [each for each in yaml.safe_load(base64.b64decode(held)) if each["namespace"] in namespaces]
    media.cluster.secret("some-tokens", SYSTEM, **{"tokens.yaml": yaml.safe_dump(entries)})
    return "some-tokens"


@pytest.fixture
def prepared(restored: Installed) -> Iterator[Installed]:
    """Make what the examples expect of a cluster beside the Secrets of every release."""
    cluster = restored.cluster
    cluster.secret("s3-gateway", SYSTEM, **credentials(restored.accounts["gateway"]))
    priority = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "platform"}}
    cluster.apply({**priority, "value": 1000})
    cluster.kubectl("label", "nodes", "--all", "pool=batch")
    yield restored
    cluster.kubectl("label", "nodes", "--all", "pool-")
    cluster.kubectl("delete", "priorityclass", "platform")


@pytest.mark.parametrize("name", sorted(path.stem for path in (CHART / "examples").glob("*.yaml")))
def test_values_of_an_example_serve(prepared: Installed, facts: Json, tmp_path: Path, name: str) -> None:
    media = prepared
    example = yaml.safe_load((CHART / f"examples/{name}.yaml").read_text())
    host = str(urlsplit(example["publicBaseURL"]).hostname)
    key, certificate = certify(tmp_path, host)
    for namespace in (SYSTEM, WORK):
        metadata = {"name": "corp-ca", "namespace": namespace}
        authority = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        media.cluster.apply({**authority, "data": {"ca.crt": certificate.read_text()}})
    for tls in example.get("ingress", {}).get("tls", ()):
        metadata = {"name": tls["secretName"], "namespace": SYSTEM}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "kubernetes.io/tls"}
        media.cluster.apply({**secret, "stringData": {"tls.key": key.read_text(), "tls.crt": certificate.read_text()}})
    # What is of this cluster, in place of what is of the example: its images and store, and the way in.
    ours = {part: media.values[part] for part in ("s3", "ingress", *COMPONENTS)}
    ours["s3"] = {"region": "us-east-1", "pathStyle": True, **ours["s3"]}
    ours["gateway"] = {"cache": {"size": "1g"}, **ours["gateway"]}
    ours |= {"global": {"imageRegistry": ""}, "networkPolicy": {"s3Peers": []}}
    if "watchNamespaces" in example:
        # Ingest does not begin with tokens for what it does not serve.
        ours |= {"tokens": {"existingSecret": tokens_for(media, example["watchNamespaces"])}}
    if "httpRoute" in example:
        ours |= {"ingress": {"enabled": False}, "httpRoute": {"parentRefs": [facts["gateway"]]}}
    media.install(over(ours, example))
    url = media.ready(media.apply(PHOTO))["status"]["url"]
    assert url.startswith(f"https://{host}/media/")
    there = urlsplit(media.base_url)
    if example.get("ingress", {}).get("tls"):
        url = url.replace(host, str(there.hostname))
    else:
        # TLS ends before it gets here.
        url = url.replace(f"https://{host}", media.base_url)
    context = ssl.create_default_context(cafile=certificate)
    with httpx2.Client(verify=context, headers={"Host": host}) as client:

        def fetched() -> httpx2.Response | None:
            try:
                answer = client.get(url, extensions={"sni_hostname": host})
            except httpx2.ConnectError:
                # The controller has not heard of the certificate yet.
                return None
            return answer if answer.is_success else None

        answer = wait_for(fetched, what="the photo")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/jpeg")


def test_alerts_and_the_dashboard_name_what_the_pods_say(media: Installed) -> None:
    def page(component: str) -> str:
        pods = media.cluster.find("pods", SYSTEM, labels(component))
        # One of before the last roll may be listed still, whose network is gone.
        pod = next(each for each in pods if "deletionTimestamp" not in each["metadata"])
        (container,) = pod["spec"]["containers"]
        (port,) = [each["containerPort"] for each in container["ports"] if each["name"] == "metrics"]
        path = f"/api/v1/namespaces/{SYSTEM}/pods/{pod['metadata']['name']}:{port}/proxy/metrics"
        return media.cluster.kubectl("get", "--raw", path)

    for component in ("operator", "ingest", "gateway"):
        assert not list(unknown(page(component), f"media_{component}_"))
