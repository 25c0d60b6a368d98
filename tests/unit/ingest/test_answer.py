from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from media_ingest.answer import answer, keys_to_sign
from mediaasset.catalogue import state_of
from mediaasset.media import Kind
from mediaasset.names import USER_NAME_ANNOTATION
from mediaasset.reasons import Reason
from mediaasset.spec import MediaAsset, MediaAssetSpec, Metadata, ObjectSource, Source, Visibility
from mediaasset.status import ConditionType, RenditionStatus, SourceInfo, Status, condition
from mediaasset.task import Progress, RenditionState

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
READY, PUBLISHED, STALLED = ConditionType.READY, ConditionType.PUBLISHED, ConditionType.STALLED


def rendition(name: str, *, state: RenditionState = RenditionState.READY, public: bool = True) -> RenditionStatus:
    key = f"{'media' if public else 'private'}/ns/p/u/{name}-0.jpg"
    return RenditionStatus(name=name, state=state, key=key, url=f"https://cdn.example/{key}" if public else None)


def status(
    *true: ConditionType,
    false: Iterable[ConditionType] = (),
    renditions: Iterable[RenditionStatus] = (),
    generation: int = 1,
    info: SourceInfo | None = None,
    reason: Reason = Reason.READY,
) -> Status:
    conditions = [
        condition(kind, status=value, reason=reason, message="why", generation=generation, now=NOW)
        for kinds, value in ((true, True), (false, False))
        for kind in kinds
    ]
    empty = Status(observed_generation=generation, renditions=tuple(renditions), source_info=info)
    return empty.with_conditions(conditions)


def asset(
    status: Status | None = None, *, generation: int = 1, kind: Kind | None = Kind.IMAGE, **spec: Any
) -> MediaAsset:
    return MediaAsset(
        metadata=Metadata(
            namespace="shop",
            name="m1",
            uid="u",
            generation=generation,
            creation_timestamp=NOW - timedelta(hours=1),
            annotations={USER_NAME_ANNOTATION: "Alice"},
        ),
        spec=MediaAssetSpec(
            source=Source(object=ObjectSource(key="uploads/shop/m1/x", size_bytes=10)),
            type=kind,
            user_id="42",
            **{"visibility": Visibility.PUBLIC, **spec},
        ),
        status=status or Status(),
    )


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (None, "processing"),
        (status(READY), "ready"),
        (status(STALLED, false=[READY]), "failed"),
        (status(false=[READY]), "processing"),
        (status(ConditionType.RECONCILING, false=[READY]), "processing"),
    ],
)
def test_state(now: Status | None, expected: str) -> None:
    assert state_of(asset(now)) == expected


@pytest.mark.parametrize("condition_type", [READY, STALLED])
def test_what_was_said_of_an_older_generation_is_processing(condition_type: ConditionType) -> None:
    assert state_of(asset(status(condition_type), generation=2)) == "processing"


def test_a_new_asset() -> None:
    body = answer(asset(), expected=("thumbnail", "medium"))
    assert body == {
        "id": "m1",
        "user": "42",
        "user_username": "Alice",
        "file_type": "image",
        "status": "processing",
        "file_size": 10,
        "mime_type": None,
        "original_name": None,
        "display_url": None,
        "thumbnail_url": None,
        "thumb_hash": None,
        "urls": {"thumbnail": None, "medium": None},
        "stable_urls": {},
        "stable_path": None,
        "stable_path_url": None,
        "renditions": [],
        "progress": None,
        "width": None,
        "height": None,
        "duration": None,
        "bitrate": None,
        "metadata": {},
        "alt_text": None,
        "caption": None,
        "order": None,
        "collection": "assets",
        "is_public": True,
        "error": None,
        "created_at": "2026-01-02T02:04:05Z",
        "updated_at": "2026-01-02T02:04:05Z",
    }


@pytest.mark.parametrize(
    ("kind", "others", "name"),
    [
        (Kind.IMAGE, ["thumbnail", "small", "large", "original"], "medium"),
        (Kind.VIDEO, ["thumbnail"], "mp4"),
        (Kind.AUDIO, ["thumbnail"], "mp3"),
        (Kind.IMAGE, ["thumbnail"], "original"),
    ],
)
def test_the_displayed_rendition(kind: Kind, others: list[str], name: str) -> None:
    items = [rendition(item) for item in (*others, name)]
    body = answer(asset(status(READY, PUBLISHED, renditions=items), kind=kind))
    assert body["display_url"] == f"https://cdn.example/media/ns/p/u/{name}-0.jpg"
    assert body["thumbnail_url"] == "https://cdn.example/media/ns/p/u/thumbnail-0.jpg"


