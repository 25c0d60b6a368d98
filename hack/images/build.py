#!/usr/bin/env python3
"""Build the images from the Dockerfiles beside the code, with buildah, docker or podman, whichever is there first.

    build.py [--tag TAG] [--fresh] [--program PROGRAM] [COMPONENT ...]     all by default

They become media-operator/COMPONENT:TAG, in the storage of the program that built them.

What `docker build -f operator/Dockerfile .` does, does this too; it adds what a machine without a Docker daemon or an
image registry needs. The base image is made from Debian's packages where it cannot be pulled. How this machine's apt,
pip and TLS reach the package registries is passed on as a folder that is mounted at /mnt during the build and as
build arguments that name files in it; nothing of it stays in an image. Only the standard library is needed.
"""

from __future__ import annotations

import argparse
import configparser
import os
import resource
import shlex
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_ROOT = Path(__file__).resolve().parents[2]
_SUITE = "trixie"
_BASE = f"docker.io/library/debian:{_SUITE}-slim"
COMPONENTS = {
    "operator": "operator",
    "ingest": "services/ingest",
    "transcoder": "services/transcoder",
    "gateway": "gateway",
}
#: In order of preference.
_PROGRAMS = ("buildah", "docker", "podman")
_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")
#: What Debian's own slim image leaves out, and what it keeps of that: the licences.
_SLIM = (
    *(f"path-exclude=/usr/share/{name}/*" for name in ("doc", "groff", "info", "linda", "lintian", "locale", "man")),
    "path-include=/usr/share/doc/*/copyright",
)


class BuildError(Exception):
    """An image could not be built; the text says why and what to do."""


class Machine(NamedTuple):
    """How clients on this machine reach package registries: build arguments, and folders to mount (host, image)."""

    arguments: dict[str, str]
    volumes: list[tuple[str, str]]


