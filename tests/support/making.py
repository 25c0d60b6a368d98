"""Builders: the smallest valid thing of each kind, changed where the test says."""

from datetime import UTC, datetime
from typing import Any

from mediaasset import keys
from mediaasset.jobs import Job, JobPhase
from mediaasset.media import Kind
from mediaasset.names import FINALIZER
from mediaasset.reasons import Reason
from mediaasset.spec import MediaAsset, MediaProfile
from mediaasset.task import Failure, RenditionResult, RenditionState, Result, SourceInfo

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DIGEST = "0123456789abcdef" * 4

WEB = MediaProfile.model_validate(
    {
        "metadata": {"name": "web"},
        "spec": {
            "limits": {"Image": {"maxBytes": 1000}},
            "renditions": [
                {"name": "thumbnail", "for": "Image", "format": "JPEG", "width": 150, "height": 150, "fit": "Cover"},
                {"name": "medium", "for": "Image", "format": "JPEG", "width": 640, "height": 640},
                {"name": "mp3", "for": "Audio", "format": "MP3"},
                {"name": "original", "for": "Document", "format": "Copy"},
            ],
        },
    }
)


def make_asset(*, name: str = "a1", namespace: str = "shop", uid: str = "u1", **changes: Any) -> MediaAsset:
    """Make an asset; keyword arguments are fields of the spec, and `metadata_` and `status_` those of the others."""
    metadata = {"name": name, "namespace": namespace, "uid": uid, "finalizers": [FINALIZER], "resourceVersion": "1"}
    spec = {"source": {"object": {"key": f"uploads/{namespace}/{name}/x"}}, "type": "Image", "visibility": "Public"}
    return MediaAsset.model_validate(
        {
            "metadata": metadata | changes.pop("metadata_", {}),
            "status": changes.pop("status_", {}),
            "spec": spec | changes,
        }
    )


def make_result(
    asset: MediaAsset,
    attempt: int,
    inputs_hash: str,
    *,
    public: bool = True,
    kind: Kind = Kind.IMAGE,
    tree: bool = False,
) -> Result:
    """Make the Result that a transcoder would write for an image with two renditions, and with one that is a tree."""
    prefix = keys.asset_prefix(
        public=public, tenant=asset.key[0], public_path=asset.spec.public_path, uid=asset.metadata.uid
    )
    renditions = tuple(
        RenditionResult(
            name=rendition,
            state=RenditionState.READY,
            mime_type="image/jpeg",
            size_bytes=10,
            width=side,
            height=side,
            key=keys.rendition(prefix, rendition, DIGEST, "jpg"),
            sha256=DIGEST,
        )
        for rendition, side in (("thumbnail", 150), ("medium", 640))
    )
    if tree:
        key = keys.rendition_tree(prefix, "storyboard", DIGEST) + "index.vtt"
        board = RenditionResult(
            name="storyboard",
            state=RenditionState.READY,
            mime_type="text/vtt",
            size_bytes=20,
            key=key,
            sha256=DIGEST,
        )
        renditions = (*renditions, board)
    info = SourceInfo(type=kind, mime_type="image/jpeg", size_bytes=99, sha256=DIGEST, width=4000, height=3000)
    return Result(
        uid=asset.metadata.uid, attempt=attempt, inputs_hash=inputs_hash, source_info=info, renditions=renditions
    )


def make_failure(asset: MediaAsset, attempt: int, inputs_hash: str, reason: Reason) -> Failure:
    """Make the Failure of one pod."""
    return Failure(
        uid=asset.metadata.uid, attempt=attempt, inputs_hash=inputs_hash, reason=reason, message=f"It was {reason}."
    )


def make_job(
    asset: MediaAsset,
    attempt: int,
    inputs_hash: str,
    phase: JobPhase,
    *,
    reason: Reason | None = None,
    name: str = "j1",
) -> Job:
    """Make what is seen of an attempt's Job."""
    return Job(
        name=name,
        namespace=asset.key[0],
        uid=asset.metadata.uid,
        attempt=attempt,
        inputs_hash=inputs_hash,
        phase=phase,
        reason=reason,
    )
