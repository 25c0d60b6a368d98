import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from media_transcoder import image, verify
from media_transcoder.media import Workplace
from media_transcoder.pictures import imagefile
from mediaasset.media import Kind
from mediaasset.task import Fit, Format, Limits, Rendition

#: The image renditions of the profile `web`.
WEB = (
    Rendition(name="thumbnail", kind=Kind.IMAGE, format=Format.JPEG, fit=Fit.COVER, width=150, height=150, quality=85),
    Rendition(name="small", kind=Kind.IMAGE, format=Format.JPEG, width=320, height=320, quality=85),
    Rendition(name="medium", kind=Kind.IMAGE, format=Format.JPEG, width=640, height=640, quality=85),
    Rendition(name="large", kind=Kind.IMAGE, format=Format.JPEG, width=1080, height=1080, quality=85),
    Rendition(name="webp", kind=Kind.IMAGE, format=Format.WEBP, width=640, height=640, quality=80),
    Rendition(name="original", kind=Kind.IMAGE, format=Format.ORIGINAL, quality=92),
)

Render = Callable[..., dict[str, Image.Image]]


@pytest.fixture(autouse=True)
def as_in_the_child(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Treat warnings as the child does, not as pytest does; take back the limit that Pillow keeps for the process."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    with warnings.catch_warnings():
        imagefile.strict_warnings()
        yield


@pytest.fixture
def render(tmp_path: Path) -> Render:
    """Render a file as the child does, verify it, and return the outputs as loaded images by name."""

    def run(source: Path, *renditions: Rendition, limits: Limits | None = None) -> dict[str, Image.Image]:
        place = Workplace(
            source=source,
            directory=tmp_path / "outputs",
            limits=limits or Limits(max_pixels=50_000_000, max_frames=500),
            report=lambda *_: None,
        )
        place.directory.mkdir()
        wanted = renditions or WEB
        media = image.probe(source, place.limits)
        made = {rendition.name: make() for rendition, make in image.render(media, wanted, place)}
        opened: dict[str, Image.Image] = {}
        for rendition in wanted:
            path = place.directory / rendition.name
            verify.verify(media, rendition, made[rendition.name], path)
            with Image.open(path) as output:
                output.load()
                opened[rendition.name] = output
        return opened

    return run
