"""A real control plane on loopback whose one node is only played, and the operator beside it as the chart ships it.

etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kwok, run by kwokctl: no root, no images, no network.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from apiserver import CRDS, PROFILES, kubectl
from mediaasset.kube import Json
from s3server import S3Server, tool

ROOT = Path(__file__).resolve().parents[1]
SYSTEM, WORK = "media-system", "media-system-work"
#: The stages that a node and a pod go through; kwok itself has none.
_STAGES = ("node-initialize", "node-heartbeat", "pod-ready", "pod-complete", "pod-delete")
#: What kwok leaves out of a node, and pods ask for: scratch space.
_SCRATCH = {"ephemeral-storage": "1Pi"}
_OPTIONS: Json = {
    "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
    "kind": "KwokctlConfiguration",
    "options": {"bindAddress": "127.0.0.1"},
}


def _kwokctl(path: Path, *arguments: str) -> None:
    kubernetes, kwok = tool("kubernetes"), tool("kwok")
    environment = {
        **os.environ,
        "KWOK_WORKDIR": str(path / "kwok"),
        "KWOK_KUBE_VERSION": kubernetes.name.removeprefix("kubernetes-"),
        "KUBECONFIG": str(path / "kubeconfig.shared"),
        "PATH": f"{kubernetes}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        [str(kwok / "kwokctl"), "--name", "scale", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"kwokctl {' '.join(arguments)}: {done.stdout}{done.stderr}")


@contextmanager
def start(path: Path, run_milliseconds: int) -> Iterator[Path]:
    """Run a control plane whose files lie under `path`, its pods for so long; give a kubeconfig of its administrator.

    Controllers may ask as fast as they can, and 50 Jobs are synced at once: their defaults would be measured else.
    """
    path.mkdir(parents=True, exist_ok=True)
    stages = [(tool("kwok") / f"{stage}.yaml").read_text() for stage in _STAGES]
    delay = f"spec:\n  delay: {{durationMilliseconds: {run_milliseconds}}}\n"
    stages = [stage.replace("spec:\n", delay, 1) if "name: pod-complete" in stage else stage for stage in stages]
    config = path / "kwok.yaml"
    config.write_text("\n---\n".join([json.dumps(_OPTIONS), *stages]))
    kubernetes = tool("kubernetes")
    programs = {
        "etcd": tool("etcd") / "etcd",
        "kwok-controller": tool("kwok") / "kwok",
        **{name: kubernetes / name for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")},
    }
    binaries = [word for name, program in programs.items() for word in (f"--{name}-binary", str(program))]
    jobs = ["--extra-args", "kube-controller-manager=concurrent-job-syncs=50"]
    try:
        _kwokctl(
            path,
            *("create", "cluster", "--runtime", "binary", "--config", str(config), "--wait", "120s"),
            *(*binaries, *jobs, "--disable-qps-limits"),
        )
        kubeconfig = path / "kwok/clusters/scale/kubeconfig.yaml"
        kubectl(kubeconfig, "apply", "-f", str(CRDS))
        kubectl(kubeconfig, "wait", "--for=condition=Established", "--timeout=60s", "-f", str(CRDS))
        kubectl(kubeconfig, "apply", "-f", str(PROFILES))
        _add_node(path, kubeconfig)
        yield kubeconfig
    finally:
        _kwokctl(path, "delete", "cluster")


def _add_node(path: Path, kubeconfig: Path) -> None:
    metadata = {"name": "played", "annotations": {"kwok.x-k8s.io/node": "fake"}}
    node = path / "node.yaml"
    node.write_text(json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": metadata}))
    kubectl(kubeconfig, "apply", "-f", str(node))
    kubectl(kubeconfig, "wait", "--for=condition=Ready", "node/played", "--timeout=180s")
    status = json.dumps({"status": {"capacity": _SCRATCH, "allocatable": _SCRATCH}})
    kubectl(kubeconfig, "patch", "node", "played", "--subresource=status", "--type=merge", f"--patch={status}")


def charted(values: Mapping[str, Any]) -> tuple[dict[str, str], Json]:
    """Return what the chart tells the operator by plain variables, and the template of its pods."""
    command = [str(tool("helm") / "helm"), "template", "media", str(ROOT / "charts/media-operator")]
    command += ["--namespace", SYSTEM, "--values", "-"]
    done = subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    objects = [each for each in yaml.safe_load_all(done.stdout) if each]
    found = {(each["kind"], each["metadata"]["name"]): each for each in objects}
    (container,) = found["Deployment", "media-media-operator"]["spec"]["template"]["spec"]["containers"]
    (config,) = [each for (kind, _), each in found.items() if kind == "ConfigMap" and "pod.yaml" in each["data"]]
    variables = {each["name"]: each["value"] for each in container["env"] if "value" in each}
    template: Json = yaml.safe_load(config["data"]["pod.yaml"])
    return variables, template


def environment(folder: Path, kubeconfig: Path, s3: S3Server, bucket: str) -> dict[str, str]:
    """Return the variables of an operator with the settings of the chart; the template of its pods lies in folder."""
    values = {
        "publicBaseURL": "https://media.example.org",
        "s3": {"bucket": bucket, "endpoint": s3.endpoint, "credentials": {"shared": {"existingSecret": "s3"}}},
        "tokens": {"existingSecret": "tokens"},
    }
    variables, template = charted(values)
    _template(folder).write_text(yaml.safe_dump(template))
    own = {"MEDIA_OPERATOR_POD_TEMPLATE": str(_template(folder)), "KUBECONFIG": str(kubeconfig)}
    return {**variables, **s3.environment(bucket), **own}


def read(folder: Path) -> Json:
    """Return the template of the pods."""
    template: Json = yaml.safe_load(_template(folder).read_text())
    return template


def prepare(kubeconfig: Path, folder: Path, namespaces: tuple[str, ...]) -> None:
    """Make the namespaces, and the ServiceAccount of the transcoders."""
    account = read(folder)["spec"]["serviceAccountName"]
    objects: list[Json] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in (WORK, *namespaces)
    ]
    objects += [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": WORK}}]
    file = folder / "objects.yaml"
    file.write_text(yaml.safe_dump_all(objects))
    kubectl(kubeconfig, "apply", "-f", str(file))


def _template(folder: Path) -> Path:
    return folder / "pod.yaml"
