"""The JSON answer for one asset: a pure function of what is stored about it.

The fields are those of the contract in docs/api/http.md; every one is always there.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from mediaasset import keys
from mediaasset.catalogue import State, collection_of, size_of, state_of, type_of
from mediaasset.media import Kind
from mediaasset.names import USER_NAME_ANNOTATION
from mediaasset.spec import MediaAsset, Visibility
from mediaasset.status import ConditionType, RenditionStatus, displayed
from mediaasset.task import Progress, RenditionState


def keys_to_sign(asset: MediaAsset, *, trees: bool = False) -> tuple[str, ...]:
    """Return the keys of the renditions that are complete but private, so that each answer needs signed URLs.

    trees: whether a signature of an index opens its whole directory. Otherwise that has none: a player would be refused
    the next file.
    """
    return tuple(
        item.key
        for item in _published(asset)
        if item.key is not None
        and item.key.startswith(f"{keys.PRIVATE}/")
        and (trees or keys.tree_of(item.key) is None)
        and _public_url(asset, item) is None
    )


def answer(
    asset: MediaAsset,
    *,
    expected: Sequence[str] = (),
    signed: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Make the answer.

    expected: names of the renditions that the asset will have, known before its status lists them; signed: URLs for
    keys_to_sign(); progress: how far the running attempt is, shown only while processing.
    """
    spec, info = asset.spec, asset.status.source_info
    kind, state = type_of(asset), state_of(asset)
    urls = _urls(asset, expected, signed or {})
    return {
        "id": asset.metadata.name,
        "user": spec.user_id,
        "user_username": asset.metadata.annotations.get(USER_NAME_ANNOTATION),
        "file_type": kind.lower() if kind else None,
        "status": state,
        "file_size": size_of(asset),
        "mime_type": info.mime_type if info else None,
        "original_name": spec.original_file_name,
        "display_url": None if kind is Kind.DOCUMENT else displayed({name: url for name, url in urls.items() if url}),
        "thumbnail_url": urls.get("thumbnail"),
        "thumb_hash": asset.status.thumb_hash,
        "urls": urls,
        "stable_urls": _stable_urls(asset),
        "stable_path": spec.stable_path,
        "stable_path_url": asset.status.stable_path_url if _is_public(asset) else None,
        "renditions": [_rendition(item, urls.get(item.name)) for item in asset.status.renditions],
        "progress": _progress(progress) if progress and state is State.PROCESSING else None,
        "width": info.width if info else None,
        "height": info.height if info else None,
        "duration": info.duration_milliseconds / 1000 if info and info.duration_milliseconds is not None else None,
        "bitrate": info.bits_per_second if info else None,
        "metadata": spec.metadata,
        "alt_text": spec.alt_text,
        "caption": spec.caption,
        "order": spec.order,
        "collection": collection_of(asset),
        "is_public": _is_public(asset),
        "error": _error(asset) if state is State.FAILED else None,
        "created_at": _time(asset.created_at),
        "updated_at": _time(_changed(asset)),
    }


def _progress(progress: Progress) -> dict[str, Any]:
    return {"stage": progress.stage, "percent": progress.percent}


def _urls(asset: MediaAsset, expected: Sequence[str], signed: Mapping[str, str]) -> dict[str, str | None]:
    applying = [item.name for item in asset.status.renditions if item.state is not RenditionState.SKIPPED]
    urls: dict[str, str | None] = dict.fromkeys(applying if asset.status.renditions else expected)
    for item in _published(asset):
        urls[item.name] = _public_url(asset, item) or signed.get(item.key or "")
    return urls


def _stable_urls(asset: MediaAsset) -> dict[str, str]:
    """Return the URLs by name; a rendition that is a directory is asked for by the name of its index."""
    base = asset.status.stable_url
    if base is None or not _is_public(asset):
        return {}
    urls = {}
    for item in _published(asset):
        if item.key and _public_url(asset, item):
            index = f"/{item.key.rpartition('/')[2]}" if keys.tree_of(item.key) else ""
            urls[item.name] = f"{base}/{item.name}{index}"
    return urls


def _rendition(item: RenditionStatus, url: str | None) -> dict[str, Any]:
    is_made = item.state is RenditionState.READY
    return {
        "name": item.name,
        "status": item.state.lower(),
        "url": url,
        "mime_type": item.mime_type,
        "file_size": item.size_bytes,
        "width": item.width,
        "height": item.height,
        "error": None if is_made or item.reason is None else {"reason": item.reason, "message": item.message or ""},
    }


def _published(asset: MediaAsset) -> tuple[RenditionStatus, ...]:
    if not asset.status.is_true(ConditionType.PUBLISHED):
        return ()
    return tuple(item for item in asset.status.renditions if item.state is RenditionState.READY)


def _public_url(asset: MediaAsset, item: RenditionStatus) -> str | None:
    # While an asset that became Private is being moved, its status still holds the old URLs and keys.
    return item.url if _is_public(asset) else None


def _is_public(asset: MediaAsset) -> bool:
    return asset.spec.visibility is Visibility.PUBLIC


def _error(asset: MediaAsset) -> dict[str, str] | None:
    stalled = asset.status.condition(ConditionType.STALLED)
    return {"reason": stalled.reason.value, "message": stalled.message} if stalled else None


def _changed(asset: MediaAsset) -> datetime | None:
    status = asset.status
    times = [
        asset.created_at,
        status.start_time,
        status.completion_time,
        *(condition.last_transition_time for condition in status.conditions),
    ]
    return max((time for time in times if time), default=None)


def _time(moment: datetime | None) -> str | None:
    """Write a time as RFC 3339 has it, in UTC."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z") if moment else None
