"""The manifests that people are given: applied as they are, and waited for as their comments say."""

import re
from pathlib import Path

import pytest
import yaml

from cluster import ASSETS
from installed import Installed

SAMPLES = Path(__file__).parents[2] / "manifests/samples"
PHOTO = (Path(__file__).parents[1] / "data/photo.jpg").read_bytes()
NAMESPACE = "default"
OF_A_PHOTO = ["photo", "inline-renditions", "private", "retained", "catalog-photo"]
OF_A_CLIP = ["video", "whatsapp-video", "film"]
READY = [*OF_A_PHOTO, *OF_A_CLIP]


@pytest.mark.parametrize("name", READY)
def test_sample_becomes_ready(media: Installed, clip: Path, name: str) -> None:
    text = (SAMPLES / f"{name}.yaml").read_text()
    key = yaml.safe_load(text)["spec"]["source"]["object"]["key"]
    media.put(key, clip.read_bytes() if name in OF_A_CLIP else PHOTO)
    media.cluster.kubectl("apply", "-n", NAMESPACE, "-f", str(SAMPLES / f"{name}.yaml"))
    assert media.ready(name, NAMESPACE)["status"]["conditions"]
    media.cluster.kubectl("delete", ASSETS, name, "-n", NAMESPACE)


def test_sample_of_a_failure_is_stalled(media: Installed) -> None:
    media.cluster.kubectl("apply", "-n", NAMESPACE, "-f", str(SAMPLES / "stalled.yaml"))
    media.stalled("stalled", NAMESPACE)
    media.cluster.kubectl("delete", ASSETS, "stalled", "-n", NAMESPACE)


def test_sample_of_a_url_becomes_ready_with_a_url_that_can_be_reached(media: Installed) -> None:
    source = media.ready(media.apply(PHOTO))["status"]["url"]
    text, count = re.subn(r"url: https://\S+", f"url: {source}", (SAMPLES / "url.yaml").read_text())
    assert count == 1
    media.cluster.kubectl("apply", "-n", NAMESPACE, "-f", "-", stdin=text)
    media.ready("url", NAMESPACE)
    media.cluster.kubectl("delete", ASSETS, "url", "-n", NAMESPACE)


def test_sample_of_a_profile_is_followed(media: Installed) -> None:
    media.cluster.kubectl("apply", "-f", str(SAMPLES / "profile.yaml"))
    name = media.apply(PHOTO, profileName="catalog")
    renditions = media.ready(name)["status"]["renditions"]
    assert {each["name"] for each in renditions} == {"square", "small"}


def test_every_sample_is_tried() -> None:
    assert {path.stem for path in SAMPLES.glob("*.yaml")} == {*READY, "stalled", "url", "profile"}
