"""Every field of the spec by itself: set, changed, taken away, at its bounds, wrong and right again.

The effect is looked for in what the real transcoder published, and held to a fresh asset that was made so at once: how
an asset came to its spec must not matter.
"""

import io
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from PIL import Image

import apiserver
import films
import pictures
import scene as scenes
from kubeclient import Json
from mediaasset import keys
from scene import ASSETS, NAMESPACE, RENDITIONS, Scene, Servers

CRD = yaml.safe_load((apiserver.CRDS / "mediaassets.yaml").read_text())
SPEC: Json = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
RENDITION: Json = SPEC["renditions"]["items"]["properties"]


@dataclass(frozen=True)
class Field:
    """Two values that differ in what they lead to, and what else must be asked for so that they do."""

    name: str
    first: object
    second: object
    #: The rest of the spec, or of the one rendition.
    base: Json
    media: str = "Image"


def of_spec(name: str, first: object, second: object, **base: object) -> Field:
    return Field(name, first, second, base)


#: What people read, and no program here acts on.
SHOWN = {
    "collection": ("ads/1", "ads/2"),
    "order": (1, 2),
    "userID": ("42", "43"),
    "originalFileName": ("a.jpg", "b.jpg"),
    "altText": ("a", "b"),
    "caption": ("a", "b"),
    "metadata": ({"a": "1"}, {"a": None, "b": "2"}),
}
WORKING = [
    of_spec("type", "Image", "Document"),
    of_spec("profileName", "web", "original", renditions=None),
    of_spec("renditions", RENDITIONS[:1], RENDITIONS[1:], profileName="original"),
    of_spec("visibility", "Public", "Private"),
]
#: What these do is seen in tests of their own, here or where it says.
ELSEWHERE = {
    "source": "immutable",
    "publicPath": "immutable",
    "stablePath": "immutable once it is set; test_deaths has its writes",
    "collectionPolicy": "test_a_collection_that_keeps_the_latest",
    "expireSecondsAfterCreation": "test_an_asset_that_expires",
    "expireSecondsAfterFailure": "test_an_asset_that_expires",
    "deletionPolicy": "test_retained_media_stay",
    "suspend": "test_suspended_work_waits",
    "queue": "test_the_queue_is_that_of_the_job",
    "profileUpdatePolicy": "test_a_profile_that_is_followed",
}


def image(name: str, first: object, second: object, **base: object) -> Field:
    return Field(name, first, second, {"name": "x", "for": "Image", "format": "JPEG", **base})


def film(name: str, first: object, second: object, **base: object) -> Field:
    return Field(name, first, second, {"name": "x", "for": "Video", "format": "MP4", "width": 64, **base}, "Video")


BOX: Json = {"width": 96, "height": 96}
TOGGLED = (True, False)
MADE = [
    image("name", "y", "z"),
    image("for", "Video", "Image"),
    image("format", "PNG", "WebP"),
    image("fit", "Cover", "Exact", **BOX),
    image("width", 48, 64),
    image("height", 48, 64),
    image("quality", 10, 95),
    image("maxBytes", 2500, 3500, quality=95),
    image("minSide", 100, 120, **BOX),
    Field("animated", *TOGGLED, {"name": "x", "for": "Image", "format": "WebP"}, "Animation"),
    image("channel", "MetaCatalog", "WhatsApp"),
    image("optional", *TOGGLED, channel="MetaCatalog"),
    film("crf", 20, 45),
    film("preset", "ultrafast", "slow"),
    film("codec", "AV1", "H264"),
    Field("bitrate", 64000, 192000, {"name": "x", "for": "Audio", "format": "MP3"}, "Audio"),
]


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return a small source of each kind of media."""
    folder = tmp_path_factory.mktemp("sources")
    photo, moving = io.BytesIO(), io.BytesIO()
    pictures.scene(300, 200).save(photo, "JPEG", quality=95)
    frames = [pictures.scene(60, 40).rotate(90 * turn) for turn in range(3)]
    frames[0].save(moving, "GIF", save_all=True, append_images=frames[1:], duration=100)
    clip = films.clip(folder / "clip.mov", "-c:v", "mpeg4", picture="testsrc2=s=128x96:r=10:d=1")
    sound = folder / "sound.wav"
    films.ffmpeg("-f", "lavfi", "-i", "sine=d=1", sound)
    return {
        "Image": photo.getvalue(),
        "Animation": moving.getvalue(),
        "Video": clip.read_bytes(),
        "Audio": sound.read_bytes(),
    }


@pytest.fixture(scope="class")
def workshop(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Give one operator to all fields: each has assets of its own."""
    with scenes.scene(servers, tmp_path_factory.mktemp("workshop"), secrets.token_hex(4)) as scene:
        scene.operator.start()
        yield scene


