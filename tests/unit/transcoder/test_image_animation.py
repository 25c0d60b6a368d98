import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from media_transcoder import image
from media_transcoder.media import Workplace
from mediaasset.media import Kind
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import Fit, Format, Limits, Rendition
from pictures import distance, gps_exif, jpeg, rgb, scene, stored

Render = Callable[..., dict[str, Image.Image]]

ANIMATED = Rendition(
    name="animated", kind=Kind.IMAGE, format=Format.WEBP, width=200, height=200, quality=90, animated=True
)
COLOURS = ("red", "lime", "blue", "yellow")
DURATIONS = [40, 120, 250, 90]


def frames(mode: str = "RGB") -> list[Image.Image]:
    pictures = []
    for number, colour in enumerate(COLOURS):
        picture = Image.new("RGBA", (400, 300), (0, 0, 0, 0) if mode == "RGBA" else "white")
        picture.paste(colour, (100 * number, 0, 100 * number + 100, 300))
        pictures.append(picture if mode == "RGBA" else picture.convert(mode))
    return pictures


def save(path: Path, written: str, pictures: list[Image.Image], **options: object) -> None:
    lossless = {"WEBP": {"lossless": True}, "AVIF": {"quality": 95}}.get(written, {})
    pictures[0].save(path, written, save_all=True, append_images=pictures[1:], **lossless, **options)  # type: ignore[arg-type]


def read(path: Path) -> list[tuple[Image.Image, int]]:
    found = []
    with Image.open(path) as opened:
        for number in range(opened.n_frames):  # type: ignore[attr-defined]
            opened.seek(number)
            picture = opened.convert("RGBA")
            found.append((picture, int(opened.info["duration"])))
    return found


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("written", ["GIF", "WEBP", "PNG", "AVIF"])
def test_an_animation_keeps_frames_durations_and_alpha(render: Render, tmp_path: Path, written: str, mode: str) -> None:
    save(
        tmp_path / "source", written, frames(mode), duration=DURATIONS, **({"disposal": 2} if written == "GIF" else {})
    )
    assert image.probe(tmp_path / "source", Limits()).frames == 4

    outputs = render(tmp_path / "source", ANIMATED, jpeg("still", 200, 200))

    made = read(tmp_path / "outputs/animated")
    assert [milliseconds for _, milliseconds in made] == DURATIONS
    for number, (picture, _) in enumerate(made):
        assert picture.size == (200, 150)
        expected = frames(mode)[number].resize((200, 150), Image.Resampling.LANCZOS)
        shown = np.asarray(picture)[..., 3] > 200
        assert np.abs(rgb(picture) - rgb(expected))[shown].mean() < 6
        if mode == "RGBA":
            assert np.abs(np.asarray(picture)[..., 3].astype(int) - np.asarray(expected)[..., 3]).mean() < 3
    assert np.abs(rgb(outputs["still"])[75, 25] - [255, 0, 0]).max() < 12
    assert np.abs(rgb(outputs["still"])[75, 75] - [255, 255, 255]).max() < 12


@pytest.mark.parametrize(
    ("written", "loop", "expected"),
    [("GIF", None, 1), ("GIF", 0, 0), ("GIF", 3, 4), ("WEBP", 0, 0), ("WEBP", 3, 3), ("PNG", 0, 0), ("PNG", 2, 2)],
)
def test_an_animation_is_shown_as_often(
    render: Render, tmp_path: Path, written: str, loop: int | None, expected: int
) -> None:
    save(tmp_path / "source", written, frames(), duration=100, **({} if loop is None else {"loop": loop}))
    assert render(tmp_path / "source", ANIMATED)["animated"].info["loop"] == expected


def test_a_frame_without_a_duration_is_shown_as_browsers_do(render: Render, tmp_path: Path) -> None:
    save(tmp_path / "source", "GIF", frames(), duration=[0, 10, 20, 30])
    render(tmp_path / "source", ANIMATED)
    assert [milliseconds for _, milliseconds in read(tmp_path / "outputs/animated")] == [100, 100, 20, 30]


def test_the_image_that_stands_for_an_animated_png_is_no_frame(render: Render, tmp_path: Path) -> None:
    frames()[0].save(
        tmp_path / "source",
        "PNG",
        save_all=True,
        append_images=frames()[1:],
        default_image=True,
        duration=DURATIONS[1:],
    )
    outputs = render(tmp_path / "source", ANIMATED, jpeg("still", 200, 200))
    made = read(tmp_path / "outputs/animated")
    assert [milliseconds for _, milliseconds in made] == DURATIONS[1:]
    assert np.abs(rgb(made[0][0])[75, 75] - [0, 255, 0]).max() < 25
    assert np.abs(rgb(outputs["still"])[75, 25] - [255, 0, 0]).max() < 12