def main() -> int:
    """Build what the command line names; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tag", default=os.environ.get("TAG") or "dev")
    parser.add_argument("--fresh", action="store_true", help="use no layer of an earlier build, for security updates")
    parser.add_argument("--program", choices=_PROGRAMS, help="what builds, and has the images then")
    parser.add_argument("components", nargs="*", metavar="COMPONENT", help=", ".join(COMPONENTS))
    options = parser.parse_args()
    if unknown := set(options.components) - set(COMPONENTS):
        parser.error(f"no such component: {', '.join(sorted(unknown))}; there are {', '.join(COMPONENTS)}")
    try:
        program = _program(options.program)
        with _machine() as machine:
            _have_base(program, fresh=options.fresh)
            for component in options.components or COMPONENTS:
                _build(program, machine, component, options.tag, fresh=options.fresh)
    except BuildError as error:
        _say(str(error))
        return 1
    except subprocess.CalledProcessError as error:
        _say(f"failed with {error.returncode}: {shlex.join(map(str, error.cmd))}")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _build(program: str, machine: Machine, component: str, tag: str, *, fresh: bool) -> None:
    name = f"media-operator/{component}:{tag}"
    arguments = dict(machine.arguments)
    labels = {"org.opencontainers.image.version": tag, "org.opencontainers.image.revision": _revision()}
    command = [program, "build", "--file", str(_ROOT / COMPONENTS[component] / "Dockerfile"), "--tag", name]
    if program == "docker":
        # It takes no mounts from outside, so only proxies reach its builds; the others pass those by themselves.
        arguments = {key: os.environ[key] for key in _PROXIES if key in os.environ}
    else:
        # Each RUN is cached as a layer; docker knows no other way. The base was looked for before.
        command += ["--layers", "--pull=never"]
        command += [word for volume in machine.volumes for word in ("--volume", ":".join((*volume, "ro")))]
    if program == "buildah":
        # To raise a limit takes a right that a container may lack: since trixie buildah would raise them to its own
        # defaults, before trixie it lowers the second to this one first.
        for limit, number, most in (
            ("nofile", resource.RLIMIT_NOFILE, 1_048_576),
            ("nproc", resource.RLIMIT_NPROC, 32_768),
        ):
            soft, hard = (
                most if own == resource.RLIM_INFINITY else min(own, most) for own in resource.getrlimit(number)
            )
            command.append(f"--ulimit={limit}={soft}:{hard}")
    command += ["--no-cache"] if fresh else []
    command += [word for item in arguments.items() for word in ("--build-arg", "=".join(item))]
    command += ["--build-arg", f"UV={_versions()['UV']}"] if component != "gateway" else []
    command += [word for item in labels.items() for word in ("--label", "=".join(item))]
    began = time.monotonic()
    _run([*command, str(_ROOT)])
    _say(f"built {name} in {time.monotonic() - began:.1f} s")


def _program(wanted: str | None) -> str:
    """Return the program that builds; buildah is installed where that is possible without asking."""
    program = next((name for name in ([wanted] if wanted else _PROGRAMS) if shutil.which(name)), None)
    if not program and wanted in {None, "buildah"} and _apt_install("buildah", "netavark"):
        # Debian's buildah only recommends the second, without which it does not start since trixie.
        program = "buildah"
    if not program:
        advice = "buildah, docker or podman is needed. On Debian: sudo apt-get install buildah netavark"
        message = advice if wanted in {None, "buildah"} else f"{wanted} is not in PATH"
        raise BuildError(message)
    if program == "buildah":
        # Runs without a container runtime, and inside a container; the rights of a build are the caller's.
        os.environ.setdefault("BUILDAH_ISOLATION", "chroot")
        if os.geteuid() == 0:
            os.environ.setdefault("STORAGE_DRIVER", "overlay")
    return program


def _have_base(program: str, *, fresh: bool) -> None:
    """Have the base image in the local storage: by pulling it, else made from Debian's packages."""
    if program == "docker":
        return  # Its build pulls by itself.
    if not fresh and _succeeds([program, "inspect", *(["--type=image"] if program == "buildah" else []), _BASE]):
        return
    if _succeeds([program, "pull", "--quiet", _BASE]):
        return
    if program != "buildah" or not shutil.which("apt-get"):
        message = f"{_BASE} cannot be pulled. On Debian with buildah it can be made instead."
        raise BuildError(message)
    _say(f"{_BASE} cannot be pulled: making it from the packages of Debian")
    if not shutil.which("mmdebstrap") and not _apt_install("mmdebstrap"):
        message = "mmdebstrap is needed to make the base image: sudo apt-get install mmdebstrap"
        raise BuildError(message)
    sources = _debian_sources()
    if not sources:
        message = (
            f"{_BASE} cannot be pulled, and apt of this machine is set up with no mirror of Debian to make it from."
        )
        raise BuildError(message)
    with tempfile.TemporaryDirectory(prefix="media-images-") as name:
        archive = Path(name) / "base.tar"
        command = ["mmdebstrap", "--quiet", "--variant=minbase", *(f"--dpkgopt={option}" for option in _SLIM)]
        # The mirror is this machine's business. An image that is built upon the base has no sources of its own.
        command += ['--customize-hook=rm -f "$1"/etc/apt/sources.list "$1"/etc/resolv.conf "$1"/etc/hostname']
        command += ['--customize-hook=rm -rf "$1"/var/cache/apt/* "$1"/var/log/*']
        _run([*command, _SUITE, str(archive), *sources])
        container = _output(["buildah", "from", "scratch"])
        try:
            _run(["buildah", "add", "--quiet", container, str(archive)])
            _run(["buildah", "config", "--cmd", "bash", "--env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", container])
            _run(["buildah", "commit", "--quiet", container, _BASE])
        finally:
            _run(["buildah", "rm", container])


