"""Every reason for which media cannot be had, made on the real cluster: as `kubectl get` shows it."""

import io
import subprocess
import wave
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from PIL import Image

from apiproxy import Proxy
from cluster import ASSETS, Json
from installed import Installed
from mediaasset.names import API_VERSION, PROFILE_KIND
from mediaasset.reasons import TABLE, Reason
from outside import Outside
from transcripts import name_of, record

PHOTO = (Path(__file__).parents[1] / "data/photo.jpg").read_bytes()
ZEROS = "0" * 64


def rendition(**fields: Any) -> dict[str, Any]:
    return {"renditions": [{"name": "one", "for": "Image", "format": "JPEG", **fields}]}


def small() -> bytes:
    """Return a picture that no catalogue takes."""
    target = io.BytesIO()
    Image.new("RGB", (320, 240), "teal").save(target, "PNG")
    return target.getvalue()


def sound() -> bytes:
    """Return a second of silence."""
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setparams((1, 2, 8000, 8000, "NONE", ""))
        file.writeframes(bytes(16_000))
    return target.getvalue()


WHATSAPP = {"accountName": "nobody", "mediaID": "1", "messageID": "wamid.1", "timestamp": "2026-01-01T00:00:00Z"}

#: What a person may do wrong: the bytes that are uploaded, the spec, and the reason with a word of its message.
SOURCES: dict[Reason, tuple[bytes | None, Json, str]] = {
    Reason.EMPTY_SOURCE: (b"", {}, "no bytes"),
    Reason.SOURCE_NOT_FOUND: (None, {}, "does not exist"),
    Reason.SOURCE_FORBIDDEN: (None, {"source": {"url": "http://169.254.169.254/latest/meta-data/"}}, "address"),
    Reason.SOURCE_UNAUTHORIZED: (None, {"source": {"whatsapp": WHATSAPP}}, "whatsapp-nobody"),
    Reason.SOURCE_MISMATCH: (
        PHOTO,
        {"source": {"object": {"key": "uploads/shop/reasons/photo", "sha256": ZEROS}}},
        "sha256",
    ),
    Reason.UNSUPPORTED_TYPE: (b"MZ" + bytes(200), {}, "supported"),
    Reason.TYPE_MISMATCH: (PHOTO, {"type": "Video"}, "Video"),
    Reason.UNDECODABLE: (PHOTO[: len(PHOTO) // 2], {}, "damaged"),
    Reason.INVALID_RENDITION: (sound(), rendition(**{"for": "Audio", "format": "MP3", "bitrate": 1_000_000}), "320"),
    Reason.CHANNEL_RULE: (small(), rendition(channel="MetaCatalog"), "500"),
    Reason.PROFILE_NOT_FOUND: (PHOTO, {"profileName": "nowhere"}, "nowhere"),
    Reason.SOURCE_TOO_LARGE: (PHOTO, {"profileName": "small-files"}, "100000"),
    Reason.LIMIT_EXCEEDED: (PHOTO, {"profileName": "small-pictures"}, "pixels"),
}
PROFILES = {"small-files": {"maxBytes": 100_000}, "small-pictures": {"maxPixels": 100_000}}


@pytest.fixture(scope="module")
def applied(media: Installed) -> dict[Reason, str]:
    """Apply one asset for each reason at once; return their names."""
    body = {"apiVersion": API_VERSION, "kind": PROFILE_KIND}
    spec: Json
    for name, limits in PROFILES.items():
        spec = {"limits": {"Image": limits}, **rendition()}
        media.cluster.apply({**body, "metadata": {"name": name}, "spec": spec})
    names = {}
    for reason, (source, spec, _) in SOURCES.items():
        key = spec.get("source", {}).get("object", {}).get("key", "")
        names[reason] = media.apply(source, key=key, name=name_of(reason), **spec)
    return names


def check_stalled(media: Installed, name: str, reason: Reason, word: str) -> None:
    """Hold what a person sees of a Stalled asset to the table."""
    status = media.stalled(name)["status"]
    head, line = media.cluster.kubectl("get", ASSETS, name, "-n", "shop").splitlines()
    columns = dict(zip(head.split(), line.split(), strict=False))
    assert (columns["READY"], columns["REASON"]) == ("False", reason)
    (stalled,) = [each for each in status["conditions"] if each["type"] == "Stalled"]
    assert word in stalled["message"], stalled["message"]
    # What to do stands in it, and nothing of where we run.
    assert stalled["message"].endswith(TABLE[reason].text) or reason is Reason.PROFILE_NOT_FOUND
    assert "/tmp" not in stalled["message"]  # noqa: S108 - a path that must not be told
    assert not status.get("url")
    record(media.cluster, reason, name)


@pytest.mark.parametrize("reason", SOURCES)
def test_what_a_person_can_mend_is_shown(media: Installed, applied: dict[Reason, str], reason: Reason) -> None:
    check_stalled(media, applied[reason], reason, SOURCES[reason][2])


def test_what_may_pass_is_tried_again_and_said_meanwhile(media: Installed) -> None:
    # The address is one that sources may come from, and nobody listens there.
    url = f"http://{urlsplit(media.s3.endpoint).hostname}:9/photo.jpg"
    name = media.apply(source={"url": url}, name=name_of(Reason.SOURCE_UNAVAILABLE))
    media.cluster.kubectl(
        "wait", f"{ASSETS}/{name}", "-n", "shop", "--for=jsonpath={.status.failedAttempts}=2", "--timeout=60s"
    )
    conditions = {each["type"]: each for each in media.asset(name)["status"]["conditions"]}
    assert "Stalled" not in conditions
    assert conditions["Ready"]["reason"] == Reason.SOURCE_UNAVAILABLE
    record(media.cluster, Reason.SOURCE_UNAVAILABLE, name)
    media.cluster.kubectl("delete", ASSETS, name, "-n", "shop")


class Machine(NamedTuple):
    """What is wrong with the machine: a change of the pod template, settings of the operator, and the source."""

    change: Callable[[Json], None] = lambda _: None
    settings: Mapping[str, str] = MappingProxyType({})
    source: Callable[[], bytes] = lambda: PHOTO


def container(pod: Json) -> Json:
    found: Json = pod["spec"]["containers"][0]
    return found


def with_memory(limit: str) -> Callable[[Json], None]:
    def change(pod: Json) -> None:
        container(pod)["resources"]["limits"]["memory"] = limit
        container(pod)["resources"]["requests"]["memory"] = limit

    return change


def with_little_scratch(pod: Json) -> None:
    (scratch,) = [each for each in pod["spec"]["volumes"] if each["name"] == "scratch"]
    scratch["emptyDir"] = {"medium": "Memory", "sizeLimit": "1Mi"}


def large() -> bytes:
    """Return a picture of 49 million pixels that is a small file."""
    target = io.BytesIO()
    Image.new("RGB", (7000, 7000), "teal").save(target, "PNG")
    return target.getvalue()


def long() -> bytes:
    """Return a clip that takes a transcoder some seconds."""
    source = ["-f", "lavfi", "-i", "testsrc2=size=1920x1080:rate=30:duration=20", "-c:v", "mpeg4", "-q:v", "3"]
    command = ["ffmpeg", "-nostdin", "-v", "error", *source, "-f", "matroska", "pipe:1"]
    return subprocess.run(command, check=True, capture_output=True, timeout=120).stdout


MACHINES = {
    Reason.NEEDS_LARGER_CLASS: Machine(with_memory("192Mi"), source=large),
    Reason.OUT_OF_MEMORY: Machine(with_memory("16Mi")),
    Reason.DEADLINE_EXCEEDED: Machine(settings={"MEDIA_OPERATOR_DEADLINE_SECONDS": "5"}, source=long),
    Reason.DISK_FULL: Machine(with_little_scratch),
}


@pytest.mark.parametrize("reason", MACHINES)
def test_what_the_machine_lacks_is_shown(alone: Installed, proxy: Proxy, tmp_path: Path, reason: Reason) -> None:
    machine = MACHINES[reason]
    operator = Outside(alone, proxy, tmp_path, machine.change)
    # What is tried again is said to be final after the first attempt here.
    # The one class is what was changed.
    operator.start(MEDIA_OPERATOR_MAX_ATTEMPTS="1", MEDIA_OPERATOR_CLASSES="{}", **machine.settings)
    try:
        check_stalled(alone, alone.apply(machine.source(), name=name_of(reason)), reason, "")
    finally:
        assert operator.stop() == 0, operator.log


#: What goes wrong around a transcoder, as a line of shell before it; its assets are told apart by their names.
AROUND: dict[Reason, tuple[str, str]] = {
    # An operator of a later version.
    Reason.INVALID_TASK: ("""MEDIA_TASK=$(echo "$MEDIA_TASK" | sed 's/"version":1/"version":2/')""", ""),
    # An ffmpeg that does not do what it is told.
    Reason.INVALID_OUTPUT: (
        """mkdir /tmp/broken
        printf '%s\n' '#!/bin/sh' 'for word; do shift; test "$word" = 44100 && word=22050; set -- "$@" "$word"; done' \
          'exec /usr/bin/ffmpeg "$@"' > /tmp/broken/ffmpeg
        chmod +x /tmp/broken/ffmpeg
        export PATH=/tmp/broken:$PATH""",
        "22050",
    ),
    # An image in which a library is damaged.
    Reason.INTERNAL: ("mkdir /tmp/broken; echo damaged > /tmp/broken/obstore.py; export PYTHONPATH=/tmp/broken", ""),
    # A store that is down, and one that does not know the account any more.
    Reason.STORE_UNAVAILABLE: ("export AWS_ENDPOINT=http://127.0.0.1:9", ""),
    Reason.STORE_FORBIDDEN: ("export AWS_SECRET_ACCESS_KEY=another", ""),
    # Somebody stops every pod, before it can have done anything.
    Reason.INTERRUPTED: ('set -- timeout --preserve-status 0.2 "$@"', ""),
}


def spoilt(pod: Json) -> None:
    """Have that come before the transcoder."""
    cases = "".join(f'*\'"name":"{name_of(reason)}"\'*) {line} ;;\n' for reason, (line, _) in AROUND.items())
    script = f'set -- python -P -m media_transcoder\ncase "$MEDIA_TASK" in {cases} esac\nexec "$@"'
    container(pod)["command"] = ["/bin/sh", "-c", script]


def test_what_is_wrong_around_the_transcoder_is_shown(alone: Installed, proxy: Proxy, tmp_path: Path) -> None:
    operator = Outside(alone, proxy, tmp_path, spoilt)
    operator.start(MEDIA_OPERATOR_MAX_ATTEMPTS="1")
    try:
        for reason in AROUND:
            alone.apply(sound() if reason is Reason.INVALID_OUTPUT else PHOTO, name=name_of(reason))
        for reason, (_, word) in AROUND.items():
            check_stalled(alone, name_of(reason), reason, word)
    finally:
        assert operator.stop() == 0, operator.log


def test_no_reason_of_a_transcoder_is_left_out() -> None:
    codes = {reason for reason, rule in TABLE.items() if rule.exit_code is not None}
    assert codes == {*SOURCES, *MACHINES, *AROUND, Reason.SOURCE_UNAVAILABLE} - {Reason.PROFILE_NOT_FOUND}