class Outcome:
    """Makes assets of one source and tells what became of each, in words that do not depend on which asset it is."""

    def __init__(self, scene: Scene, source: bytes) -> None:
        self._scene, self._source = scene, source
        scene.kubelet.work = scene.kubelet.transcode

    def create(self, name: str, **spec: object) -> None:
        self._scene.bucket.put(f"uploads/{NAMESPACE}/{name}/source", self._source)
        self._scene.create(name, **{"type": None, **spec})

    def of(self, name: str) -> Json:
        """Wait until an asset is Ready or Stalled; return what it came to."""
        scene = self._scene
        state = scene.until(lambda: (found := scene.state(name)) and not found.get("Reconciling") and found)
        status = (scene.asset(name) or {})["status"]
        published = scene.bucket.keys()
        made = {
            each["name"]: {
                **{part: each.get(part) for part in ("state", "reason", "mimeType", "width", "height", "sizeBytes")},
                "key": scene.plain(each.get("key", "")).replace(f"({name})", "(uid)"),
                "isFound": "key" not in each or each["key"] in published,
                "animated": self._frames(each) > 1,
            }
            for each in status.get("renditions", ())
        }
        return {"state": state, "renditions": made, "source": status.get("sourceInfo")}

    def _frames(self, rendition: Json) -> int:
        if not rendition.get("mimeType", "").startswith("image/"):
            return 0
        with Image.open(io.BytesIO(self._scene.bucket.read(rendition["key"]) or b"")) as picture:
            return int(getattr(picture, "n_frames", 1))

    def check(self, field: Field, first: Json, second: Json, without: Json | None) -> None:
        """Hold an asset that is changed from one spec to the next to assets that are made with each."""
        asset = f"{field.media}-{field.name}".lower()
        specs = [first, second, *([without] if without is not None else [])]
        self.create(asset, **specs[0])
        outcomes = []
        for number, spec in enumerate(specs):
            if number:
                before = specs[number - 1]
                self._scene.change(asset, **{**dict.fromkeys(before), **spec})
            self.create(f"{asset}-{number}", **spec)
            outcomes.append(self.of(asset))
            assert _of_this_spec(outcomes[-1]) == _of_this_spec(self.of(f"{asset}-{number}"))
        assert outcomes[0] != outcomes[1]


def _of_this_spec(outcome: Json) -> Json:
    """Leave out what an asset that fails still has of a spec before."""
    if "Stalled" not in outcome["state"]:
        return outcome
    return {"state": {kind: reason for kind, reason in outcome["state"].items() if kind != "Published"}}


def test_every_field_has_a_case() -> None:
    assert {field.name for field in WORKING} | set(SHOWN) | set(ELSEWHERE) == set(SPEC)
    assert {field.name for field in MADE} == set(RENDITION)


def marked(fields: list[Field], short: set[str]) -> list[Any]:
    return [pytest.param(each, id=each.name, marks=[] if each.name in short else pytest.mark.long) for each in fields]


