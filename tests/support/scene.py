"""The operator at work between a real API server and a real store, where a test can do harm to all that it depends on.

Jobs, deletions in cascade and namespaces are those of Kubernetes' own controllers; only the node is played.
"""

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import yaml

import apiserver
import s3server
from apiproxy import Proxy
from httpproxy import Journal, StoreProxy
from kubeclient import Json, KubeClient
from kubelet import Bucket, Kubelet
from mediaasset.names import API_VERSION, ASSET_KIND, ATTEMPT_LABEL, MANAGER, MANAGER_LABEL, REPROCESS_ANNOTATION
from outside import Operator

T = TypeVar("T")

NAMESPACE, WORK, BUCKET = "shop", "media-work", "media"
ALL_ASSETS = f"/apis/{API_VERSION}/mediaassets"
ASSETS = f"/apis/{API_VERSION}/namespaces/{NAMESPACE}/mediaassets"
JOBS = f"/apis/batch/v1/namespaces/{WORK}/jobs"
PODS = f"/api/v1/namespaces/{WORK}/pods"
EVENTS = f"/api/v1/namespaces/{NAMESPACE}/events"
CONTROLLERS = (
    "job-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "serviceaccount-controller",
)
RENDITIONS = [{"name": name, "for": "Image", "format": "JPEG", "width": side} for name, side in (("a", 64), ("b", 128))]

#: As short as the settings allow, so that a test sees soon what an installation would see after minutes.
_SETTINGS = {
    "MEDIA_OPERATOR_PUBLIC_BASE_URL": "https://media.example.org",
    "MEDIA_OPERATOR_WORK_NAMESPACE": WORK,
    "MEDIA_OPERATOR_BACKOFF_SECONDS": "1",
    "MEDIA_OPERATOR_RESYNC_SECONDS": "2",
    # So soon it looks at a Job that has not begun, whatever the watch says.
    "MEDIA_OPERATOR_START_PATIENCE_SECONDS": "3",
}
_TEMPLATE = {
    "spec": {"automountServiceAccountToken": False, "containers": [{"name": "transcoder", "image": "transcoder"}]}
}
_SECONDS = 60.0
_JOB_OR_POD = re.compile(r"media-[a-z2-7]{26}(-[a-z0-9]{5})?")


@dataclass
class Servers:
    """What several scenes use, one after the other."""

    kubeconfig: Path
    kube: KubeClient
    s3: s3server.S3Server


@contextmanager
def servers(folder: Path) -> Iterator[Servers]:
    """Start the API server with its controllers, and the store."""
    with apiserver.start(folder / "api", CONTROLLERS) as kubeconfig, s3server.start(folder / "s3") as s3:
        kube = KubeClient(kubeconfig)
        for namespace in (NAMESPACE, WORK):
            make_namespace(kube, namespace)
        s3.create_bucket(BUCKET)
        yield Servers(kubeconfig, kube, s3)
        kube.close()


def make_namespace(kube: KubeClient, name: str) -> None:
    """Make a namespace, in which pods may be made when this returns."""
    kube.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    path = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    until(lambda: kube.find(path), lambda: f"the account of {name}")


