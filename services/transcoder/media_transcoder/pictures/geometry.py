"""Sizes of renditions: pure arithmetic on whole pixels. Nothing is ever enlarged."""

from fractions import Fraction

from mediaasset.task import Fit, Rendition

Size = tuple[int, int]


def scale_of(rendition: Rendition, size: Size) -> Fraction:
    """Return the factor, at most 1, by which a source of `size` is scaled for a rendition, before any cutting.

    The shorter side does not fall below rendition.min_side, where the source has as much.
    """
    ratios = [
        Fraction(bound, side) for bound, side in zip((rendition.width, rendition.height), size, strict=True) if bound
    ]
    if not ratios:
        return Fraction(1)
    scale = max(ratios) if rendition.fit is Fit.COVER else min(ratios)
    if rendition.min_side:
        scale = max(scale, Fraction(rendition.min_side, min(size)))
    return min(Fraction(1), scale)


def scaled(size: Size, scale: Fraction) -> Size:
    """Return a size in proportion, each side rounded half up and at least 1."""
    width, height = (max(1, int(side * scale + Fraction(1, 2))) for side in size)
    return width, height


def size_of(rendition: Rendition, size: Size) -> Size:
    """Return the exact size of a rendition of a source of `size`; Exact is as large as its box in any case."""
    if rendition.fit is Fit.EXACT and rendition.width and rendition.height:
        return rendition.width, rendition.height
    width, height = scaled(size, scale_of(rendition, size))
    if rendition.fit is Fit.COVER:
        return min(width, rendition.width or width), min(height, rendition.height or height)
    return width, height


def even_size_of(rendition: Rendition, size: Size) -> Size:
    """Return the size of a video rendition: inside the box, both sides even as 4:2:0 needs, and at least 2."""
    width, height = (max(2, side // 2 * 2) for side in scaled(size, scale_of(rendition, size)))
    return width, height


def centre(size: Size, target: Size) -> tuple[float, float, float, float]:
    """Return the largest centred box of `size` that has the proportions of `target`: left, top, right, bottom."""
    scale = min(Fraction(size[0], target[0]), Fraction(size[1], target[1]))
    width, height = target[0] * scale, target[1] * scale
    left, top = (size[0] - width) / 2, (size[1] - height) / 2
    return float(left), float(top), float(left + width), float(top + height)
