"""What a sweep takes and what it leaves, in a directory and in a bucket, with assets of SQLite."""

from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import chain
from typing import Any

import pytest

from litter import DAY, GONE, Place, random_uid, rendition, tree
from making import make_asset
from media_operator.sweepreport import Kind, Report
from mediaasset import keys
from mediaasset.assets import AssetsError
from mediaasset.names import REPROCESS_ANNOTATION
from mediaasset.reasons import MediaError, Reason
from mediaasset.spec import MediaAsset
from mediaasset.store import ObjectInfo

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
WHATSAPP = "whatsapp-media/shop-1/2026-01-02/image"


def found(report: Report) -> dict[tuple[str, str], int]:
    return {(row.prefix, str(row.kind)): row.found for row in report.rows}


def orphans() -> dict[str, list[str]]:
    """Return litter by prefix, of an asset that is gone."""
    return {
        "uploads": [keys.upload("shop", "gone"), keys.upload_record("shop", "gone")],
        "whatsapp-media": [f"{WHATSAPP}/{keys.whatsapp_name(GONE)}.jpg"],
        "media": [rendition(GONE), *tree(GONE)],
        "private": [rendition(GONE, top=keys.PRIVATE)],
        "work": [keys.result(GONE, 1), keys.failure(GONE, 2, "pod-1")],
    }


async def test_what_belongs_to_assets_stays_and_a_dry_run_deletes_nothing(place: Place) -> None:
    await place.ready("public")
    await place.ready("private", top=keys.PRIVATE)
    everything = await place.objects()
    assert len(everything) == 10
    report = await place.sweep(400 * DAY)
    assert (report.rows, report.assets, report.objects, report.result) == ((), 2, 10, "deleted")
    await place.put(*chain(*orphans().values()))
    littered = await place.objects()
    report = await place.sweep(2 * DAY, deletes=False)
    assert found(report) == {(prefix, "orphan"): len(wanted) for prefix, wanted in orphans().items()}
    assert (report.result, report.deleted) == ("counted", 0)
    assert await place.objects() == littered
    report = await place.sweep(2 * DAY)
    assert {(row.prefix, row.deleted) for row in report.rows} == {(p, len(w)) for p, w in orphans().items()}
    assert await place.objects() == everything
    assert (await place.sweep(2 * DAY)).rows == ()


@pytest.mark.parametrize("prefix", sorted(orphans()))
async def test_orphans_go_from_a_day_on(place: Place, prefix: str) -> None:
    await place.ready()
    await place.put(*(litter := orphans()[prefix]))
    assert (await place.sweep(DAY - HOUR)).rows == ()
    assert litter[0] in await place.objects()
    report = await place.sweep(DAY + HOUR)
    assert found(report) == {(prefix, "orphan"): len(litter)}
    assert not await place.objects() & set(litter)


async def test_an_hour_or_a_week_may_be_the_age(place: Place) -> None:
    await place.ready()
    await place.put(rendition(GONE))
    assert found(await place.sweep(2 * DAY, sweep_age_seconds=7 * 24 * 3600)) == {}
    assert found(await place.sweep(2 * HOUR, sweep_age_seconds=3600)) == {("media", "orphan"): 1}


async def test_an_upload_that_may_still_go_on_is_no_orphan(place: Place) -> None:
    await place.ready()
    key = keys.upload("shop", "coming")
    await place.put(keys.upload_record("shop", "coming"))
    handle = await place.unfinished(key)
    week = 7 * 24 * 3600
    assert found(await place.sweep(6 * DAY, upload_lifetime_seconds=week)) == {}
    assert await place.parts.size(key, handle) == 10
    report = await place.sweep(8 * DAY, upload_lifetime_seconds=week)
    assert found(report)["multipart", "unfinished"] == 1
    assert report.deleted >= 2
    assert [each async for each in place.parts.unfinished()] == []
    assert not {key for key in await place.objects() if "/coming/" in key}


