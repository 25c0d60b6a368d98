from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media_transcoder.pictures.geometry import centre, even_size_of, scale_of, scaled, size_of
from mediaasset.media import Kind
from mediaasset.task import Fit, Format, Rendition


def rendition(width: int | None, height: int | None, fit: Fit = Fit.INSIDE) -> Rendition:
    return Rendition(name="r", kind=Kind.IMAGE, format=Format.JPEG, fit=fit, width=width, height=height)


@pytest.mark.parametrize(
    ("source", "box", "expected"),
    [
        ((4000, 3000), (1080, 1080), (1080, 810)),
        ((3000, 4000), (640, 640), (480, 640)),
        ((300, 200), (1080, 1080), (300, 200)),
        ((4000, 3000), (320, None), (320, 240)),
        ((4000, 3000), (None, 300), (400, 300)),
        ((4000, 3000), (None, None), (4000, 3000)),
        ((10_000, 3), (320, 320), (320, 1)),
        ((1999, 1333), (640, 640), (640, 427)),
    ],
)
def test_inside_keeps_the_proportions(
    source: tuple[int, int], box: tuple[int | None, int | None], expected: tuple[int, int]
) -> None:
    assert size_of(rendition(*box), source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [((4000, 3000), (150, 150)), ((100, 400), (100, 150)), ((400, 100), (150, 100)), ((40, 30), (40, 30))],
)
def test_cover_cuts_and_never_enlarges(source: tuple[int, int], expected: tuple[int, int]) -> None:
    assert size_of(rendition(150, 150, Fit.COVER), source) == expected


sides = st.integers(1, 20_000)


@given(st.tuples(sides, sides), st.tuples(sides, sides), st.sampled_from([Fit.INSIDE, Fit.COVER]))
def test_nothing_exceeds_its_box_or_its_source(source: tuple[int, int], box: tuple[int, int], fit: Fit) -> None:
    width, height = size_of(rendition(*box, fit), source)
    assert 1 <= width <= min(box[0], source[0])
    assert 1 <= height <= min(box[1], source[1])
    left, top, right, bottom = centre(source, (width, height))
    assert 0 <= left < right <= source[0] + 1e-6
    assert 0 <= top < bottom <= source[1] + 1e-6


@given(st.tuples(sides, sides), st.tuples(sides, sides))
def test_exact_is_the_box_and_holds_the_whole_picture_as_large_as_inside(
    source: tuple[int, int], box: tuple[int, int]
) -> None:
    assert size_of(rendition(*box, Fit.EXACT), source) == box
    picture = scaled(source, scale_of(rendition(*box, Fit.EXACT), source))
    assert picture == size_of(rendition(*box), source)
    assert picture <= source


@given(st.tuples(sides, sides), st.tuples(sides, sides), sides)
def test_the_shorter_side_keeps_its_floor_where_the_source_has_it(
    source: tuple[int, int], box: tuple[int, int], floor: int
) -> None:
    inside, found = rendition(*box), replace(rendition(*box), min_side=floor)
    assert min(size_of(found, source)) >= min(floor, *source)
    if min(source) * scale_of(inside, source) >= floor:
        assert size_of(found, source) == size_of(inside, source)
    assert all(side <= limit for side, limit in zip(size_of(found, source), source, strict=True))


@given(st.tuples(sides, sides), st.tuples(st.integers(2, 4000), st.integers(2, 4000)))
def test_video_has_even_sides_within_its_box(source: tuple[int, int], box: tuple[int, int]) -> None:
    size = even_size_of(rendition(*box), source)
    assert all(side % 2 == 0 and 2 <= side <= limit for side, limit in zip(size, box, strict=True))
