"""Each rule of each channel, on files that keep it and files that break it."""

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import profile
from media_transcoder.channels import RULES, check
from media_transcoder.messages import Rendered
from mediaasset.media import Kind
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Channel, Format, Rendition

Make = Callable[[Path], Rendered]


def picture(mode: str = "RGB", size: tuple[int, int] = (600, 500), kind: str = "JPEG", grow: int = 0) -> Make:
    def make(path: Path) -> Rendered:
        noise = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 4), "uint8")
        Image.fromarray(noise, "RGBA").convert(mode).save(path, kind)
        padded(path, grow)
        return Rendered(name="x", file="x", mime_type=f"image/{kind.lower()}", width=size[0], height=size[1])

    return make


def sticker(frames: int = 1, size: tuple[int, int] = (512, 512), grow: int = 0) -> Make:
    def make(path: Path) -> Rendered:
        pictures = [Image.new("RGBA", size, (0, 90, 80 * shade, 128)) for shade in range(frames)]
        pictures[0].save(path, "WEBP", save_all=True, append_images=pictures[1:])
        padded(path, grow)
        return Rendered(name="x", file="x", mime_type="image/webp", width=size[0], height=size[1])

    return make


def padded(path: Path, size: int) -> None:
    """Lengthen a file, without writing what is added."""
    if size:
        with path.open("r+b") as file:
            file.truncate(size)


def film(*options: str, mime: str = "video/mp4", sounds: int = 1, grow: int = 0) -> Make:
    def make(path: Path) -> Rendered:
        inputs = ["-f", "lavfi", "-i", "testsrc2=s=320x240:d=1,format=yuv420p"]
        for _ in range(sounds):
            inputs += ["-f", "lavfi", "-i", "sine=d=1"]
        maps = [word for at in range(sounds + 1) for word in ("-map", str(at))]
        form = {"video/mp4": "mp4", "video/webm": "webm"}[mime]
        subprocess.run(["ffmpeg", "-v", "error", *inputs, *maps, *options, "-f", form, str(path)], check=True)
        padded(path, grow)
        return Rendered(name="x", file="x", mime_type=mime, width=320, height=240)

    return make


def sound(*options: str, mime: str, grow: int = 0) -> Make:
    def make(path: Path) -> Rendered:
        subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=d=1", *options, str(path)], check=True)
        padded(path, grow)
        return Rendered(name="x", file="x", mime_type=mime)

    return make


def document(mime: str, size: int) -> Make:
    def make(path: Path) -> Rendered:
        path.touch()
        padded(path, size)
        return Rendered(name="x", file="x", mime_type=mime)

    return make


MAIN = ("-c:v", "libx264", "-profile:v", "main", "-bf", "0")
WHATSAPP, CATALOG = Channel.WHATSAPP, Channel.META_CATALOG
PDF = "application/pdf"

KEPT: list[tuple[Channel, Make]] = [
    (WHATSAPP, picture()),
    (WHATSAPP, picture("RGBA", kind="PNG")),
    (WHATSAPP, picture(size=(20, 20), grow=5_000_000)),
    (WHATSAPP, sticker(grow=100_000)),
    (WHATSAPP, sticker(frames=3, grow=500_000)),
    (WHATSAPP, film(*MAIN)),
    (WHATSAPP, film(*MAIN, sounds=0)),
    (WHATSAPP, film("-c:v", "libx264", "-profile:v", "high", "-bf", "0")),
    (WHATSAPP, film("-c:v", "libx264", "-profile:v", "baseline")),
    (WHATSAPP, sound("-f", "mp3", mime="audio/mpeg")),
    (WHATSAPP, sound("-c:a", "libopus", "-f", "ogg", mime="audio/ogg")),
    (WHATSAPP, document(PDF, 100_000_000)),
    (CATALOG, picture(size=(500, 500))),
    (CATALOG, picture("RGBA", kind="PNG", grow=8_000_000)),
    (CATALOG, film(grow=200_000_000)),
]

