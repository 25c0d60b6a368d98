"""The wheel holds every program and what it reads, and an extra installs no more than its program."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = {"mediaasset", "media_operator", "media_ingest", "media_transcoder", "media_standalone", "media_cli"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    target = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", target], cwd=ROOT, check=True)
    (built,) = target.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        return archive.namelist()


def test_the_wheel_holds_every_package_at_the_top(wheel: list[str]) -> None:
    assert {name.split("/")[0] for name in wheel if name.endswith("/__init__.py") and name.count("/") == 1} == PACKAGES


def test_the_wheel_holds_every_module_and_what_it_reads(wheel: list[str]) -> None:
    folders = [
        path.parent
        for path in ROOT.glob("**/__init__.py")
        if path.parent.name in PACKAGES and ".venv" not in path.parts
    ]
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and path.suffix in {".py", ".yaml"}:
                assert f"{folder.name}/{path.relative_to(folder)}" in wheel
    assert "media_standalone/profiles/web.yaml" in wheel


@pytest.mark.parametrize(
    ("extra", "absent"),
    [
        ("transcoder", {"kopf", "kubernetes", "pydantic", "starlette", "boto3"}),
        ("cli", {"pillow", "starlette", "kopf"}),
    ],
)
def test_an_extra_installs_only_its_program(extra: str, absent: set[str]) -> None:
    locked = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    packages = {package["name"]: package for package in locked}
    names, queue = set[str](), [item["name"] for item in packages["media-operator"]["optional-dependencies"][extra]]
    while queue:
        name = queue.pop()
        if name not in names:
            names.add(name)
            queue += [item["name"] for item in packages[name].get("dependencies", [])]
    assert names
    assert not names & absent