@dataclass
class Scene:
    """One operator, its assets and Jobs, and the objects below a prefix of its own."""

    kube: KubeClient
    api: Proxy
    store: StoreProxy
    journal: Journal
    bucket: Bucket
    kubelet: Kubelet
    operator: Operator
    #: The variables of the operator, for another one beside it.
    environment: dict[str, str]
    #: The uids of all assets that there ever were, by name.
    uids: dict[str, str] = field(default_factory=dict)

    # What people do

    def create(self, name: str = "photo", /, **spec: object) -> str:
        """Upload a source and apply an asset as a person with kubectl would, Public and with two small renditions."""
        key = f"uploads/{NAMESPACE}/{name}/source"
        if self.bucket.read(key) is None:
            self.bucket.put(key, b"source")
        wanted: Json = {
            "source": {"object": {"key": key}},
            "type": "Image",
            "visibility": "Public",
            "renditions": RENDITIONS,
            **spec,
        }
        body = {
            "apiVersion": API_VERSION,
            "kind": ASSET_KIND,
            "metadata": {"name": name},
            "spec": {member: value for member, value in wanted.items() if value is not None},
        }
        self.uids[name] = self.kube.call("POST", ASSETS, body)["metadata"]["uid"]
        return name

    def change(self, name: str, **spec: object) -> None:
        """Replace fields of the spec; None takes one away."""
        self.kube.call("PATCH", f"{ASSETS}/{name}", {"spec": spec})

    def reprocess(self, name: str, value: str) -> None:
        self.kube.call("PATCH", f"{ASSETS}/{name}", {"metadata": {"annotations": {REPROCESS_ANNOTATION: value}}})

    def delete(self, name: str) -> None:
        self.kube.call("DELETE", f"{ASSETS}/{name}")

    # What is seen

    def asset(self, name: str) -> Json | None:
        return self.kube.find(f"{ASSETS}/{name}")

    def jobs(self, name: str) -> list[Json]:
        """Return the Jobs of an asset, by attempt."""
        found = self.kube.list(JOBS, f"media-operator.io/asset-uid={self.uids[name]}")
        return sorted(found, key=lambda job: int(job["metadata"]["labels"][ATTEMPT_LABEL]))

    def state(self, name: str) -> dict[str, str]:
        """Return the reasons of the conditions that are True, and of Ready if it is not; of what is asked now only."""
        asset = self.asset(name) or {}
        status, metadata = asset.get("status", {}), asset.get("metadata", {})
        asked = metadata.get("annotations", {}).get(REPROCESS_ANNOTATION)
        if status.get("observedGeneration") != metadata.get("generation"):
            return {}
        if asked is not None and asked != status.get("lastHandledReprocess"):
            return {}
        shown = [each for each in status["conditions"] if each["status"] == "True" or each["type"] == "Ready"]
        return {each["type"] + ("" if each["status"] == "True" else "=False"): each["reason"] for each in shown}

    def until(self, check: Callable[[], T | None], *, seconds: float = _SECONDS) -> T:
        """Wait for something, and start the operator again whenever it has died, as the kubelet would."""

        def look() -> T | None:
            if not self.operator.runs:
                self.operator.launch()
            return check()

        return until(look, self.report, seconds=seconds)

    def ready(self, name: str, *, seconds: float = _SECONDS) -> Json:
        """Wait until an asset is Ready and its Jobs are over; return it."""
        self.until(lambda: set(self.state(name)) == {"Ready", "Published"}, seconds=seconds)
        self.until(lambda: all(is_over(job) for job in self.jobs(name)), seconds=seconds)
        return self.asset(name) or {}

    def stalled(self, name: str) -> str:
        """Wait until an asset is Stalled; return the reason."""
        return self.until(lambda: self.state(name).get("Stalled"))

    def gone(self, name: str) -> None:
        """Wait until an asset is gone, and its Jobs."""
        self.until(lambda: self.asset(name) is None and not self.jobs(name))

    def picture(self) -> Json:
        """Return all that lasts, without times and with names in place of what is random."""
        assets = {}
        for body in self.kube.list(ASSETS):
            status = body.get("status", {})
            assets[body["metadata"]["name"]] = {
                "spec": body["spec"],
                "finalizers": body["metadata"].get("finalizers", []),
                "conditions": [(each["type"], each["status"], each["reason"]) for each in status.get("conditions", ())],
                **{
                    member: status.get(member)
                    for member in ("attempt", "failedAttempts", "jobName", "renditions", "sourceInfo", "url")
                },
            }
        jobs = sorted((int(job["metadata"]["labels"][ATTEMPT_LABEL]), _ended(job)) for job in self.kube.list(JOBS))
        found: Json = json.loads(
            self.plain(json.dumps({"assets": assets, "jobs": jobs, "objects": self.bucket.keys()}))
        )
        found["objects"].sort()
        return found

    def plain(self, text: str) -> str:
        """Put names in place of what is random."""
        for name, uid in self.uids.items():
            text = text.replace(uid, f"({name})")
        return _JOB_OR_POD.sub(lambda found: "(pod)" if found[1] else "(job)", text)

    def writes(self) -> list[str]:
        """Return what the operator wrote: the method and what it was about, of the store with `s3:` before it."""
        return [self._write(method, path) for method, path in self.journal.writes]

    def _write(self, method: str, path: str) -> str:
        store = f"/{BUCKET}/{self.bucket.prefix}/"
        where = "s3:" + path.removeprefix(store) if path.startswith(store) else re.sub(".*/namespaces/[^/]+/", "", path)
        return f"{method} {self.plain(where)}"

    def deletions(self) -> set[str]:
        """Return what the operator deleted."""
        return {write for write in self.writes() if write.startswith("DELETE")}

    def report(self) -> Json:
        """Return what is the case, for people."""
        return {**self.picture(), "writes": self.writes(), "log": self.operator.log.splitlines()[-30:]}

    # What must hold always

    def check(self) -> None:
        """Hold what happened to what must never happen: a traceback, two Jobs of one attempt, two sets of objects."""
        assert "Traceback" not in self.operator.log, self.operator.log
        attempts = [(uid, attempt) for uid, attempt, _ in self.kubelet.seen]
        assert len(set(attempts)) == len(attempts), self.kubelet.seen
        assert len({job for *_, job in self.kubelet.seen}) == len(attempts), self.kubelet.seen


