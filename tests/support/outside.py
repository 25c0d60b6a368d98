"""The operator of an installed release as a process of the test: behind a proxy, and to be killed at will."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import yaml

from apiproxy import Proxy
from cluster import Json
from installed import SYSTEM, Installed, labels
from service import wait_for


class Outside:
    """Runs `python -m media_operator` with the settings of the release, as often as a test wants."""

    def __init__(
        self, media: Installed, proxy: Proxy, folder: Path, change: Callable[[Json], None] = lambda _: None
    ) -> None:
        """Take the release, the way to its API server, a folder, and what changes the template of its pods."""
        self._media, self._folder, self._change = media, folder, change
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "operator.log"
        self._environment = self._settings(proxy.kubeconfig(folder / "kubeconfig"))

    def start(self, **settings: str) -> None:
        """Start it and wait until it watches; settings are further variables."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "media_operator"], env=self._environment | settings, stdout=log, stderr=log
            )
        wait_for(self._is_alive, what="the operator")

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

    @property
    def log(self) -> str:
        return self._log.read_text()

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

    def _settings(self, kubeconfig: Path) -> dict[str, str]:
        (container,) = deployment(self._media)["spec"]["template"]["spec"]["containers"]
        told = {each["name"]: each["value"] for each in container["env"] if "value" in each}
        template, pod = self._folder / "pod.yaml", self._media.pod_template()
        self._change(pod)
        template.write_text(yaml.safe_dump(pod))
        account = self._media.accounts["operator"]
        self._port = 18000 + os.getpid() % 1000
        own = {name: value for name, value in os.environ.items() if not name.startswith(("MEDIA_", "AWS_", "KUBE"))}
        return {
            **own,
            **told,
            "AWS_ACCESS_KEY_ID": account.access_key,
            "AWS_SECRET_ACCESS_KEY": account.secret_key,
            "MEDIA_OPERATOR_POD_TEMPLATE": str(template),
            "MEDIA_OPERATOR_PORT": str(self._port),
            "KUBECONFIG": str(kubeconfig),
        }


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