async def test_what_was_to_be_retained_stays_for_ever(place: Place) -> None:
    await place.ready()
    litter = orphans()
    await place.put(*chain(*litter.values()))
    await place.put(keys.retention_mark("shop", "gone", GONE), keys.tombstone("shop", "gone"))
    report = await place.sweep(400 * DAY)
    # Its attempts were to go with it, and its name may be used again.
    assert found(report) == {("work", "orphan"): 2, ("tombstones", "expired"): 1}
    kept = {key for prefix, wanted in litter.items() if prefix != "work" for key in wanted}
    assert kept < await place.objects()
    assert found(await place.sweep(800 * DAY)) == {}


async def test_only_what_we_write_is_looked_at(place: Place) -> None:
    await place.ready()
    strange = [
        "uploads/shop/by-hand/photo.jpg",
        "uploads/photo.jpg",
        f"media/shop/assets/{GONE}/photo.jpg",
        "media/logo.png",
        f"private/shop/notes/medium-{'0' * 16}.jpg",
        f"{WHATSAPP}/{random_uid()}.jpg",
        "work/notes.txt",
        "tombstones/readme.txt",
    ]
    await place.put(*strange)
    report = await place.sweep(400 * DAY, sweep_max_percent=100)
    assert report.rows == ()
    assert set(strange) < await place.objects()


async def test_a_source_that_lies_under_another_name_stays(place: Place) -> None:
    borrowed = keys.upload("shop", "somewhere-else")
    await place.put(borrowed)
    await place.ready("b", source={"object": {"key": borrowed}})
    assert found(await place.sweep(2 * DAY)) == {}


async def test_tombstones_are_kept_for_as_long_as_anybody_repeats_himself(place: Place) -> None:
    await place.ready()
    await place.put(*(keys.tombstone("shop", f"t{number}") for number in range(20)))
    assert found(await place.sweep(14 * DAY - HOUR)) == {}
    # However many they are: that follows from their age alone.
    report = await place.sweep(14 * DAY + HOUR)
    assert found(report) == {("tombstones", "expired"): 20}
    assert not {key for key in await place.objects() if key.startswith("tombstones/")}


async def test_old_attempts_of_a_finished_asset_go_and_its_result_stays(place: Place) -> None:
    asset = await place.ready(attempt=3)
    uid = asset.metadata.uid
    await place.put(keys.result(uid, 1), keys.failure(uid, 2, "pod"), keys.failure(uid, 3, "pod"))
    await place.put(keys.failure(uid, 4, "a-new-one"))
    assert found(await place.sweep(DAY - HOUR)) == {}
    assert found(await place.sweep(2 * DAY)) == {("work", "old-attempt"): 2}
    left = {key for key in await place.objects() if key.startswith("work/")}
    assert left == {keys.result(uid, 3), keys.failure(uid, 3, "pod"), keys.failure(uid, 4, "a-new-one")}


async def test_nothing_of_an_asset_on_its_way_is_touched(place: Place) -> None:
    asset = await place.ready(top=keys.PRIVATE, attempt=3)
    await place.put(rendition(asset.metadata.uid, "old", top=keys.PRIVATE), keys.result(asset.metadata.uid, 1))
    await place.assets.annotate(*asset.key, {REPROCESS_ANNOTATION: "now"})
    assert found(await place.sweep(2 * DAY)) == {}


async def test_superseded_objects_stay_while_they_are_public_and_go_when_private(place: Place) -> None:
    public = (await place.ready("public")).metadata.uid
    private = (await place.ready("private", top=keys.PRIVATE)).metadata.uid
    litter = [rendition(private, "old", top=keys.PRIVATE), rendition(private, "leftover")]
    await place.put(rendition(public, "old"), *litter)
    assert found(await place.sweep(DAY - HOUR)) == {}
    report = await place.sweep(2 * DAY)
    assert found(report) == {("private", "unreferenced"): 1, ("media", "unreferenced"): 1}
    objects = await place.objects()
    assert not objects & set(litter)
    assert rendition(public, "old") in objects