BROKEN: list[tuple[Channel, Make, set[str]]] = [
    (WHATSAPP, picture(kind="GIF"), {"image-type", "image-colours"}),
    (WHATSAPP, sticker(grow=100_001), {"sticker-size"}),
    (WHATSAPP, sticker(frames=3, grow=500_001), {"sticker-size"}),
    (WHATSAPP, sticker(size=(512, 511)), {"sticker-sides"}),
    (WHATSAPP, picture(grow=5_000_001), {"image-size"}),
    (WHATSAPP, picture("CMYK"), {"image-colours"}),
    (WHATSAPP, picture("I;16", kind="PNG"), {"image-colours"}),
    (WHATSAPP, film("-c:v", "libvpx", "-c:a", "libopus", mime="video/webm"), {"video-type", "video-codecs"}),
    (WHATSAPP, film(*MAIN, grow=16_000_001), {"video-size"}),
    (WHATSAPP, film("-c:v", "mpeg4"), {"video-codecs"}),
    (WHATSAPP, film(*MAIN, "-c:a", "libmp3lame"), {"video-codecs"}),
    (WHATSAPP, film(*MAIN, sounds=2), {"video-codecs"}),
    (WHATSAPP, film("-c:v", "libx264", "-profile:v", "high", "-bf", "2"), {"video-profile"}),
    (WHATSAPP, sound("-f", "wav", mime="audio/wav"), {"audio-type"}),
    (WHATSAPP, sound("-f", "mp3", mime="audio/mpeg", grow=16_000_001), {"audio-size"}),
    (WHATSAPP, sound("-c:a", "libvorbis", "-f", "ogg", mime="audio/ogg"), {"audio-opus"}),
    (WHATSAPP, sound("-c:a", "libopus", "-ac", "2", "-f", "ogg", mime="audio/ogg"), {"audio-opus"}),
    (WHATSAPP, document(PDF, 100_000_001), {"document-size"}),
    (CATALOG, picture(kind="WEBP"), {"image-type"}),
    (CATALOG, picture(grow=8_000_001), {"image-size"}),
    (CATALOG, picture(size=(499, 3000)), {"image-sides"}),
    (CATALOG, film(grow=200_000_001), {"video-size"}),
    (CATALOG, document(PDF, 10), {"type"}),
    # All at once.
    (WHATSAPP, picture("L", kind="GIF", grow=6_000_000), {"image-type", "image-size", "image-colours"}),
    (WHATSAPP, picture(kind="WEBP", grow=6_000_000), {"image-size", "sticker-sides", "sticker-size"}),
    (CATALOG, picture(size=(10, 10), kind="WEBP", grow=9_000_000), {"image-type", "image-size", "image-sides"}),
]


def asked(channel: Channel) -> Rendition:
    return Rendition(name="large", kind=Kind.IMAGE, format=Format.JPEG, channel=channel)


@pytest.mark.parametrize(("channel", "make"), KEPT)
def test_a_file_that_keeps_the_rules_passes(tmp_path: Path, channel: Channel, make: Make) -> None:
    check(asked(channel), make(tmp_path / "x"), tmp_path / "x")


@pytest.mark.parametrize(("channel", "make", "broken"), BROKEN)
def test_each_rule_that_is_broken_is_named(tmp_path: Path, channel: Channel, make: Make, broken: set[str]) -> None:
    rendered = make(tmp_path / "x")
    with pytest.raises(MediaError) as caught:
        check(asked(channel), rendered, tmp_path / "x")
    assert caught.value.reason is Reason.CHANNEL_RULE
    head, _, complaints = str(caught.value).partition(": ")
    assert head == f"large breaks rules of {channel}"
    assert {complaint.split()[0] for complaint in complaints.split("; ")} == broken


#: All documents that the transcoder takes at all are those that WhatsApp takes.
UNBREAKABLE = {(WHATSAPP, "document-type")}


def test_every_rule_is_tried() -> None:
    tried = {(channel, rule) for channel, _, broken in BROKEN for rule in broken} | UNBREAKABLE
    assert tried == {(channel, rule.id) for channel, rules in RULES.items() for rule in rules}


def test_the_message_says_what_was_found_what_is_asked_and_what_to_do(tmp_path: Path) -> None:
    rendered = picture(size=(300, 200))(tmp_path / "x")
    with pytest.raises(MediaError) as caught:
        check(asked(CATALOG), rendered, tmp_path / "x")
    assert caught.value.message == (
        "large breaks rules of MetaCatalog: image-sides asks for at least 500 x 500 pixels, found 300 x 200"
        " (send a larger picture, which is never enlarged, or set minSide to 500)."
        " The channel would refuse this rendition: send media that keep its rules, or use another profile."
    )


def test_a_rendition_without_a_channel_has_no_rules(tmp_path: Path) -> None:
    rendered = picture(size=(10, 10), kind="WEBP")(tmp_path / "x")
    check(replace(asked(CATALOG), channel=None), rendered, tmp_path / "x")


@pytest.mark.parametrize(("name", "channel"), [("whatsapp", WHATSAPP), ("meta-catalog", CATALOG)])
def test_a_profile_asks_for_no_more_than_its_channel_takes(name: str, channel: Channel) -> None:
    for rendition in profile(name)[0]:
        assert rendition.channel is channel or rendition.name == "thumbnail"
        if rendition.channel is None or rendition.format is Format.COPY:
            continue
        [limit] = [rule.asks for rule in RULES[channel] if rule.id == f"{rendition.kind.lower()}-size"]
        assert limit == f"at most {(rendition.max_bytes or 0) // 1_000_000} MB"
