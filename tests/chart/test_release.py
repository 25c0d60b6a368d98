"""What a release does to objects that were there before it, on a real API server."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import apiserver
from media_operator import uninstall
from media_operator.definitions import upgrade
from media_operator.settings import DefinitionSettings, ReleaseSettings

CHART = Path(__file__).parents[2] / "charts/media-operator"
NAMESPACE = "media-system"
MARKER = "media-operator.io/is-default-profile"
Json = dict[str, Any]
Release = Callable[..., None]


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with apiserver.start(tmp_path_factory.mktemp("api")) as found:
        # The chart brings these, and its profiles, itself.
        apiserver.kubectl(found, "delete", "--filename", str(apiserver.CRDS))
        yield found


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """Return a copy of the chart, of which another version can be made."""
    return shutil.copytree(CHART, tmp_path / "chart")


@pytest.fixture
def release(helm: Callable[..., Any], minimal: Json, kubeconfig: Path, chart: Path) -> Release:
    """Return how to do something to the release `media`, with what is set."""

    def run(action: str, *arguments: str, **values: Json) -> None:
        takes_values = action in ("install", "upgrade")
        source = [str(chart)] if takes_values else []
        place = ["--namespace", NAMESPACE, "--kubeconfig", str(kubeconfig)]
        # Nothing runs Jobs here.
        given = {**minimal, "crds": {"upgrade": False}, **values} if takes_values else None
        done = helm(action, "media", *source, *arguments, *place, values=given)
        assert not done.returncode, done.stderr

    return run


def profiles(kubeconfig: Path) -> dict[str, Json]:
    found = json.loads(apiserver.kubectl(kubeconfig, "get", "mediaprofiles", "--output=json"))["items"]
    return {each["metadata"]["name"]: each for each in found}


def test_built_in_profiles_are_never_gone_from_their_first_install_on(
    release: Release, kubeconfig: Path, chart: Path
) -> None:
    release("install", "--create-namespace")
    first = {name: each["metadata"]["uid"] for name, each in profiles(kubeconfig).items()}
    assert set(first) == {path.stem for path in (chart / "files/profiles").glob("*.yaml")}

    def check(default: list[str]) -> None:
        found = profiles(kubeconfig)
        assert {name: each["metadata"]["uid"] for name, each in found.items()} == first
        assert [name for name, each in found.items() if MARKER in each["metadata"]["annotations"]] == default

    check(["web"])
    web = chart / "files/profiles/web.yaml"
    web.write_text(web.read_text().replace("quality: 80", "quality: 81"))
    release("upgrade", profiles={"default": "original"})
    check(["original"])
    qualities = {each.get("quality") for each in profiles(kubeconfig)["web"]["spec"]["renditions"]}
    assert 81 in qualities
    assert 80 not in qualities
    release("upgrade")
    check(["web"])
    release("rollback", "1")
    check(["web"])
    release("upgrade", profiles={"default": ""})
    check([])
    release("rollback", "3")
    check(["web"])
    # Only the cluster's controllers could do the work of the Job before the deletion.
    release("uninstall", "--no-hooks")
    check(["web"])
    release("install")
    check(["web"])


def definition(kubeconfig: Path) -> Json:
    found = apiserver.kubectl(kubeconfig, "get", "crd", "mediaassets.media-operator.io", "--output=json")
    schema: Json = json.loads(found)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return schema


async def test_a_newer_release_brings_its_fields_and_neither_a_rollback_nor_an_older_one_takes_them(
    release: Release, kubeconfig: Path, chart: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    newer = shutil.copytree(chart / "crds", tmp_path / "newer")
    older = chart / "crds/mediaassets.yaml"
    body = yaml.safe_load(older.read_text())
    spec = body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    del spec["properties"]["altText"], spec["properties"]["type"]["enum"][0]
    older.write_text(yaml.safe_dump(body))
    apiserver.kubectl(kubeconfig, "delete", "--ignore-not-found", "--filename", str(newer))
    apiserver.kubectl(kubeconfig, "delete", "secrets", "-n", NAMESPACE, "--ignore-not-found", "--selector=owner=helm")
    release("install", "--create-namespace")
    assert "altText" not in definition(kubeconfig)["properties"]
    release("upgrade", publicBaseURL="https://new.example.org")
    # What the Job before that upgrade does.
    await upgrade(DefinitionSettings(definitions=newer))
    asset = {
        "apiVersion": "media-operator.io/v1alpha1",
        "kind": "MediaAsset",
        "metadata": {"name": "new", "namespace": "default"},
        "spec": {"source": {"url": "https://example.org/a"}, "altText": "of a newer release"},
    }
    file = tmp_path / "asset.json"
    file.write_text(json.dumps(asset))
    apiserver.kubectl(kubeconfig, "create", "--filename", str(file))
    new = definition(kubeconfig)
    release("rollback", "1")
    await upgrade(DefinitionSettings(definitions=chart / "crds"))
    release("uninstall", "--no-hooks")
    assert definition(kubeconfig) == new
    apiserver.kubectl(kubeconfig, "label", "mediaasset", "new", "written=again")
    kept = json.loads(apiserver.kubectl(kubeconfig, "get", "mediaasset", "new", "--output=json"))
    assert kept["spec"]["altText"] == "of a newer release"


async def test_who_wants_no_definition_to_stay_has_them_deleted_when_the_release_goes(
    release: Release, kubeconfig: Path, chart: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    names = [yaml.safe_load(file.read_text())["metadata"]["name"] for file in sorted((chart / "crds").iterdir())]
    release("install", "--create-namespace", crds={"upgrade": False, "keep": False})
    # What the Job before the uninstall does; a second one, after a failure, finds nothing more.
    for _ in range(2):
        await uninstall.release(ReleaseSettings(definitions=tuple(names)))
        apiserver.kubectl(kubeconfig, "wait", "--for=delete", "--timeout=60s", *(f"crd/{name}" for name in names))
    release("uninstall", "--no-hooks")
    # The next install makes them again.
    release("install")
    assert profiles(kubeconfig)