class TestField:
    @pytest.mark.parametrize("field", marked(WORKING, {"visibility"}))
    def test_of_the_spec(self, workshop: Scene, sources: dict[str, bytes], field: Field) -> None:
        base = {"renditions": RENDITIONS, **field.base}
        Outcome(workshop, sources[field.media]).check(
            field,
            {**base, field.name: field.first},
            {**base, field.name: field.second},
            {**base, field.name: None},
        )

    @pytest.mark.parametrize("field", marked(MADE, {"width"}))
    def test_of_a_rendition(self, workshop: Scene, sources: dict[str, bytes], field: Field) -> None:
        base = {**field.base}
        without = (
            None
            if field.name in {"name", "for", "format"}
            else {each: base[each] for each in base if each != field.name}
        )
        Outcome(workshop, sources[field.media]).check(
            field,
            {"renditions": [{**base, field.name: field.first}]},
            {"renditions": [{**base, field.name: field.second}]},
            None if without is None else {"renditions": [without]},
        )


def test_what_is_only_shown_starts_no_work(scene: Scene) -> None:
    scene.operator.start()
    scene.create("photo")
    before = scene.ready("photo")["status"]
    for name, values in SHOWN.items():
        for value in (*values, None):
            scene.change("photo", **{name: value})
            shown = scene.ready("photo")
            expected = {"b": "2"} if value == {"a": None, "b": "2"} else value
            assert shown["spec"].get(name) == ({} if name == "metadata" and value is None else expected)
            # Times of conditions included: only the generation is another.
            assert _still(shown["status"]) == _still(before)
    assert len(scene.jobs("photo")) == 1


def _still(status: Json) -> Json:
    kept = {name: value for name, value in status.items() if name != "observedGeneration"}
    conditions = [{**each, "observedGeneration": 0} for each in status["conditions"]]
    return {**kept, "conditions": conditions}


@pytest.mark.parametrize("name", ["source", "publicPath"])
def test_what_is_immutable_stays(scene: Scene, name: str) -> None:
    scene.create("photo")
    value: object = {"object": {"key": "uploads/shop/other/source"}} if name == "source" else "elsewhere"
    answer = scene.kube.call("PATCH", f"{ASSETS}/photo", {"spec": {name: value}}, accepted={422})
    assert answer["code"] == 422


GOOD_AND_BAD = {
    "type": ("Image", "Document"),
    "profileName": ("web", "missing"),
    "renditions": (RENDITIONS, [{"name": "x", "for": "Image", "format": "JPEG", "channel": "MetaCatalog"}]),
}


@pytest.mark.parametrize(
    "name", ["profileName", *(pytest.param(each, marks=pytest.mark.long) for each in ("type", "renditions"))]
)
def test_what_was_wrong_and_is_put_right_is_ready_again(scene: Scene, sources: dict[str, bytes], name: str) -> None:
    outcome = Outcome(scene, sources["Image"])
    scene.operator.start()
    good, bad = GOOD_AND_BAD[name]
    base = {"renditions": None} if name == "profileName" else {}
    outcome.create("photo", **{**base, name: good})
    at_first = outcome.of("photo")
    assert at_first["state"]["Ready"]
    scene.change("photo", **{name: bad})
    # What was good is served on.
    assert set(outcome.of("photo")["state"]) == {"Ready=False", "Published", "Stalled"}
    scene.change("photo", **{name: good})
    assert outcome.of("photo") == at_first


def test_suspended_work_waits(scene: Scene) -> None:
    def waits() -> bool:
        conditions = (scene.asset("photo") or {}).get("status", {}).get("conditions", ())
        return any((each["type"], each["reason"]) == ("Ready", "Suspended") for each in conditions)

    scene.operator.start()
    scene.create("photo", suspend=True)
    scene.until(waits)
    scene.change("photo", suspend=False)
    scene.ready("photo")
    scene.change("photo", suspend=True)
    scene.reprocess("photo", "again")
    scene.until(waits)
    assert len(scene.jobs("photo")) == 1
    scene.change("photo", suspend=None)
    assert scene.ready("photo")["status"]["attempt"] == 2