@contextmanager
def _machine() -> Iterator[Machine]:
    """Yield this machine's ways to the registries, as a folder that lives as long as the build."""
    with tempfile.TemporaryDirectory(prefix="media-images-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        arguments, volumes = {}, [(name, "/mnt")]
        apt = ['Dir::Etc::SourceParts "/mnt/none";', 'Dir::Etc::SourceList "/mnt/sources.list";']
        pip = _pip_settings()
        bundle = os.environ.get("SSL_CERT_FILE") or pip.get("cert") or ssl.get_default_verify_paths().cafile
        if bundle and Path(bundle).is_file():
            shutil.copy(bundle, folder / "ca.crt")
            arguments["SSL_CERT_FILE"] = pip["cert"] = "/mnt/ca.crt"
            apt.append('Acquire::https::CAInfo "/mnt/ca.crt";')
        found = [place for place in pip.get("find-links", "").split() if Path(place).is_dir()]
        for number, place in enumerate(found):
            (folder / f"wheels{number}").mkdir()
            volumes.append((place, f"/mnt/wheels{number}"))
        pip["find-links"] = " ".join(f"/mnt/wheels{number}" for number in range(len(found)))
        lines = [f"{key} = {value}" for key, value in pip.items() if value]
        # The URL of an index may hold a password.
        (folder / "pip.conf").touch(mode=0o600)
        (folder / "pip.conf").write_text("\n".join(["[global]", *lines, ""]))
        arguments["PIP_CONFIG_FILE"] = "/mnt/pip.conf"
        if sources := _debian_sources():
            (folder / "none").mkdir()
            (folder / "sources.list").write_text("\n".join([*sources, ""]))
            proxies = _output(["apt-config", "dump", "--format", '%F "%v";%n', "Acquire"]).splitlines()
            apt += [line for line in proxies if "::proxy" in line.lower() and not line.endswith('"";')]
            (folder / "apt.conf").write_text("\n".join([*apt, ""]))
            arguments["APT_CONFIG"] = "/mnt/apt.conf"
        yield Machine(arguments, volumes)


def _pip_settings() -> dict[str, str]:
    """Return what pip on this machine is told about where packages come from; the environment wins over files.

    Read from where pip reads it, as the Python that runs this may have no pip: a venv that uv made has none.
    """
    home, roots = Path.home(), os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    own = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    files = [Path(root) / "pip/pip.conf" for root in roots.split(":")]
    files += [Path("/etc/pip.conf"), home / ".pip/pip.conf", own / "pip/pip.conf"]
    named = os.environ.get("PIP_CONFIG_FILE", "")
    parser = configparser.RawConfigParser()
    # The one that is named comes last, and as /dev/null it means none at all.
    parser.read([] if named == os.devnull else [*files, named], encoding="utf-8")
    settings: dict[str, str] = {}
    for section in ("global", "install"):
        settings |= dict(parser[section]) if section in parser else {}
    # A machine may be set up for uv alone; pip's own word comes later, and wins.
    for variable in ("UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"):
        if value := os.environ.get(variable):
            key = variable.removeprefix("UV_").lower().replace("_", "-")
            settings.setdefault("index-url" if key == "default-index" else key, value.replace(",", " "))
    settings |= {
        name.removeprefix("PIP_").lower().replace("_", "-"): value
        for name, value in os.environ.items()
        if name.startswith("PIP_")
    }
    wanted = (
        "cert",
        "index-url",
        "extra-index-url",
        "find-links",
        "trusted-host",
        "proxy",
        "timeout",
        "default-timeout",
    )
    return {key: " ".join(settings[key].split()) for key in wanted if settings.get(key, "").strip()}


def _debian_sources() -> list[str]:
    """Return lines of sources.list for our release of Debian from the mirrors that apt is set up with, if any."""
    if not shutil.which("apt-get"):
        return []
    # The origin is known only once there are lists.
    query = ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)", "Identifier: Packages"]
    listed = _output(query)
    if "Debian|" not in listed and os.geteuid() == 0:
        _succeeds(["apt-get", "update", "-qq"])
        listed = _output(query)
    lines = []
    for target in dict.fromkeys(listed.splitlines()):
        origin, label, uri = target.split("|")
        if origin == "Debian":
            suites = [f"{_SUITE}-security"] if label == "Debian-Security" else [_SUITE, f"{_SUITE}-updates"]
            keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
            lines += [f"deb [signed-by={keyring}] {uri} {suite} main" for suite in suites]
    return lines


def _apt_install(*packages: str) -> bool:
    return subprocess.run([_ROOT / "hack/apt.sh", *packages], check=False, stdin=subprocess.DEVNULL).returncode == 0


def _versions() -> dict[str, str]:
    lines = (_ROOT / "hack/versions.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def _revision() -> str:
    command = ["git", "-C", str(_ROOT), "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def _output(command: Sequence[str]) -> str:
    return subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout.strip()


def _succeeds(command: Sequence[str]) -> bool:
    return subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0


def _say(text: str) -> None:
    print(f"images: {text}", file=sys.stderr, flush=True)  # noqa: T201 - the person at the terminal is the reader


if __name__ == "__main__":
    sys.exit(main())
