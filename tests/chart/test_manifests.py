"""What people apply without Helm."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mediaasset import keys
from mediaasset.spec import MediaAsset, MediaProfile

ROOT = Path(__file__).parents[2]
SAMPLES = sorted((ROOT / "manifests/samples").glob("*.yaml"))
Json = dict[str, Any]


def documents(path: Path) -> list[Json]:
    return list(yaml.safe_load_all(path.read_text()))


@pytest.mark.parametrize("program", ["manifests.py", "reference.py"])
def test_what_is_made_of_the_chart_is_what_it_gives(program: str) -> None:
    command = [sys.executable, str(ROOT / "hack" / program), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr


def test_a_value_that_nothing_explains_is_named(tmp_path: Path) -> None:
    copied = shutil.copytree(ROOT / "charts", tmp_path / "charts")
    file = copied / "media-operator/values.yaml"
    file.write_text(f"{file.read_text()}\nnew:\n  # new.one is explained.\n  one: 1\n  two: 2\n")
    shutil.copytree(ROOT / "hack", tmp_path / "hack", ignore=shutil.ignore_patterns("cluster"))
    command = [sys.executable, str(tmp_path / "hack/reference.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "values.yaml explains nothing of: new.two\n")


def test_the_manifests_can_be_applied_in_one_go() -> None:
    install = documents(ROOT / "manifests/install.yaml")
    kinds = [body["kind"] for body in install]
    # kubectl applies in the order of the file, and knows the kinds that were there before.
    assert kinds[:2] == ["Namespace", "Namespace"]
    assert "MediaProfile" not in kinds
    assert {body["kind"] for body in documents(ROOT / "manifests/profiles.yaml")} == {"MediaProfile"}
    made = {body["metadata"]["name"] for body in install if body["kind"] == "Namespace"}
    assert {body["metadata"]["namespace"] for body in install if "namespace" in body["metadata"]} <= made


def test_the_manifests_hold_nothing_of_helm() -> None:
    for name in ("install.yaml", "profiles.yaml"):
        text = (ROOT / "manifests" / name).read_text()
        assert "helm" not in text.lower().replace("helm is", "")


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_samples_are_valid_and_say_what_they_are(sample: Path) -> None:
    [body] = documents(sample)
    assert sample.read_text().startswith("# ")
    assert "namespace" not in body["metadata"]
    if body["kind"] == "MediaProfile":
        MediaProfile.model_validate(body)
        return
    asset = MediaAsset.model_validate(body)
    assert asset.metadata.name == sample.stem
    source = asset.spec.source.object
    if source is not None:
        assert keys.may_read_source(source.key, "default")
        assert source.key in sample.read_text().split("apiVersion")[0], "the comment says where to put the object"


def test_samples_show_every_way() -> None:
    assert {path.stem for path in SAMPLES} == {
        "catalog-photo",
        "film",
        "inline-renditions",
        "photo",
        "private",
        "profile",
        "retained",
        "stalled",
        "url",
        "video",
        "whatsapp-video",
    }


def test_the_values_of_the_documentation_can_be_installed(helm: Callable[..., Any]) -> None:
    [values] = re.findall(r"```yaml\n(# values.yaml\n.*?)```", (ROOT / "docs/install.md").read_text(), re.DOTALL)
    done = helm("template", "media", str(ROOT / "charts/media-operator"), values=yaml.safe_load(values))
    assert not done.returncode, done.stderr
    assert 'host: "media.example.org"' in done.stdout