async def test_failed_assets_go_after_a_week_unless_they_say_otherwise(place: Place) -> None:
    await place.ready()
    await place.failed("old", place.now)
    await place.failed("own", place.now, expireSecondsAfterFailure=3_000_000)
    await place.failed("served", place.now, published=True)
    assert found(await place.sweep(7 * DAY - SECOND)) == {}
    assert found(await place.sweep(8 * DAY, sweep_failed_seconds=0)) == {}
    report = await place.sweep(7 * DAY)
    assert found(report) == {("assets", "failed"): 1}
    assert [(row.of, row.deleted) for row in report.rows] == [(4, 1)]
    deleted = {asset.metadata.name async for asset in place.assets.all() if asset.deleted_at}
    assert deleted == {"old"}
    assert found(await place.sweep(7 * DAY)) == {}


async def test_a_failed_asset_that_is_asked_for_again_stays(place: Place) -> None:
    await place.ready()
    asset = await place.failed("again", place.now)
    await place.assets.annotate(*asset.key, {REPROCESS_ANNOTATION: "now"})
    assert found(await place.sweep(8 * DAY)) == {}


async def test_without_any_asset_nothing_is_deleted(place: Place) -> None:
    await place.put(keys.tombstone("shop", "old"), rendition(GONE))
    report = await place.sweep(400 * DAY)
    assert report.result == "refused"
    assert report.refused is not None
    assert "no asset at all" in report.refused
    assert report.deleted == 0
    assert len(await place.objects()) == 2


async def test_too_many_are_not_believed(place: Place) -> None:
    await place.ready()
    await place.put(*(rendition(random_uid()) for _ in range(11)), keys.tombstone("shop", "old"))
    before = await place.objects()
    report = await place.sweep(400 * DAY)
    assert report.refused == "11 of 14 under media would go, more than 20 %"
    assert await place.objects() == before
    # A dry run says so as well.
    assert (await place.sweep(400 * DAY, deletes=False)).refused == report.refused
    assert (await place.sweep(400 * DAY, sweep_max_percent=100)).deleted == 12


async def test_other_namespaces_are_left_alone(place: Place) -> None:
    await place.ready()
    theirs = [
        rendition(GONE, namespace="elsewhere"),
        keys.upload("elsewhere", "gone"),
        keys.tombstone("elsewhere", "gone"),
        # These do not say whose they are.
        keys.result(GONE, 1),
        f"{WHATSAPP}/{keys.whatsapp_name(GONE)}.jpg",
    ]
    await place.put(*theirs, rendition(GONE))
    assert found(await place.sweep(400 * DAY, namespaces=("shop",))) == {("media", "orphan"): 1}
    assert set(theirs) < await place.objects()
    # Nor does a key say it in an install for one tenant.
    await place.put(rendition(GONE))
    assert found(await place.sweep(400 * DAY, namespaces=("shop",), single_tenant=True)) == {}


class Interfered:
    """A port between whose calls something happens."""

    def __init__(self, port: Any, **replaced: Any) -> None:
        self._port, self._replaced = port, replaced

    def __getattr__(self, name: str) -> Any:
        return self._replaced.get(name) or getattr(self._port, name)


async def test_an_asset_that_is_made_between_the_two_lists_loses_nothing(place: Place) -> None:
    await place.ready()
    key = keys.upload("shop", "late")
    await place.put(key)
    assets = place.assets

    async def all_of_them() -> AsyncIterator[MediaAsset]:
        # The objects are listed by now.
        await assets.create(make_asset(name="late", source={"object": {"key": key}}))
        async for asset in assets.all():
            yield asset

    place.assets = Interfered(assets, all=all_of_them)
    assert found(await place.sweep(2 * DAY)) == {}
    assert key in await place.objects()