def is_over(job: Json) -> bool:
    return _ended(job) in {"Complete", "Failed"}


def _ended(job: Json) -> str | None:
    conditions = job.get("status", {}).get("conditions") or []
    return next((c["type"] for c in conditions if c["type"] in {"Complete", "Failed"}), None)


def until(check: Callable[[], T | None], what: Callable[[], object], *, seconds: float = _SECONDS) -> T:
    """Poll until `check` gives something; AssertionError with what is the case when the time is over."""
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, f"waited {seconds} s: {json.dumps(what(), indent=1, default=str)}"
        time.sleep(0.1)
    return found


class Pod:
    """What the kubelet gives a pod to reach the API server: an address, a certificate, and a token that changes."""

    def __init__(self, folder: Path) -> None:
        """Make a certificate, and a first token."""
        self._folder = folder
        self.certificate = folder / "server.pem"
        command = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out ca.crt -days 2 -subj /CN=api"
        names = ["-addext", "subjectAltName=IP:127.0.0.1"]
        subprocess.run([*command.split(), *names], cwd=folder, check=True, capture_output=True)
        self.certificate.write_text((folder / "ca.crt").read_text() + (folder / "key.pem").read_text())
        self.give("first")
        # A directory that every process may see otherwise: only in a mount namespace is it that of a pod.
        mounted = (
            'mount -t tmpfs pod /run && mkdir -p /run/secrets/kubernetes.io && ln -s "$0" "$1" && shift && exec "$@"'
        )
        place = "/run/secrets/kubernetes.io/serviceaccount"
        unshared = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
        self.command = [*unshared, "sh", "-c", mounted, str(folder), place]

    def give(self, token: str) -> None:
        """Replace the token as the kubelet does."""
        (self._folder / "token.new").write_text(token)
        (self._folder / "token.new").replace(self._folder / "token")

    def environment(self, url: str) -> dict[str, str]:
        host, port = urlsplit(url).netloc.split(":")
        return {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}


@contextmanager
def scene(used: Servers, folder: Path, prefix: str, pod: Pod | None = None) -> Iterator[Scene]:
    """Set a scene; the operator is started by the test, perhaps in what a pod is given by the kubelet.

    What is left of assets and Jobs is removed at the end.
    """
    journal, bucket = Journal(), Bucket(used.s3, BUCKET, prefix)
    template = folder / "pod.yaml"
    template.write_text(yaml.safe_dump(_TEMPLATE))
    with ExitStack() as stack:
        api = Proxy(used.kubeconfig, journal)
        api.certificate = pod.certificate if pod else None
        stack.enter_context(api.running())
        store = stack.enter_context(StoreProxy(used.s3.endpoint, journal=journal).running())
        environment = {
            **_SETTINGS,
            **bucket.environment(store.url),
            "MEDIA_OPERATOR_POD_TEMPLATE": str(template),
            **(pod.environment(api.url) if pod else {"KUBECONFIG": str(api.kubeconfig(folder / "kubeconfig"))}),
        }
        operator = Operator(folder, environment, pod.command if pod else ())
        kubelet = stack.enter_context(Kubelet(used.kube, WORK, bucket))
        stack.callback(_clear, used.kube)
        try:
            made = Scene(used.kube, api, store, journal, bucket, kubelet, operator, environment)
            yield made
            if operator.runs:
                # One that was launched a moment ago has not learned yet how to end.
                until(lambda: operator.health() is not None, made.report)
                assert operator.stop() == 0, operator.log
            made.check()
        finally:
            if operator.runs:
                operator.kill()


def _clear(kube: KubeClient) -> None:
    for asset in kube.list(ALL_ASSETS):
        path = (
            f"/apis/{API_VERSION}/namespaces/{asset['metadata']['namespace']}/mediaassets/{asset['metadata']['name']}"
        )
        kube.call("PATCH", path, {"metadata": {"finalizers": None}}, accepted={404})
        kube.call("DELETE", path, accepted={404})
    selector = f"{MANAGER_LABEL}={MANAGER}"
    for job in kube.list(JOBS, selector):
        kube.call("DELETE", f"{JOBS}/{job['metadata']['name']}", {"propagationPolicy": "Background"}, accepted={404})
    until(lambda: not kube.list(JOBS, selector) and not kube.list(PODS, selector), lambda: kube.list(PODS, selector))
