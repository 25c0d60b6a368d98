"""Every kind, format and limit on the real cluster, as a person with kubectl sees it."""

import re
from pathlib import Path
from typing import NamedTuple

import httpx2
import pytest

from cluster import ASSETS, Json
from every import Sample, samples
from installed import Installed
from mediaasset.media import Kind, by_mime

#: What the profile `web` makes of each kind.
RENDITIONS = {
    Kind.IMAGE: {"thumbnail", "small", "medium", "large", "webp", "original"},
    Kind.VIDEO: {"mp4", "thumbnail"},
    Kind.AUDIO: {"mp3"},
    Kind.DOCUMENT: {"original"},
}
FORMATS = [
    *("jpeg", "png", "gif", "webp", "bmp", "avif", "heic", "animation"),
    *("mp4", "mov", "avi", "mkv", "webm", "3gp", "ts"),
    *("mp3", "wav", "vorbis", "opus", "aac", "m4a", "amr", "flac"),
    *("pdf", "txt", "doc", "xls", "ppt", "docx", "xlsx", "pptx"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sample]:
    return samples(tmp_path_factory.mktemp("every"))


@pytest.fixture(scope="module")
def applied(media: Installed, made: dict[str, Sample]) -> dict[str, str]:
    """Apply an asset for each format at once; return their names."""
    return {
        name: media.apply(sample.path.read_bytes(), originalFileName=sample.path.name) for name, sample in made.items()
    }


def shown(media: Installed, name: str) -> dict[str, str]:
    """Return what `kubectl get` prints of an asset, by column."""
    head, line = media.cluster.kubectl("get", ASSETS, name, "-n", "shop").splitlines()
    # Each value begins below the first letter of its column's name, and a column may be empty.
    starts = [match.start() for match in re.finditer(r"\S+", head)]
    ends = [*starts[1:], None]
    return {head[start:end].strip(): line[start:end].strip() for start, end in zip(starts, ends, strict=True)}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_becomes_ready(
    media: Installed, made: dict[str, Sample], applied: dict[str, str], name: str
) -> None:
    asset = media.ready(applied[name])
    kind = by_mime(made[name].mime)
    assert kind is not None
    info = asset["status"]["sourceInfo"]
    assert (info["type"], info["mimeType"]) == (kind.kind, made[name].mime)
    renditions = {each["name"]: each for each in asset["status"]["renditions"]}
    assert set(renditions) == RENDITIONS[kind.kind]
    assert {each["state"] for each in renditions.values()} == {"Ready"}
    columns = shown(media, applied[name])
    assert (columns["READY"], columns["REASON"], columns["TYPE"]) == ("True", "Ready", kind.kind)
    assert columns["SIZE"] == str(made[name].path.stat().st_size)
    assert bool(asset["status"].get("thumbHash")) == (kind.kind in (Kind.IMAGE, Kind.VIDEO))
    if kind.kind in (Kind.VIDEO, Kind.AUDIO):
        assert info["durationMilliseconds"] == pytest.approx(1000, abs=100)
    for each in renditions.values():
        # Documents are private, whatever the asset asks.
        assert ("url" in each) == (kind.kind is not Kind.DOCUMENT)
        if "url" in each:
            answer = httpx2.get(each["url"], timeout=30)
            assert (answer.status_code, answer.headers["Content-Type"]) == (200, each["mimeType"])
            assert len(answer.content) == each["sizeBytes"]


def test_every_format_is_tried(made: dict[str, Sample]) -> None:
    assert set(made) == set(FORMATS)


LIMITS: Json = {
    "Image": {"maxBytes": 100_000, "maxPixels": 80_000, "maxFrames": 2},
    "Video": {"maxBytes": 1_000_000, "maxPixels": 80_000, "maxDurationSeconds": 2},
    "Audio": {"maxBytes": 500_000, "maxDurationSeconds": 2},
    "Document": {"maxBytes": 100},
}


@pytest.fixture(scope="module")
def narrow(media: Installed) -> str:
    """Make a profile of narrow limits that makes one file of each kind; return its name."""
    renditions = [
        {"name": "small", "for": "Image", "format": "JPEG"},
        {"name": "still", "for": "Video", "format": "JPEG"},
        {"name": "mp3", "for": "Audio", "format": "MP3"},
        {"name": "original", "for": "Document", "format": "Copy"},
    ]
    body = {"apiVersion": "media-operator.io/v1alpha1", "kind": "MediaProfile", "metadata": {"name": "narrow"}}
    media.cluster.apply({**body, "spec": {"limits": LIMITS, "renditions": renditions}})
    return "narrow"


class Case(NamedTuple):
    """A format, how large it is made, and the reason with a word of its message; None where it is within the limits."""

    format: str
    reason: str | None = None
    word: str = ""
    width: int = 320
    seconds: int = 1


CASES = [
    Case("jpeg"),
    Case("bmp", "SourceTooLarge", "100000"),
    Case("animation", "LimitExceeded", "2 frames"),
    Case("png", "LimitExceeded", "pixels", width=400),
    Case("mp4"),
    Case("mov", "LimitExceeded", "2 seconds", seconds=3),
    Case("webm", "LimitExceeded", "pixels", width=400),
    Case("m4a"),
    Case("wav", "LimitExceeded", "2 seconds", seconds=3),
    Case("pdf"),
    Case("docx", "SourceTooLarge", "100"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.format)
def test_every_limit_is_held_and_named(media: Installed, tmp_path: Path, narrow: str, case: Case) -> None:
    source = samples(tmp_path, width=case.width, seconds=case.seconds)[case.format].path.read_bytes()
    asset = media.apply(source, profileName=narrow)
    if case.reason is None:
        media.ready(asset)
        return
    status = media.stalled(asset)["status"]
    columns = shown(media, asset)
    assert (columns["READY"], columns["REASON"]) == ("False", case.reason)
    (stalled,) = [each for each in status["conditions"] if each["type"] == "Stalled"]
    assert case.word in stalled["message"]
    # What cannot get better is not tried again.
    assert status["attempt"] == 1
