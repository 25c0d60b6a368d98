"""A profile that changes: who follows it, and what is made again."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import Json
from installed import Installed
from mediaasset.names import API_VERSION, PROFILE_KIND
from service import wait_for

PHOTO = (Path(__file__).parents[1] / "data/photo.jpg").read_bytes()


def change(media: Installed, name: str, width: int) -> None:
    """Have a profile of two pictures, of which one is so wide."""
    renditions = [
        {"name": "small", "for": "Image", "format": "JPEG", "width": 64, "height": 64},
        {"name": "other", "for": "Image", "format": "JPEG", "width": width, "height": width},
    ]
    metadata = {"name": name}
    body = {"apiVersion": API_VERSION, "kind": PROFILE_KIND, "metadata": metadata, "spec": {"renditions": renditions}}
    media.cluster.apply(body)


@pytest.fixture
def profile(media: Installed) -> Iterator[str]:
    name = f"e2e-{secrets.token_hex(4)}"
    change(media, name, 100)
    yield name
    media.cluster.kubectl("delete", "mediaprofile", name)


def made(asset: Json) -> dict[str, Json]:
    return {each["name"]: each for each in asset["status"]["renditions"]}


def tasks(media: Installed, asset: Json) -> dict[int, list[str]]:
    """Return the renditions that each attempt was to make."""
    found = {}
    for job in media.jobs(asset["metadata"]["uid"]):
        (container,) = job["spec"]["template"]["spec"]["containers"]
        (task,) = [json.loads(each["value"]) for each in container["env"] if each["name"] == "MEDIA_TASK"]
        found[task["attempt"]] = [each["name"] for each in task["renditions"]]
    return found


def test_changed_profile_has_only_followers_made_anew_and_of_them_only_what_changed(
    media: Installed, profile: str
) -> None:
    spec = {"profileName": profile}
    follows = media.apply(PHOTO, **spec, profileUpdatePolicy="Follow")
    stays = media.apply(PHOTO, **spec)
    before, alone = made(media.ready(follows)), media.ready(stays)
    change(media, profile, 120)
    asset = wait_for(
        lambda: found if (found := media.asset(follows))["status"]["attempt"] == 2 else None, what="the second attempt"
    )
    after = media.ready(follows)
    assert tasks(media, asset) == {1: ["small", "other"], 2: ["other"]}
    assert made(after)["other"]["width"] == 120
    assert made(after)["small"] == before["small"]
    # The old public object stays as long as the asset is public.
    keys = {made(after)[name]["key"] for name in before} | {before["other"]["key"]}
    assert set(media.objects(f"media/shop/assets/{after['metadata']['uid']}/")) == keys
    assert media.asset(stays)["status"] == alone["status"]
