"""What every adapter of the port `Assets` keeps."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from mediaasset.assets import AlreadyExistsError, Assets, ConflictError, Event, NotFoundError
from mediaasset.catalogue import Query
from mediaasset.names import FINALIZER, REPROCESS_ANNOTATION
from mediaasset.reasons import Reason
from mediaasset.spec import MediaAsset, MediaAssetSpec, Metadata, ObjectSource, Source, Visibility
from mediaasset.status import ConditionType, Status, condition

NAMESPACE = "default"
NOW = datetime(2025, 1, 1, tzinfo=UTC)


def new(name: str = "one", *, namespace: str = NAMESPACE, user: str | None = "42") -> MediaAsset:
    return MediaAsset(
        metadata=Metadata(namespace=namespace, name=name),
        spec=MediaAssetSpec(
            source=Source(object=ObjectSource(key=f"uploads/{namespace}/{name}/00")),
            user_id=user,
            visibility=Visibility.PUBLIC,
            original_file_name="naïve \N{CAMERA} photo.jpg",
            metadata={"color": "blue"},
        ),
    )


def finished(asset: MediaAsset, kind: ConditionType = ConditionType.READY) -> Status:
    generation = asset.metadata.generation
    reason = Reason.READY if kind is ConditionType.READY else Reason.UNDECODABLE
    final = condition(kind, status=True, reason=reason, message="", generation=generation, now=NOW)
    return Status(observed_generation=generation, attempt=1, conditions=(final,))


async def test_created_asset_has_what_an_api_server_gives(assets: Assets) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)
    created = await assets.create(new())
    metadata = created.metadata
    assert metadata.uid
    assert metadata.generation == 1
    assert metadata.resource_version
    assert metadata.finalizers == (FINALIZER,)
    assert metadata.creation_timestamp is not None
    assert metadata.creation_timestamp >= before
    assert metadata.deletion_timestamp is None
    assert created.spec == new().spec
    assert await assets.get(NAMESPACE, "one") == created


async def test_create_ignores_a_status_that_is_sent_along(assets: Assets) -> None:
    created = await assets.create(new().model_copy(update={"status": Status(attempt=7)}))
    assert created.status == Status()


async def test_name_is_taken_once_per_namespace(assets: Assets) -> None:
    first = await assets.create(new())
    with pytest.raises(AlreadyExistsError):
        await assets.create(new())
    other = await assets.create(new(namespace="other"))
    assert other.metadata.uid != first.metadata.uid
    assert await assets.get(NAMESPACE, "one") == first


async def test_of_many_creates_of_one_name_one_wins(assets: Assets) -> None:
    answers = await asyncio.gather(*(assets.create(new()) for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(answer, MediaAsset) for answer in answers) == 1
    assert sum(isinstance(answer, AlreadyExistsError) for answer in answers) == 7


async def test_name_of_an_asset_that_is_being_deleted_is_taken(assets: Assets) -> None:
    created = await assets.create(new())
    await assets.delete(NAMESPACE, "one")
    with pytest.raises(AlreadyExistsError):
        await assets.create(new())
    await assets.release(created)
    again = await assets.create(new())
    assert again.metadata.uid != created.metadata.uid


async def test_what_is_not_there_is_not_found(assets: Assets) -> None:
    ghost = await assets.create(new())
    await assets.delete(NAMESPACE, "one")
    await assets.release(ghost)
    with pytest.raises(NotFoundError):
        await assets.get(NAMESPACE, "one")
    with pytest.raises(NotFoundError):
        await assets.write_status(ghost, Status(attempt=1))
    with pytest.raises(NotFoundError):
        await assets.annotate(NAMESPACE, "one", {"a": "b"})
    with pytest.raises(NotFoundError):
        await assets.delete(NAMESPACE, "one")
    await assets.release(ghost)


async def test_list_is_newest_first_in_pages_and_knows_the_total(assets: Assets) -> None:
    for number in range(5):
        await assets.create(new(f"n{number}"))
    await assets.create(new("elsewhere", namespace="other"))
    page = await assets.list(NAMESPACE, limit=2)
    assert ([item.metadata.name for item in page.items], page.total) == (["n4", "n3"], 5)
    page = await assets.list(NAMESPACE, limit=2, offset=4)
    assert ([item.metadata.name for item in page.items], page.total) == (["n0"], 5)
    page = await assets.list(NAMESPACE, limit=2, offset=10)
    assert (page.items, page.total) == ((), 5)


async def test_list_of_a_user_holds_only_theirs(assets: Assets) -> None:
    await assets.create(new("mine", user="42"))
    await assets.create(new("yours", user="43"))
    await assets.create(new("nobodys", user=None))
    page = await assets.list(NAMESPACE, Query(user_id="42"), limit=10)
    assert ([item.metadata.name for item in page.items], page.total) == (["mine"], 1)


async def test_list_leaves_out_what_is_being_deleted(assets: Assets) -> None:
    await assets.create(new("kept"))
    await assets.create(new("gone"))
    await assets.delete(NAMESPACE, "gone")
    page = await assets.list(NAMESPACE, limit=10)
    assert ([item.metadata.name for item in page.items], page.total) == (["kept"], 1)


async def test_status_is_replaced_and_the_spec_is_not(assets: Assets) -> None:
    created = await assets.create(new())
    status = finished(created)
    written = await assets.write_status(created, status)
    assert written.status == status
    assert (written.spec, written.metadata.generation) == (created.spec, 1)
    assert written.metadata.resource_version != created.metadata.resource_version
    assert await assets.get(NAMESPACE, "one") == written


async def test_status_of_an_older_version_is_a_conflict(assets: Assets) -> None:
    created = await assets.create(new())
    await assets.annotate(NAMESPACE, "one", {"unrelated": "1"})
    with pytest.raises(ConflictError):
        await assets.write_status(created, Status(attempt=1))
    assert (await assets.get(NAMESPACE, "one")).status == Status()


async def test_of_two_writers_of_one_version_one_wins(assets: Assets) -> None:
    created = await assets.create(new())
    answers = await asyncio.gather(
        *(assets.write_status(created, Status(attempt=number)) for number in (1, 2, 3)), return_exceptions=True
    )
    assert sum(isinstance(answer, ConflictError) for answer in answers) == 2
    (winner,) = [answer for answer in answers if isinstance(answer, MediaAsset)]
    assert await assets.get(NAMESPACE, "one") == winner


async def test_annotations_are_added_and_replaced_and_no_new_generation(assets: Assets) -> None:
    await assets.create(new())
    await assets.annotate(NAMESPACE, "one", {"a": "1", "b": "1"})
    await assets.annotate(NAMESPACE, "one", {"b": "2"})
    metadata = (await assets.get(NAMESPACE, "one")).metadata
    assert {key: metadata.annotations[key] for key in ("a", "b")} == {"a": "1", "b": "2"}
    assert metadata.generation == 1


async def test_deleted_asset_can_be_read_until_it_is_released(assets: Assets) -> None:
    created = await assets.create(new())
    await assets.delete(NAMESPACE, "one")
    first = await assets.get(NAMESPACE, "one")
    assert first.deleted_at is not None
    await assets.delete(NAMESPACE, "one")
    assert (await assets.get(NAMESPACE, "one")).deleted_at == first.deleted_at
    await assets.release(created)
    with pytest.raises(NotFoundError):
        await assets.get(NAMESPACE, "one")


async def test_by_its_uid_only_that_very_asset_is_deleted(assets: Assets) -> None:
    first = await assets.create(new())
    await assets.delete(NAMESPACE, "one", uid=first.metadata.uid)
    await assets.release(first)
    again = await assets.create(new())
    with pytest.raises(NotFoundError):
        await assets.delete(NAMESPACE, "one", uid=first.metadata.uid)
    assert await assets.get(NAMESPACE, "one") == again


async def test_unfinished_are_those_without_a_final_answer_to_what_is_asked(assets: Assets) -> None:
    names = ("fresh", "ready", "failed", "working", "asked", "deleted", "gone")
    created = {name: await assets.create(new(name)) for name in names}
    await assets.write_status(created["ready"], finished(created["ready"]))
    await assets.write_status(created["failed"], finished(created["failed"], ConditionType.STALLED))
    await assets.write_status(created["working"], Status(observed_generation=1, attempt=1))
    await assets.write_status(created["asked"], finished(created["asked"]))
    await assets.annotate(NAMESPACE, "asked", {REPROCESS_ANNOTATION: "now"})
    await assets.write_status(created["deleted"], finished(created["deleted"]))
    await assets.delete(NAMESPACE, "deleted")
    await assets.delete(NAMESPACE, "gone")
    await assets.release(created["gone"])
    assert set(await assets.unfinished()) == {(NAMESPACE, name) for name in ("fresh", "working", "asked", "deleted")}


async def test_unfinished_are_also_those_whose_time_is_over(assets: Assets) -> None:
    # What is finished here was so at NOW, long ago.
    for name, seconds in (("over", 60), ("later", 3_155_760_000), ("never", None)):
        asset = new(name)
        spec = asset.spec.model_copy(update={"expire_seconds_after_failure": seconds})
        created = await assets.create(asset.model_copy(update={"spec": spec}))
        await assets.write_status(created, finished(created, ConditionType.STALLED))
    assert await assets.unfinished() == ((NAMESPACE, "over"),)


async def test_profiles_are_found_by_name_and_by_default(assets: Assets) -> None:
    web = await assets.profile("web")
    assert {rendition.name for rendition in web.spec.renditions} >= {"thumbnail", "medium", "mp4", "mp3"}
    assert await assets.profile(None) == web
    assert (await assets.profile("original")).metadata.name == "original"
    with pytest.raises(NotFoundError):
        await assets.profile("no-such-profile")


async def test_event_never_raises_even_of_an_asset_that_is_gone(assets: Assets) -> None:
    created = await assets.create(new())
    await assets.delete(NAMESPACE, "one")
    await assets.release(created)
    await assets.emit(created, Event(Reason.UNDECODABLE, "The file is damaged.", warning=True))


async def test_all_are_told_with_those_that_are_being_deleted(assets: Assets) -> None:
    made = [await assets.create(new(name, namespace=NAMESPACE)) for name in ("one", "two", "three")]
    await assets.delete(*made[1].key)
    found = {asset.metadata.uid: asset async for asset in assets.all()}
    assert [found[asset.metadata.uid].key for asset in made] == [asset.key for asset in made]
    assert [found[asset.metadata.uid].deleted_at is not None for asset in made] == [False, True, False]
    await assets.release(await assets.get(*made[1].key))
    assert made[1].metadata.uid not in {asset.metadata.uid async for asset in assets.all()}
