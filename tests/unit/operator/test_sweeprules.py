"""The forms of keys, and what a report says."""

from datetime import UTC, datetime
from itertools import product

import pytest

from litter import GONE, rendition, tree
from making import NOW
from media_operator.sweepreport import Kind, Report, Row
from media_operator.sweeprules import refusal, unit_of
from mediaasset import keys, pointers

HEX = "0123456789abcdef"


@pytest.mark.parametrize(
    ("key", "unit"),
    [
        (rendition(GONE), rendition(GONE)),
        (rendition(GONE, top="private"), rendition(GONE, top="private")),
        # An install for one tenant has no namespace in its keys, and a path may have many parts.
        (f"media/ads/12/{GONE}/mp4-{HEX}.mp4", f"media/ads/12/{GONE}/mp4-{HEX}.mp4"),
        (tree(GONE)[1], f"media/shop/assets/{GONE}/hls-{HEX}/"),
        (f"uploads/shop/a.b/{HEX * 2}", "uploads/shop/a.b/"),
        (f"uploads/shop/a.b/{HEX * 2}.tail-12", "uploads/shop/a.b/"),
        ("uploads/shop/a.b/upload.json", "uploads/shop/a.b/"),
        (f"work/{GONE}/12/result.json", f"work/{GONE}/12/"),
        ("tombstones/shop/a.b.json", "tombstones/shop/a.b.json"),
        (pointers.name_key("a"), pointers.name_key("a")),
        (pointers.path_key("a"), pointers.path_key("a")),
        (keys.retention_mark("shop", "a", GONE), keys.retention_mark("shop", "a", GONE)),
    ],
)
def test_what_goes_together(key: str, unit: str) -> None:
    assert unit_of(key) == unit


@pytest.mark.parametrize(
    "key",
    [
        "media/x.jpg",
        "media/.names/x",
        f"media/{GONE}",
        f"media/shop/assets/{GONE}/photo.jpg",
        f"media/shop/assets/{GONE}/medium-{HEX}",
        f"media/shop/assets/{GONE}/medium-{HEX[:8]}.jpg",
        f"media/shop/assets/{GONE.upper()}/medium-{HEX}.jpg",
        f"other/shop/assets/{GONE}/medium-{HEX}.jpg",
        "uploads/shop/a/photo.jpg",
        f"uploads/shop/{HEX * 2}",
        f"uploads/shop/a/b/{HEX * 2}",
        f"work/{GONE}/notes/result.json",
        "work/result.json",
        # Those of others are no name-based ones.
        f"whatsapp-media/shop/2026-01-02/image/{GONE}.jpg",
        "",
    ],
)
def test_what_is_not_ours(key: str) -> None:
    assert unit_of(key) is None


def test_every_key_that_we_make_has_a_form() -> None:
    for public, tenant, path in product((True, False), ("shop", ""), ("assets", "a/b/c")):
        prefix = keys.asset_prefix(public=public, tenant=tenant, public_path=path, uid=GONE)
        single = keys.rendition(prefix, "thumbnail", HEX * 4, "jpg")
        assert unit_of(single) == single
        assert unit_of(keys.rendition_tree(prefix, "hls", HEX * 4) + "a/b.m4s")
    assert unit_of(keys.upload("shop", "a")) == keys.uploads_of("shop", "a")
    assert unit_of(keys.upload_record("shop", "a")) == keys.uploads_of("shop", "a")
    assert unit_of(keys.result(GONE, 1)) == unit_of(keys.failure(GONE, 1, "pod")) == f"work/{GONE}/1/"
    assert unit_of(keys.tombstone("shop", "a"))
    for mime in ("image/jpeg", None):
        key = keys.whatsapp_original("shop-1", datetime(2026, 1, 2, tzinfo=UTC), mime, GONE)
        assert unit_of(key) == key


def test_mark_tells_whose_it_is() -> None:
    assert keys.retained(keys.retention_mark("shop", "a.json.b", GONE)) == ("shop", "a.json.b", GONE)
    assert keys.retained(keys.tombstone("shop", "a")) is None


def row(kind: Kind, count: int, of: int, prefix: str = "media") -> Row:
    return Row(prefix, kind, count, of, 1000)


@pytest.mark.parametrize(
    ("rows", "assets", "is_refused"),
    [
        ([], 0, True),
        ([], 1, False),
        # Ten are few whatever their share is.
        ([row(Kind.ORPHAN, 10, 10)], 1, False),
        ([row(Kind.ORPHAN, 11, 54)], 1, True),
        ([row(Kind.ORPHAN, 11, 55)], 1, False),
        ([row(Kind.ORPHAN, 11, 100), row(Kind.UNREFERENCED, 10, 100)], 1, True),
        ([row(Kind.ORPHAN, 11, 100), row(Kind.ORPHAN, 10, 100, "private")], 1, False),
        ([row(Kind.FAILED, 21, 100, "assets")], 100, True),
        # These follow from their age, whatever the assets are.
        ([row(Kind.EXPIRED, 100, 100, "tombstones"), row(Kind.ATTEMPT, 99, 100, "work")], 1, False),
    ],
)
def test_what_is_not_believed(rows: list[Row], assets: int, is_refused: bool) -> None:  # noqa: FBT001 - a parameter
    assert bool(refusal(rows, assets, 20)) == is_refused


def test_report_is_for_people_and_for_programs() -> None:
    report = Report(
        deletes=True,
        assets=1234,
        objects=5678,
        rows=(Row("media", Kind.ORPHAN, 12, 5000, 1_234_567, 12), Row("work", Kind.ATTEMPT, 3, 678, 99, 3)),
        notes=("One thing was not looked at.",),
        seconds=NOW.second,
    )
    assert Report.from_json(report.to_json()) == report
    assert report.table().splitlines() == [
        "prefix  reason       found     of      bytes  deleted",
        "media   orphan          12  5,000  1,234,567       12",
        "work    old-attempt      3    678         99        3",
        "One thing was not looked at.",
        "15 to go, of 5678 objects and 1234 assets; 15 deleted.",
    ]
    assert Report(deletes=False).summary().endswith("nothing was deleted, since deletion is off.")
    assert Report(deletes=True, refused="why").summary().endswith("nothing was deleted: why.")
    for text in ("", "[]", "{}", '{"rows": [{}]}'):
        with pytest.raises((ValueError, TypeError, KeyError)):
            Report.from_json(text)
