"""Images into the node: those of buildah's local storage by the registry, and the one that every pod starts with."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

from hack.cluster.layout import NODE_IP, REGISTRY_PORT, Cluster, ClusterError, environment
from hack.cluster.node import inside
from hack.cluster.tools import cache, go, once, run

_PAUSE_SOURCE = Path(__file__).with_name("pause.go")


def normalize(image: str) -> str:
    """Return the full name of an image: what containerd calls it when a pod asks for the short one."""
    host, slash, rest = image.partition("/")
    if not slash:
        full = f"docker.io/library/{image}"
    elif "." in host or ":" in host or host == "localhost":
        full = image
    else:
        full = f"docker.io/{host}/{rest}"
    return full if ":" in full.rpartition("/")[2] or "@" in full else f"{full}:latest"


def load(cluster: Cluster, image: str) -> None:
    """Copy an image of the local storage to the node, under the same name; only layers that it lacks move.

    Raises:
        ClusterError: there is no such image, or it cannot be copied.

    """
    full = normalize(image)
    # What buildah built is named localhost/…, which a pod asks for as docker.io/…; to a user it is one image.
    local = next((name for name in (image, full) if _buildah("inspect", "--type=image", name).returncode == 0), None)
    if local is None:
        message = f'image: "{image}" not present locally'
        raise ClusterError(message)
    path = full.partition("/")[2]
    pushed = _buildah("push", "--quiet", "--tls-verify=false", local, f"docker://{NODE_IP}:{REGISTRY_PORT}/{path}")
    if pushed.returncode:
        message = f'image: "{image}" cannot be pushed: {pushed.stderr.strip()[-2000:]}'
        raise ClusterError(message)
    # The registry is the node's own, and containerd speaks plain HTTP to localhost.
    source = f"localhost:{REGISTRY_PORT}/{path}"
    ctr = ("ctr", "--namespace=k8s.io", "images")
    inside(cluster, *ctr, "pull", source)
    inside(cluster, *ctr, "tag", "--force", source, full)


def _buildah(*arguments: str) -> subprocess.CompletedProcess[str]:
    storage = {name: value for name, value in os.environ.items() if name.startswith("STORAGE_")}
    settings = environment() | {"STORAGE_DRIVER": "overlay"} | storage
    command = ["buildah", *arguments]
    return subprocess.run(command, env=settings, capture_output=True, text=True, check=False)


def pause() -> tuple[str, Path]:
    """Return the name and the archive of the image that holds a pod's namespaces; build it when it is new."""
    key = hashlib.sha256(_PAUSE_SOURCE.read_bytes()).hexdigest()[:12]
    home = cache() / "tools" / f"pause-{key}"
    name = f"media-operator.local/pause:{key}"
    if not home.exists():
        once(home, lambda made: _build_pause(made, name))
    return name, home / "pause.tar"


def _build_pause(home: Path, name: str) -> None:
    binary = home / "pause"
    run([go(), "build", "-trimpath", "-ldflags=-s -w", "-o", str(binary), str(_PAUSE_SOURCE)], home)
    machine = run([go(), "env", "GOARCH"], home).strip()
    (home / "pause.tar").write_bytes(archive(name, machine, binary.read_bytes()))


def archive(name: str, machine: str, program: bytes) -> bytes:
    """Return an image that holds one static program, as a file that `ctr images import` takes."""
    layer = _tar({"program": program}, 0o755)
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]}
    config = {"Entrypoint": ["/program"], "User": "65535:65535"}
    image = {"architecture": machine, "os": "linux", "config": config, "rootfs": rootfs}
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    files = {"manifest.json": json.dumps(manifest), "config.json": json.dumps(image)}
    return _tar({name: text.encode() for name, text in files.items()} | {"layer.tar": layer}, 0o644)


def _tar(files: dict[str, bytes], mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), mode
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
