import base64
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from media_transcoder.media import Media
from media_transcoder.messages import Rendered
from media_transcoder.pictures import thumbhash
from mediaasset.media import Kind
from mediaasset.task import Fit, Format, Rendition
from pictures import gps_exif, scene, stored


def pixels(width: int, height: int, *, is_transparent: bool) -> bytes:
    y, x = np.mgrid[:height, :width]
    alpha = x * 23 + y * 13 if is_transparent else np.full_like(x, 255)
    return np.dstack([x * 37 + y * 11, x * x + y * 5, x * 3 + y * y * 7, alpha]).astype(np.uint8).tobytes()


#: Made with the reference implementation, npm's thumbhash 0.1.1.
GOLDEN = {
    (32, 24, False): "5d080615864253d714629a508705a7370284ffce6c",
    (24, 32, False): "5e08061d06356411954b6409788269650565c8fe6e",
    (32, 24, True): "5d18820c820733890194412a4920f7efcd5547879767708608",
    (9, 32, True): "dd478609081868904969875490ddf34855776778495450",
    (16, 9, False): "1a380a3c96803798616797868786637ff98487",
    (1, 1, False): "000802070000000000000000000000000000000000000000",
}


@pytest.mark.parametrize(("shape", "golden"), GOLDEN.items(), ids=str)
def test_a_hash_is_that_of_the_reference(shape: tuple[int, int, bool], golden: str) -> None:
    width, height, is_transparent = shape
    found = thumbhash.of_pixels(width, height, pixels(width, height, is_transparent=is_transparent))
    assert found.hex() == golden


def test_nothing_but_transparency_has_a_hash() -> None:
    assert thumbhash.of_pixels(8, 8, bytes(256)).hex() == "00088205000000000000000000000000000000000000000000"


def nibbles(text: str | None) -> np.ndarray:
    content = np.frombuffer(base64.b64decode(text or ""), dtype=np.uint8)
    return np.concatenate([content >> 4, content & 15]).astype(int)


IMAGE = Media(kind=Kind.IMAGE, mime_type="image/png", width=900, height=600)


def made(path: Path, name: str, picture: Image.Image, fit: Fit = Fit.INSIDE) -> tuple[Rendition, Rendered]:
    picture.save(path / name, "PNG")
    rendition = Rendition(name=name, kind=Kind.IMAGE, format=Format.PNG, fit=fit)
    return rendition, Rendered(name=name, file=name, mime_type="image/png", width=picture.width, height=picture.height)


def test_the_smallest_whole_picture_is_hashed(tmp_path: Path) -> None:
    picture = scene()
    renditions = [
        made(tmp_path, "large", picture),
        made(tmp_path, "small", picture.resize((90, 60))),
        made(tmp_path, "cut", picture.resize((20, 20)), Fit.COVER),
        (Rendition(name="failed", kind=Kind.IMAGE, format=Format.JPEG), Rendered(name="failed")),
    ]
    found = thumbhash.of_media(IMAGE, tmp_path / "nothing", renditions, tmp_path)
    assert found == thumbhash.of_file(tmp_path / "small")
    assert 20 < len(base64.b64decode(found or "")) < 26


def test_without_one_the_source_itself_is_hashed_upright(tmp_path: Path) -> None:
    picture = scene(320, 240)
    stored(picture, 6).save(tmp_path / "source", "PNG", exif=gps_exif(6))
    picture.save(tmp_path / "upright", "PNG")
    cut = made(tmp_path, "cut", picture.resize((20, 20)), Fit.COVER)
    found = thumbhash.of_media(IMAGE, tmp_path / "source", [cut], tmp_path)
    # Made smaller before it is turned, a pixel may differ by a level.
    assert np.abs(nibbles(found) - nibbles(thumbhash.of_file(tmp_path / "upright"))).max() <= 1


@pytest.mark.parametrize("kind", [Kind.AUDIO, Kind.DOCUMENT, Kind.VIDEO])
def test_what_shows_nothing_has_no_hash(tmp_path: Path, kind: Kind) -> None:
    assert thumbhash.of_media(Media(kind=kind, mime_type="x/y"), tmp_path / "source", [], tmp_path) is None


def test_a_poster_gives_a_film_its_hash(tmp_path: Path) -> None:
    film = Media(kind=Kind.VIDEO, mime_type="video/mp4", width=320, height=240)
    assert thumbhash.of_media(film, tmp_path / "source", [made(tmp_path, "poster", scene(320, 240))], tmp_path)
