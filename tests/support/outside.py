"""The operator as a process of the test: behind a proxy, and to be killed at will."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx2
import yaml

from apiproxy import Proxy
from cluster import Json
from installed import SYSTEM, Installed, labels
from servers import free_port
from service import wait_for


class Operator:
    """Runs `python -m media_operator` with some environment, as often as a test wants."""

    def __init__(self, folder: Path, environment: Mapping[str, str], within: Sequence[str] = ()) -> None:
        """Take a folder for the log, the variables, to which ports are added, and a command to run it by."""
        self._command = [*within, sys.executable, "-m", "media_operator"]
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "operator.log"
        self._port, self._metrics_port = free_port(), free_port()
        own = {name: value for name, value in os.environ.items() if not name.startswith(("MEDIA_", "AWS_", "KUBE"))}
        ports = {"MEDIA_OPERATOR_PORT": str(self._port), "MEDIA_OPERATOR_METRICS_PORT": str(self._metrics_port)}
        self._environment = {**own, **environment, **ports}

    def start(self, **settings: str) -> None:
        """Start it and wait until it watches; settings are further variables."""
        self.launch(**settings)
        wait_for(self._is_alive, what="the operator")

    def launch(self, **settings: str) -> None:
        """Start it."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, env=self._environment | settings, stdout=log, stderr=log)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to end; return its exit code."""
        return self._end(signal.SIGTERM)

    def health(self) -> int | None:
        """Return the status of the liveness probe, None when nobody answers."""
        try:
            return httpx2.get(f"http://127.0.0.1:{self._port}/healthz", timeout=20).status_code
        except httpx2.HTTPError:
            return None

    def metrics(self) -> dict[str, float]:
        """Return what Prometheus would read, by name and labels as they are written."""
        text = httpx2.get(f"http://127.0.0.1:{self._metrics_port}/metrics", timeout=20).text
        lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {sample: float(value) for sample, _, value in lines}

    @property
    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _end(self, number: int) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(30)

    def _is_alive(self) -> bool:
        assert self.runs, self.log
        return self.health() == httpx2.codes.OK


class Outside(Operator):
    """One with the settings of an installed release."""

    def __init__(
        self, media: Installed, proxy: Proxy, folder: Path, change: Callable[[Json], None] = lambda _: None
    ) -> None:
        """Take the release, the way to its API server, a folder, and what changes the template of its pods."""
        (container,) = deployment(media)["spec"]["template"]["spec"]["containers"]
        told = {each["name"]: each["value"] for each in container["env"] if "value" in each}
        template, pod = folder / "pod.yaml", media.pod_template()
        change(pod)
        template.write_text(yaml.safe_dump(pod))
        account = media.accounts["operator"]
        own = {
            "AWS_ACCESS_KEY_ID": account.access_key,
            "AWS_SECRET_ACCESS_KEY": account.secret_key,
            "MEDIA_OPERATOR_POD_TEMPLATE": str(template),
            "KUBECONFIG": str(proxy.kubeconfig(folder / "kubeconfig")),
        }
        super().__init__(folder, told | own)


def deployment(media: Installed) -> Json:
    (found,) = media.cluster.find("deployments", SYSTEM, labels("operator"))
    return found


@contextmanager
def without_operator(media: Installed) -> Iterator[None]:
    """Scale the operator of the release to none for a while."""
    name = deployment(media)["metadata"]["name"]
    media.cluster.kubectl("scale", "-n", SYSTEM, f"deployment/{name}", "--replicas=0")
    media.cluster.kubectl("wait", "-n", SYSTEM, "pods", "-l", labels("operator"), "--for=delete", "--timeout=60s")
    try:
        yield
    finally:
        media.cluster.kubectl("scale", "-n", SYSTEM, f"deployment/{name}", "--replicas=1")
        media.cluster.kubectl("rollout", "status", "-n", SYSTEM, f"deployment/{name}", "--timeout=90s")
