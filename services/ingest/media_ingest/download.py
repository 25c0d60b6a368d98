"""Which object a download is, and under which name it is saved."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from media_ingest.errors import Problem, Slug, invalid
from mediaasset import keys
from mediaasset.catalogue import State, state_of
from mediaasset.spec import MediaAsset, Visibility
from mediaasset.status import ConditionType, RenditionStatus
from mediaasset.task import RenditionState


@dataclass(frozen=True, slots=True)
class Download:
    """An object of the store, and the name of the file that it becomes."""

    key: str
    file_name: str


def original(asset: MediaAsset) -> Download:
    """Return the bytes as they came. Raises Problem not-found for an asset of which they are not kept."""
    source = asset.spec.source
    if source.object is not None:
        key = source.object.key
    elif source.whatsapp is not None and source.whatsapp.media_id is not None:
        sent = source.whatsapp
        key = keys.whatsapp_original(sent.account_name, sent.timestamp, sent.mime_type, asset.metadata.uid)
    else:
        raise Problem(Slug.NOT_FOUND, "The bytes of this asset are not kept as they came: name a rendition.")
    return Download(key, asset.spec.original_file_name or PurePosixPath(key).name)


def rendition(asset: MediaAsset, name: str) -> Download:
    """Return a rendition.

    Raises Problem: not-found for one that there will not be, asset-not-ready for one that there may be later,
    invalid-field for one of several files.
    """
    found = next((item for item in asset.status.renditions if item.name == name), None)
    if found is None and asset.status.renditions:
        names = ", ".join(item.name for item in asset.status.renditions)
        raise Problem(Slug.NOT_FOUND, f"There is no rendition of this name; there are {names}.")
    if found is None or found.state is RenditionState.PENDING or not _is_in_place(asset, found):
        if state_of(asset) is State.PROCESSING:
            raise Problem(Slug.ASSET_NOT_READY, "The rendition is not made yet: wait until the status is ready.")
        raise Problem(Slug.NOT_FOUND, "There is no rendition of this name: the asset failed before it was made.")
    if found.state is not RenditionState.READY or found.key is None:
        raise Problem(Slug.NOT_FOUND, f"The rendition was not made: {found.message or found.reason or found.state}.")
    if keys.tree_of(found.key):
        raise invalid({"rendition": "is several files, which are played and not downloaded: name another one"})
    stem = PurePosixPath(asset.spec.original_file_name or asset.metadata.name).stem
    return Download(found.key, f"{stem}-{name}{PurePosixPath(found.key).suffix}")


def _is_in_place(asset: MediaAsset, item: RenditionStatus) -> bool:
    """Tell whether the key is where the object lies: while the visibility changes, it is being moved."""
    if item.state is not RenditionState.READY or item.key is None:
        return True
    is_public = asset.spec.visibility is Visibility.PUBLIC
    # Documents stay private whatever is asked.
    return asset.status.is_true(ConditionType.PUBLISHED) and (is_public or not item.key.startswith(f"{keys.PUBLIC}/"))