async def test_an_asset_that_is_made_after_both_lists_loses_nothing_either(place: Place) -> None:
    await place.ready()
    key = keys.upload("shop", "later")
    await place.put(key)
    assets = place.assets

    async def all_of_them() -> AsyncIterator[MediaAsset]:
        async for asset in assets.all():
            yield asset
        await assets.create(make_asset(name="later", source={"object": {"key": key}}))

    place.assets = Interfered(assets, all=all_of_them)
    report = await place.sweep(2 * DAY)
    assert [(row.found, row.deleted) for row in report.rows] == [(1, 0)]
    assert key in await place.objects()


async def test_a_private_object_that_is_named_again_meanwhile_stays(place: Place) -> None:
    asset = await place.ready(top=keys.PRIVATE)
    again = rendition(asset.metadata.uid, "small", top=keys.PRIVATE)
    await place.put(again)
    assets = place.assets

    async def all_of_them() -> AsyncIterator[MediaAsset]:
        async for each in assets.all():
            yield each
        made = asset.status.renditions[0].model_copy(update={"name": "small", "key": again})
        renditions = (*asset.status.renditions, made)
        await assets.write_status(asset, asset.status.model_copy(update={"renditions": renditions}))

    place.assets = Interfered(assets, all=all_of_them)
    assert [(row.found, row.deleted) for row in (await place.sweep(2 * DAY)).rows] == [(1, 0)]
    assert again in await place.objects()


async def test_a_list_that_fails_ends_the_sweep_with_nothing_deleted(place: Place) -> None:
    await place.ready()
    await place.put(rendition(GONE), *tree(GONE))
    before = await place.objects()
    assets, store = place.assets, place.store

    async def half_of_the_assets() -> AsyncIterator[MediaAsset]:
        async for asset in assets.all():
            yield asset
            message = "the connection broke"
            raise AssetsError(message)

    async def half_of_the_objects(prefix: str) -> AsyncIterator[ObjectInfo]:
        async for item in store.list(prefix):
            yield item
        if prefix == "tombstones/":
            raise MediaError(Reason.STORE_UNAVAILABLE)

    place.assets = Interfered(assets, all=half_of_the_assets)
    with pytest.raises(AssetsError):
        await place.sweep(2 * DAY)
    place.assets, place.store = assets, Interfered(store, list=half_of_the_objects)
    with pytest.raises(MediaError):
        await place.sweep(2 * DAY)
    place.store = store
    assert await place.objects() == before


async def test_whoever_dies_half_way_is_followed_by_a_sweep_that_does_the_rest(place: Place) -> None:
    """Die before each deletion in turn, then sweep again: the end is that of an undisturbed sweep."""
    await place.ready()
    expected = await place.objects()
    store = place.store
    litter = [*orphans()["media"], *orphans()["uploads"], *orphans()["work"]]
    for deaths in range(1, 6):
        await place.put(*litter)
        left = deaths

        async def delete(wanted: list[str]) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
            await store.delete(wanted)

        place.store = Interfered(store, delete=delete)
        with pytest.raises(KeyboardInterrupt):
            await place.sweep(2 * DAY)
        place.store = store
        assert expected < await place.objects()
        assert (await place.sweep(2 * DAY)).deleted > 0
        assert await place.objects() == expected


async def test_a_store_that_goes_away_half_way_is_told(place: Place) -> None:
    await place.ready()
    await place.put(rendition(GONE), keys.result(GONE, 1))
    store = place.store

    async def delete(wanted: list[str]) -> None:
        if wanted[0].startswith("work/"):
            raise MediaError(Reason.STORE_UNAVAILABLE)
        await store.delete(wanted)

    place.store = Interfered(store, delete=delete)
    report = await place.sweep(2 * DAY)
    assert (report.result, report.deleted) == ("failed", 1)
    assert {(row.kind, row.prefix, row.deleted) for row in report.rows} == {
        (Kind.ORPHAN, "media", 1),
        (Kind.ORPHAN, "work", 0),
    }
    assert Report.from_json(report.to_json()) == report
