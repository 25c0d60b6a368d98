"""What is asked changes: the profile, the spec, or that something be made again; and what is made again then."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster import ASSETS, Json
from installed import Installed
from mediaasset.names import API_VERSION, PROFILE_KIND, REPROCESS_ANNOTATION, REPROCESS_RENDITIONS_ANNOTATION
from mediaasset.reasons import Reason
from service import wait_for

PHOTO = (Path(__file__).parents[1] / "data/photo.jpg").read_bytes()

#: What follows from the bytes of a rendition.
BYTES = dict.fromkeys(("key", "url", "sha256", "sizeBytes"))


def change(media: Installed, name: str, width: int, **limits: int) -> None:
    """Have a profile of two pictures, of which one is so wide, with limits for pictures."""
    renditions = [
        {"name": "small", "for": "Image", "format": "JPEG", "width": 64, "height": 64},
        {"name": "other", "for": "Image", "format": "JPEG", "width": width, "height": width},
    ]
    spec = {"renditions": renditions, "limits": {"Image": limits}}
    body = {"apiVersion": API_VERSION, "kind": PROFILE_KIND, "metadata": {"name": name}, "spec": spec}
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
    # The first Job may have been stopped when it had done its work and not yet said so.
    assert tasks(media, asset) | {1: ["small", "other"]} == {1: ["small", "other"], 2: ["other"]}
    assert made(after)["other"]["width"] == 120
    assert made(after)["small"] == before["small"]
    # The old public object stays as long as the asset is public.
    keys = {made(after)[name]["key"] for name in before} | {before["other"]["key"]}
    assert set(media.objects(f"media/shop/assets/{after['metadata']['uid']}/")) == keys
    assert media.asset(stays)["status"] == alone["status"]


def test_one_rendition_is_made_again_alone(media: Installed, profile: str) -> None:
    name = media.apply(PHOTO, profileName=profile)
    before = media.ready(name)
    asked = (f"{REPROCESS_ANNOTATION}=2026-01-01T00:00:00Z", f"{REPROCESS_RENDITIONS_ANNOTATION}=small")
    media.cluster.kubectl("annotate", ASSETS, name, "-n", "shop", *asked)
    wait_for(lambda: media.asset(name)["status"]["attempt"] == 2, what="the second attempt")
    after = media.ready(name)
    # The first Job may have been stopped when it had done its work and not yet said so.
    assert tasks(media, after) | {1: ["small", "other"]} == {1: ["small", "other"], 2: ["small"]}
    assert made(after)["other"] == made(before)["other"]
    # Made alone it comes from the source, and not from the next larger one: its bytes, and so its URL, may differ.
    assert {**made(after)["small"], **BYTES} == {**made(before)["small"], **BYTES}
    assert made(before)["small"]["key"] in media.objects(f"media/shop/assets/{after['metadata']['uid']}/")
    assert after["status"]["lastHandledReprocess"] == "2026-01-01T00:00:00Z"


def stalled_for(media: Installed, name: str, reason: Reason) -> None:
    conditions = {each["type"]: each for each in media.stalled(name)["status"]["conditions"]}
    assert (conditions["Stalled"]["reason"], conditions["Ready"]["reason"]) == (reason, reason)


#: What is asked first and in the end, what in between, and what that ends with.
GOOD_AND_BAD: dict[str, tuple[Any, Any, Reason]] = {
    "type": ("Image", "Video", Reason.TYPE_MISMATCH),
    "renditions": (
        [{"name": "small", "for": "Image", "format": "JPEG", "width": 64}],
        [{"name": "small", "for": "Image", "format": "JPEG", "width": 64, "channel": "MetaCatalog"}],
        Reason.CHANNEL_RULE,
    ),
    "profileName": ("web", "nowhere", Reason.PROFILE_NOT_FOUND),
}


def test_what_is_corrected_gets_an_asset_moving_whether_it_worked_before_or_not(media: Installed, profile: str) -> None:
    change(media, profile, 100, maxBytes=100_000)
    too_large = media.apply(PHOTO, profileName=profile)
    assets = {field: media.apply(PHOTO, **{field: good}) for field, (good, _, _) in GOOD_AND_BAD.items()}
    before = {field: media.ready(name) for field, name in assets.items()}
    for field, (_, bad, _) in GOOD_AND_BAD.items():
        media.patch(assets[field], {field: bad})
    stalled_for(media, too_large, Reason.SOURCE_TOO_LARGE)
    change(media, profile, 100)
    for field, (_, _, reason) in GOOD_AND_BAD.items():
        stalled_for(media, assets[field], reason)
    for field, (good, _, _) in GOOD_AND_BAD.items():
        media.patch(assets[field], {field: good})
    for field, name in assets.items():
        after = media.ready(name)
        assert "Stalled" not in {each["type"] for each in after["status"]["conditions"]}, field
        assert after["status"]["renditions"] == before[field]["status"]["renditions"], field
        assert after["status"]["failedAttempts"] == 0
    # Nobody touched it: it is the profile that was corrected.
    assert {each["name"] for each in media.ready(too_large)["status"]["renditions"]} == {"small", "other"}