@pytest.mark.parametrize(("fit", "size"), [(Fit.COVER, (100, 100)), (Fit.EXACT, (100, 100)), (Fit.INSIDE, (100, 75))])
def test_an_animation_is_turned_and_fitted(render: Render, tmp_path: Path, fit: Fit, size: tuple[int, int]) -> None:
    pictures = [scene(400, 300), scene(400, 300).rotate(180)]
    save(tmp_path / "source", "WEBP", [stored(picture, 6) for picture in pictures], duration=100, exif=gps_exif(6))
    wanted = Rendition(
        name="a", kind=Kind.IMAGE, format=Format.WEBP, fit=fit, width=100, height=100, quality=95, animated=True
    )
    render(tmp_path / "source", wanted)
    for picture, (made, _) in zip(pictures, read(tmp_path / "outputs/a"), strict=True):
        assert made.size == size
        whole = picture.resize((133, 100) if fit is Fit.COVER else (100, 75), Image.Resampling.LANCZOS)
        middle = whole.crop((16, 0, 116, 100)) if fit is Fit.COVER else whole
        shown = made.crop((0, 12, 100, 87)) if fit is Fit.EXACT else made
        assert distance(shown, middle) < 3
        assert (np.asarray(made)[5, 50, 3] == 0) == (fit is Fit.EXACT)
    assert b"EXIF" not in (tmp_path / "outputs/a").read_bytes()


def test_an_animation_keeps_to_its_bytes(render: Render, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    noise = [Image.fromarray(random.integers(0, 256, (150, 200, 3), dtype=np.uint8)) for _ in range(3)]
    save(tmp_path / "source", "PNG", noise, duration=[50, 60, 70])
    render(tmp_path / "source", ANIMATED)
    size = (tmp_path / "outputs/animated").stat().st_size
    (tmp_path / "outputs").rename(tmp_path / "before")
    bounded = Rendition(
        name="animated", kind=Kind.IMAGE, format=Format.WEBP, quality=90, animated=True, max_bytes=size - 1
    )
    render(tmp_path / "source", bounded)
    assert (tmp_path / "outputs/animated").stat().st_size < size
    assert [milliseconds for _, milliseconds in read(tmp_path / "outputs/animated")] == [50, 60, 70]


def test_a_still_image_is_not_animated(tmp_path: Path) -> None:
    scene(90, 60).save(tmp_path / "source", "GIF")
    place = Workplace(source=tmp_path / "source", directory=tmp_path, limits=Limits(), report=lambda *_: None)
    ((rendition, make),) = image.render(image.probe(place.source, place.limits), [ANIMATED], place)
    assert rendition is ANIMATED
    with pytest.raises(MediaError) as caught:
        make()
    assert caught.value.reason is Reason.NOT_APPLICABLE


def test_a_damaged_frame_is_undecodable(render: Render, tmp_path: Path) -> None:
    save(tmp_path / "whole", "PNG", frames(), duration=50)
    content = (tmp_path / "whole").read_bytes()
    at = content.rindex(b"fdAT") + 12
    (tmp_path / "source").write_bytes(content[:at] + bytes(20) + content[at + 20 :])
    with pytest.raises(MediaError) as caught:
        render(tmp_path / "source", ANIMATED)
    assert caught.value.reason is Reason.UNDECODABLE


_MEASURE = """
import resource, sys
from pathlib import Path
from media_transcoder import image
from media_transcoder.media import Workplace
from mediaasset.media import Kind
from mediaasset.task import Format, Limits, Rendition
place = Workplace(source=Path(sys.argv[1]), directory=Path(sys.argv[2]), limits=Limits(), report=lambda *_: None)
wanted = Rendition(name="a", kind=Kind.IMAGE, format=Format.WEBP, width=320, height=320, quality=50, animated=True)
for _, make in image.render(image.probe(place.source, place.limits), [wanted], place):
    make()
print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""


def test_memory_does_not_grow_with_the_number_of_frames(tmp_path: Path) -> None:
    def peak_mib(count: int) -> float:
        pictures = [Image.new("P", (1000, 800), number % 256) for number in range(count)]
        for number, picture in enumerate(pictures):
            picture.putpalette(bytes(range(256)) * 3)
            picture.paste(number % 7, (number * 5, 0, number * 5 + 300, 800))
        save(tmp_path / f"{count}.gif", "GIF", pictures, duration=50)
        program = [sys.executable, "-c", _MEASURE, str(tmp_path / f"{count}.gif"), str(tmp_path)]
        return int(subprocess.run(program, check=True, capture_output=True, text=True).stdout) / 1024

    # A decoded frame has 3 MiB, a resized one 0.3: sixty more of either would show.
    assert peak_mib(70) < peak_mib(10) + 12
