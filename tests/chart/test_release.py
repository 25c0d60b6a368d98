"""What a release does to objects that were there before it, on a real API server."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import apiserver

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
        given = {**minimal, **values} if takes_values else None
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
    # The first revision had them as hooks: of what is not in it, they alone stay.
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