def test_a_document_has_nothing_to_display() -> None:
    body = answer(asset(status(READY, PUBLISHED, renditions=[rendition("original")]), kind=Kind.DOCUMENT))
    assert body["display_url"] is None
    assert body["urls"]["original"]


def test_urls_follow_published() -> None:
    items = [rendition("medium")]
    assert answer(asset(status(renditions=items)))["urls"] == {"medium": None}
    # A failed run after a good one: the earlier files are still served.
    failed = answer(asset(status(STALLED, PUBLISHED, renditions=items)))
    assert failed["status"] == "failed"
    assert failed["urls"]["medium"]


def test_what_was_skipped_has_no_url_and_what_is_missing_has_null() -> None:
    items = [
        rendition("medium"),
        rendition("webp", state=RenditionState.FAILED),
        rendition("large", state=RenditionState.PENDING),
        rendition("mp4", state=RenditionState.SKIPPED),
    ]
    urls = answer(asset(status(READY, PUBLISHED, renditions=items)))["urls"]
    assert {name: url is not None for name, url in urls.items()} == {"medium": True, "webp": False, "large": False}


def test_each_rendition_says_what_is_known_of_it() -> None:
    failed = rendition("webp", state=RenditionState.FAILED).model_copy(
        update={"reason": Reason.UNDECODABLE, "message": "It is damaged."}
    )
    body = answer(asset(status(READY, PUBLISHED, renditions=[rendition("medium"), failed])))
    medium, webp = body["renditions"]
    assert (medium["status"], medium["url"], medium["error"]) == ("ready", body["urls"]["medium"], None)
    assert webp["status"] == "failed"
    assert webp["url"] is None
    assert webp["error"] == {"reason": "Undecodable", "message": "It is damaged."}


def test_private_renditions_are_signed() -> None:
    private = asset(
        status(READY, PUBLISHED, renditions=[rendition("medium", public=False)]), visibility=Visibility.PRIVATE
    )
    (key,) = keys_to_sign(private)
    assert answer(private, signed={key: "https://signed"})["display_url"] == "https://signed"
    assert answer(private)["is_public"] is False


def test_a_private_directory_is_signed_only_where_that_opens_all_of_it() -> None:
    ladder = rendition("hls", public=False).model_copy(update={"key": "private/ns/p/u/hls-0123456789abcdef/main.m3u8"})
    private = asset(status(READY, PUBLISHED, renditions=[ladder]), visibility=Visibility.PRIVATE)
    assert keys_to_sign(private) == ()
    assert answer(private)["urls"] == {"hls": None}
    (key,) = keys_to_sign(private, trees=True)
    assert answer(private, signed={key: "https://signed"})["urls"] == {"hls": "https://signed"}


def test_a_private_document_of_a_public_asset_is_signed() -> None:
    item = rendition("original", public=False)
    assert keys_to_sign(asset(status(READY, PUBLISHED, renditions=[item]), kind=Kind.DOCUMENT)) == (item.key,)


def test_nothing_is_signed_before_it_is_published() -> None:
    assert keys_to_sign(asset(status(renditions=[rendition("medium", public=False)]))) == ()


def test_the_probe_is_believed_more_than_the_sender() -> None:
    info = SourceInfo(
        type=Kind.AUDIO,
        mime_type="audio/ogg",
        size_bytes=11,
        sha256="0" * 64,
        duration_milliseconds=1500,
        bits_per_second=64000,
    )
    body = answer(asset(status(READY, info=info), kind=None))
    assert (body["file_type"], body["mime_type"], body["file_size"]) == ("audio", "audio/ogg", 11)
    assert (body["duration"], body["bitrate"]) == (1.5, 64000)


def test_an_error_only_when_failed() -> None:
    failed = answer(asset(status(STALLED, false=[READY], reason=Reason.UNDECODABLE)))
    assert failed["error"] == {"reason": "Undecodable", "message": "why"}
    assert answer(asset(status(false=[READY], reason=Reason.RETRYING)))["error"] is None


def test_progress_only_while_processing() -> None:
    progress = Progress(stage="render", percent=40)
    assert answer(asset(), progress=progress)["progress"] == {"stage": "render", "percent": 40}
    assert answer(asset(status(READY)), progress=progress)["progress"] is None


def test_times() -> None:
    body = answer(asset(status(READY)))
    assert body["created_at"] == "2026-01-02T02:04:05Z"
    assert body["updated_at"] == "2026-01-02T03:04:05Z"


def test_the_collection_is_the_path_unless_given() -> None:
    assert answer(asset(public_path="ads/1"))["collection"] == "ads/1"
    assert answer(asset(public_path="ads/1", collection="spring"))["collection"] == "spring"
