"""What a rendition asks for is what comes out: box, bytes, format, and nothing of who took it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from mediaasset.media import Kind
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Fit, Format, Rendition
from pictures import ORIGINAL, distance, gps_exif, jpeg, rgb, scene, similarity

Render = Callable[..., dict[str, Image.Image]]

PHOTO = Path(__file__).parents[2] / "data/photo.jpg"
EXACT = {
    format_.lower(): Rendition(
        name=format_.lower(), kind=Kind.IMAGE, format=format_, fit=Fit.EXACT, width=200, height=300, quality=95
    )
    for format_ in (Format.JPEG, Format.PNG, Format.WEBP, Format.AVIF)
}


@pytest.mark.parametrize(("size", "inner"), [((900, 600), (200, 133)), ((60, 40), (60, 40)), ((400, 600), (200, 300))])
def test_exact_lays_the_whole_picture_in_the_middle(
    render: Render, tmp_path: Path, size: tuple[int, int], inner: tuple[int, int]
) -> None:
    picture = scene(*size)
    picture.save(tmp_path / "source", "PNG")
    outputs = render(tmp_path / "source", *EXACT.values(), jpeg("next", 50, 50))
    left, top = (200 - inner[0]) // 2, (300 - inner[1]) // 2
    expected = picture.resize(inner, Image.Resampling.LANCZOS)
    for name in EXACT:
        output = outputs[name]
        assert output.size == (200, 300)
        shown = output.crop((left, top, left + inner[0], top + inner[1]))
        assert distance(shown, expected) < 3, name
        ground = np.ones((300, 200), dtype=bool)
        ground[max(0, top - 8) : top + inner[1] + 8, max(0, left - 8) : left + inner[0] + 8] = False
        if name == "jpeg":
            assert rgb(output)[ground].min(initial=255) > 250
        elif ground.any():
            assert np.asarray(output)[ground][:, 3].max() < 3, name
    assert outputs["next"].size == {(900, 600): (50, 33), (60, 40): (50, 33), (400, 600): (33, 50)}[size]


def test_the_shorter_side_has_a_floor(render: Render, tmp_path: Path) -> None:
    scene(1600, 600).save(tmp_path / "source", "JPEG", quality=95)
    outputs = render(tmp_path / "source", jpeg("plain", 800, 800), jpeg("floor", 800, 800, min_side=500))
    assert {name: output.size for name, output in outputs.items()} == {"plain": (800, 300), "floor": (1333, 500)}


@pytest.mark.parametrize("format_", [Format.JPEG, Format.WEBP, Format.AVIF])
def test_quality_is_given_up_for_bytes_but_not_all_of_it(render: Render, tmp_path: Path, format_: Format) -> None:
    def wanted(name: str, quality: int, max_bytes: int | None = None) -> Rendition:
        return Rendition(
            name=name, kind=Kind.IMAGE, format=format_, width=500, height=500, quality=quality, max_bytes=max_bytes
        )

    made = {quality: wanted(f"q{quality}", quality) for quality in (80, 64, 48)}
    render(PHOTO, *made.values())
    sizes = {quality: (tmp_path / f"outputs/q{quality}").stat().st_size for quality in made}
    assert sizes[80] > sizes[64] > sizes[48]

    (tmp_path / "outputs").rename(tmp_path / "before")
    bounded = wanted("all", 80, sizes[80]), wanted("less", 80, sizes[64]), wanted("least", 80, sizes[48])
    render(PHOTO, *bounded)
    for name, quality in (("all", 80), ("less", 64), ("least", 48)):
        assert (tmp_path / "outputs" / name).read_bytes() == (tmp_path / f"before/q{quality}").read_bytes()

    (tmp_path / "outputs").rename(tmp_path / "before that")
    limit = sizes[48] - 1
    with pytest.raises(MediaError, match=rf"never: {sizes[48]} bytes are more than {limit}\.") as caught:
        render(PHOTO, wanted("never", 80, limit))
    assert caught.value.reason is Reason.LIMIT_EXCEEDED


@pytest.mark.parametrize("format_", [Format.PNG, Format.ORIGINAL])
def test_what_has_no_quality_to_give_up_is_only_checked(render: Render, tmp_path: Path, format_: Format) -> None:
    scene().save(tmp_path / "source", "JPEG")
    wanted = Rendition(name="r", kind=Kind.IMAGE, format=format_, max_bytes=3000)
    with pytest.raises(MediaError) as caught:
        render(tmp_path / "source", wanted)
    assert caught.value.reason is Reason.LIMIT_EXCEEDED


def test_avif_is_smaller_than_jpeg_at_the_same_likeness(render: Render, tmp_path: Path) -> None:
    sizes = (320, 640, 1080)
    wanted = [
        Rendition(name=f"{format_.lower()}-{side}", kind=Kind.IMAGE, format=format_, width=side, height=side)
        for side in sizes
        for format_ in (Format.JPEG, Format.AVIF)
    ]
    outputs = render(PHOTO, *wanted)
    with Image.open(PHOTO) as photo:
        photo.load()
    for side in sizes:
        expected = photo.resize(outputs[f"jpeg-{side}"].size, Image.Resampling.LANCZOS)
        made = {name: outputs[f"{name}-{side}"] for name in ("jpeg", "avif")}
        likeness = {name: similarity(output, expected) for name, output in made.items()}
        assert likeness["avif"] > likeness["jpeg"] - 0.001, likeness
        bytes_of = {name: (tmp_path / f"outputs/{name}-{side}").stat().st_size for name in made}
        assert bytes_of["avif"] < 0.75 * bytes_of["jpeg"], bytes_of


@pytest.mark.parametrize("written", ["JPEG", "PNG", "WEBP", "AVIF", "GIF"])
def test_nothing_of_the_metadata_is_left(render: Render, tmp_path: Path, written: str) -> None:
    secrets: dict[str, Any] = {"exif": gps_exif(1), "xmp": b"<x:xmpmeta>secret</x:xmpmeta>", "comment": b"secret"}
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", "<x:xmpmeta>secret</x:xmpmeta>")
    texts.add_text("Comment", "secret")
    scene(450, 300).save(tmp_path / "source", written, **secrets, pnginfo=texts)
    assert b"secret" in (tmp_path / "source").read_bytes()
    formats = (Format.JPEG, Format.PNG, Format.WEBP, Format.AVIF)
    render(tmp_path / "source", ORIGINAL, *(Rendition(name=f.lower(), kind=Kind.IMAGE, format=f) for f in formats))
    for path in (tmp_path / "outputs").iterdir():
        content = path.read_bytes()
        assert not any(word in content for word in (b"Exif", b"EXIF", b"Camera", b"secret", b"xmp", b"XMP")), path


def test_an_original_is_decoded_once_and_the_others_are_made_from_it(render: Render, tmp_path: Path) -> None:
    """The Original changes nothing but that the others lose a decoder's reduction: they must be as good."""
    sides = [jpeg(f"r{side}", side, side) for side in (320, 640, 1080)]
    alone = render(PHOTO, *sides)
    (tmp_path / "outputs").rename(tmp_path / "before")
    beside = render(PHOTO, *sides, ORIGINAL)
    with Image.open(PHOTO) as photo:
        photo.load()
    assert similarity(beside["original"], photo) > 0.97
    for rendition in sides:
        expected = photo.resize(beside[rendition.name].size, Image.Resampling.LANCZOS)
        difference = similarity(beside[rendition.name], expected) - similarity(alone[rendition.name], expected)
        assert difference > -0.003
