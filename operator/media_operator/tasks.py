"""The Task of an attempt, from the asset and its profile. Pure."""

from collections.abc import Sequence

from media_operator.classes import deadline_of
from media_operator.settings import Settings
from mediaasset import keys
from mediaasset.media import Kind
from mediaasset.spec import KindLimits, MediaAsset, MediaProfile, Rendition, Visibility
from mediaasset.task import Limits, MediaClass, Source, Task, WhatsAppMedia
from mediaasset.task import Rendition as TaskRendition


def renditions_of(asset: MediaAsset, profile: MediaProfile) -> tuple[Rendition, ...]:
    """Return what is asked for: the asset's own renditions, else those of the profile."""
    return asset.spec.renditions or profile.spec.renditions


def prefix_of(asset: MediaAsset, settings: Settings, *, public: bool) -> str:
    """Return the prefix of the keys of all its renditions, public or private ones."""
    return keys.asset_prefix(
        public=public,
        tenant=tenant_of(asset, settings),
        public_path=asset.spec.public_path,
        uid=asset.metadata.uid,
    )


def tenant_of(asset: MediaAsset, settings: Settings) -> str:
    """Return what stands first in public URLs, perhaps nothing."""
    return "" if settings.single_tenant else asset.key[0]


def task_of(
    asset: MediaAsset,
    profile: MediaProfile,
    settings: Settings,
    *,
    attempt: int,
    inputs_hash: str,
    renditions: Sequence[Rendition],
    class_name: MediaClass | None = None,
) -> Task:
    """Return all that a transcoder needs to know for this attempt, which makes these renditions, and who runs it."""
    spec = asset.spec
    is_public = spec.visibility is Visibility.PUBLIC
    return Task(
        uid=asset.metadata.uid,
        namespace=asset.key[0],
        name=asset.key[1],
        attempt=attempt,
        inputs_hash=inputs_hash,
        source=_source(asset),
        type=spec.type,
        file_name=spec.original_file_name,
        prefix=prefix_of(asset, settings, public=is_public),
        document_prefix=prefix_of(asset, settings, public=is_public and profile.spec.public_documents),
        renditions=tuple(_task_rendition(rendition) for rendition in renditions),
        limits={kind: _task_limits(profile.spec.limits.of(kind)) for kind in Kind},
        allowed_cidrs=settings.allowed_cidrs,
        foreign_prefixes=settings.foreign_prefixes,
        deadline_seconds=deadline_of(class_name, settings),
        queue=spec.queue,
        class_name=class_name,
    )


def original_key_of(asset: MediaAsset) -> str | None:
    """Return the key at which the bytes of a chat message are kept as they came; None for any other source."""
    sent = asset.spec.source.whatsapp
    if sent is None or sent.media_id is None:
        return None
    return keys.whatsapp_original(sent.account_name, sent.timestamp, sent.mime_type, asset.metadata.uid)


def _source(asset: MediaAsset) -> Source:
    source, original_key = asset.spec.source, original_key_of(asset)
    sent = source.whatsapp
    if sent and sent.media_id and original_key:
        return Source(
            whatsapp=WhatsAppMedia(
                account_name=sent.account_name,
                media_id=sent.media_id,
                mime_type=sent.mime_type,
                sha256=sent.sha256,
                original_key=original_key,
            )
        )
    if source.object:
        return Source(key=source.object.key, size_bytes=source.object.size_bytes, sha256=source.object.sha256)
    return Source(url=source.url)


def _task_rendition(rendition: Rendition) -> TaskRendition:
    return TaskRendition(kind=rendition.for_, **rendition.model_dump(exclude={"for_"}))


def _task_limits(limits: KindLimits) -> Limits:
    return Limits(**limits.model_dump())