def test_the_queue_is_that_of_the_job(scene: Scene) -> None:
    scene.operator.start()
    for name, queue in (("one", "Batch"), ("two", "Interactive"), ("three", None)):
        scene.create(name, queue=queue)
        scene.ready(name)
        (job,) = scene.jobs(name)
        assert job["metadata"]["labels"]["media-operator.io/queue"] == (queue or "Interactive")


@pytest.mark.long
def test_retained_media_stay(scene: Scene) -> None:
    scene.operator.start()
    policies = {"kept": "Retain", "changed": "Delete", "lost": None}
    for name, policy in policies.items():
        scene.create(name, deletionPolicy=policy)
        scene.ready(name)
    scene.change("changed", deletionPolicy="Retain")
    # The finalizer keeps an asset that nobody looks after until somebody does.
    policies["alone"] = "Retain"
    scene.create("alone", deletionPolicy="Retain")
    scene.ready("alone")
    scene.operator.kill()
    scene.delete("alone")
    scene.operator.start()
    for name in policies:
        if name != "alone":
            scene.delete(name)
        scene.gone(name)
    marks = [keys.retention_mark(NAMESPACE, name, scene.uids[name]) for name in ("alone", "changed", "kept")]
    assert sorted(marks) == scene.bucket.keys(f"tombstones/{NAMESPACE}/_retained/")
    found = scene.bucket.keys("media/")
    for name in policies:
        assert any(scene.uids[name] in key for key in found) == (name != "lost")


@pytest.mark.long
@pytest.mark.timeout(240)
def test_an_asset_that_expires(scene: Scene) -> None:
    scene.operator.start()
    scene.create("created", expireSecondsAfterCreation=60)
    scene.create("failed", expireSecondsAfterFailure=60, profileName="missing", renditions=None)
    scene.create("well", expireSecondsAfterFailure=60)
    scene.create("changed", expireSecondsAfterCreation=60)
    scene.create("stays")
    scene.change("changed", expireSecondsAfterCreation=None)
    for name in ("created", "failed"):
        scene.until(lambda name=name: scene.asset(name) is None, seconds=120)  # type: ignore[misc]
    for name in ("well", "changed", "stays"):
        scene.ready(name)


@pytest.mark.long
def test_a_collection_that_keeps_the_latest(scene: Scene) -> None:
    scene.operator.start()
    for name, policy in (("a-first", "KeepLatest"), ("b-other", None)):
        scene.create(name, collection="ads/1", collectionPolicy=policy)
        scene.ready(name)
    scene.create("c-second", collection="ads/1", collectionPolicy="KeepLatest")
    scene.ready("c-second")
    scene.gone("a-first")
    scene.ready("b-other")


@pytest.mark.long
def test_a_profile_that_is_followed(scene: Scene) -> None:
    profiles = "/apis/media-operator.io/v1alpha1/mediaprofiles"
    body = {"apiVersion": "media-operator.io/v1alpha1", "kind": "MediaProfile", "metadata": {"name": "followed"}}
    scene.kube.call("POST", profiles, {**body, "spec": {"renditions": RENDITIONS[:1]}})
    try:
        scene.operator.start()
        for name, policy in (("follows", "Follow"), ("ignores", "Ignore"), ("plain", None), ("later", "Ignore")):
            scene.create(name, profileName="followed", renditions=None, profileUpdatePolicy=policy)
            scene.ready(name)
        scene.kube.call("PATCH", f"{profiles}/followed", {"spec": {"renditions": RENDITIONS}})
        scene.until(lambda: len((scene.asset("follows") or {})["status"]["renditions"]) == len(RENDITIONS))
        scene.ready("follows")
        scene.change("later", profileUpdatePolicy="Follow")
        scene.until(lambda: len((scene.asset("later") or {})["status"]["renditions"]) == len(RENDITIONS))
        for name in ("ignores", "plain"):
            assert scene.ready(name)["status"]["attempt"] == 1
    finally:
        scene.kube.call("DELETE", f"{profiles}/followed")
