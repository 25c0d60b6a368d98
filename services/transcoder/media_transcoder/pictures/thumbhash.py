"""ThumbHash: some 25 bytes that a page shows as a blurred picture until the real one has come.

The algorithm is Evan Wallace's (https://github.com/evanw/thumbhash), to the bit. The package of PyPI walks over all
pixels for each of 40 coefficients, in Python; summing rows first needs a twentieth of that: 2 ms instead of 60.
"""

import base64
import math
from collections.abc import Sequence
from fractions import Fraction
from operator import mul
from pathlib import Path

from media_transcoder.faults import blaming
from media_transcoder.media import Media
from media_transcoder.messages import Rendered
from media_transcoder.pictures import imagefile
from media_transcoder.pictures.geometry import scaled
from mediaasset.media import Kind
from mediaasset.reasons import Reason
from mediaasset.task import Fit, Format, Rendition

#: The longer side of the picture that is hashed: the hash holds at most 7 waves, so more pixels would change nothing.
_SIDE = 32
_PICTURES = (Format.JPEG, Format.PNG, Format.WEBP, Format.AVIF, Format.ORIGINAL)


def of_media(
    media: Media, source: Path, renditions: Sequence[tuple[Rendition, Rendered]], directory: Path
) -> str | None:
    """Return the hash, in base64, of the smallest whole picture that was made of a source; of an image in any case.

    None where nothing is to be seen: of sound, of a document, and of a film without a poster. Raises MediaError
    (Undecodable) where an image of which nothing fit was made cannot be read.
    """
    pictures = [
        (rendered.width * rendered.height, rendered.file)
        for rendition, rendered in renditions
        if rendition.format in _PICTURES and rendition.fit is Fit.INSIDE and not rendition.animated
        if rendered.file and rendered.width and rendered.height
    ]
    if pictures:
        return of_file(directory / min(pictures)[1])
    return of_file(source) if media.kind is Kind.IMAGE else None


def of_file(path: Path) -> str:
    """Return the hash, in base64, of an image, which is decoded at reduced size where its format allows.

    Raises MediaError (Undecodable).
    """
    with imagefile.open_image(path) as image, blaming(Reason.UNDECODABLE):
        orientation = imagefile.orientation_of(image, path)
        size = imagefile.turned(image.size, orientation)
        scale = min(Fraction(1), Fraction(_SIDE, max(size)))
        small = imagefile.loaded(image, scaled(size, scale), orientation).convert("RGBA")
        return base64.b64encode(of_pixels(small.width, small.height, small.tobytes())).decode()


def of_pixels(width: int, height: int, rgba: bytes) -> bytes:
    """Return the hash of `width` x `height` pixels, row by row, of four bytes each (alpha not multiplied)."""
    area = width * height
    alphas = [alpha / 255 for alpha in rgba[3::4]]
    opacity = math.fsum(alphas)
    has_alpha = opacity < area
    # Transparency shows the average colour.
    red, green, blue = (_over_average(rgba[band::4], alphas, opacity) for band in range(3))
    light = [(r + g + b) / 3 for r, g, b in zip(red, green, blue, strict=True)]
    yellow_blue = [(r + g) / 2 - b for r, g, b in zip(red, green, blue, strict=True)]
    red_green = [r - g for r, g in zip(red, green, strict=True)]

    longest, limit = max(width, height), 5 if has_alpha else 7
    waves_x, waves_y = (max(1, _round(limit * side / longest)) for side in (width, height))
    bands = [
        _transformed(light, width, height, max(3, waves_x), max(3, waves_y)),
        _transformed(yellow_blue, width, height, 3, 3),
        _transformed(red_green, width, height, 3, 3),
    ]
    (l_mean, _, l_scale), (p_mean, _, p_scale), (q_mean, _, q_scale) = bands
    is_landscape = width > height
    head = _round(63 * l_mean) | _round(31.5 + 31.5 * p_mean) << 6 | _round(31.5 + 31.5 * q_mean) << 12
    head |= _round(31 * l_scale) << 18 | has_alpha << 23
    tail = (waves_y if is_landscape else waves_x) | _round(63 * p_scale) << 3 | _round(63 * q_scale) << 9
    tail |= is_landscape << 15
    found = head.to_bytes(3, "little") + tail.to_bytes(2, "little")
    if has_alpha:
        bands.append(_transformed(alphas, width, height, 5, 5))
        a_mean, _, a_scale = bands[-1]
        found += bytes([_round(15 * a_mean) | _round(15 * a_scale) << 4])
    nibbles = [_round(15 * wave) for _, waves, _ in bands for wave in waves]
    nibbles += [0] * (len(nibbles) % 2)
    return found + bytes(low | high << 4 for low, high in zip(nibbles[::2], nibbles[1::2], strict=True))


def _over_average(band: bytes, alphas: Sequence[float], opacity: float) -> list[float]:
    """Return one colour of all pixels, 0 to 1, laid over its own average."""
    average = math.fsum(map(mul, band, alphas)) / 255 / opacity if opacity else 0.0
    return [average * (1 - alpha) + alpha / 255 * value for value, alpha in zip(band, alphas, strict=True)]


def _transformed(
    values: Sequence[float], width: int, height: int, waves_x: int, waves_y: int
) -> tuple[float, list[float], float]:
    """Return the mean, the other waves of the cosine transform scaled to 0..1, and the scale that was taken out."""
    rows = [values[at : at + width] for at in range(0, width * height, width)]
    # Each row is summed once for each wave along it; the waves along the columns need only these sums.
    along = [[sum(map(mul, row, wave)) for row in rows] for wave in _cosines(waves_x, width)]
    across = _cosines(waves_y, height)
    found = [
        sum(map(mul, along[x], across[y])) / (width * height)
        for y in range(waves_y)
        for x in range(waves_x)
        if x * waves_y < waves_x * (waves_y - y)
    ]
    mean, waves = found[0], found[1:]
    scale = max(map(abs, waves), default=0.0)
    return mean, [0.5 + 0.5 / scale * wave for wave in waves] if scale else waves, scale


def _cosines(count: int, length: int) -> list[list[float]]:
    return [[math.cos(math.pi / length * wave * (at + 0.5)) for at in range(length)] for wave in range(count)]


def _round(value: float) -> int:
    # Half up, as JavaScript does: Python would round 4.5 down.
    return math.floor(value + 0.5)
