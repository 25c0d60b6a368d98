"""What the status of an asset says: its conditions, the generation that they are of, and the URLs. Pure."""

from collections.abc import Container
from dataclasses import dataclass
from datetime import datetime

from media_operator.settings import Settings
from media_operator.tasks import prefix_of, tenant_of
from mediaasset import keys, pointers
from mediaasset.reasons import Reason
from mediaasset.spec import MediaAsset
from mediaasset.status import Condition, ConditionType, Status, condition, displayed
from mediaasset.task import RenditionState

THUMBNAIL = "thumbnail"


@dataclass(frozen=True, slots=True)
class Conditions:
    """Makes the conditions of an asset, as of its generation and of now."""

    asset: MediaAsset
    now: datetime

    def of(self, kind: ConditionType, *, status: bool, reason: Reason, message: str) -> Condition:
        """Make one."""
        generation = self.asset.metadata.generation
        return condition(kind, status=status, reason=reason, message=message, generation=generation, now=self.now)

    def unready(self, reason: Reason, message: str) -> list[Condition]:
        """Return those of an asset that is on its way, or waits: not Ready, and Reconciling."""
        kinds = ((ConditionType.READY, False), (ConditionType.RECONCILING, True))
        waiting = [self.of(kind, status=status, reason=reason, message=message) for kind, status in kinds]
        return waiting + self.first_published()

    def published(self) -> Condition:
        """Return Published=True."""
        return self.of(ConditionType.PUBLISHED, status=True, reason=Reason.READY, message="")

    def first_published(self) -> list[Condition]:
        """Return Published=False for an asset that does not have the condition yet: absence would mean unknown."""
        if self.asset.status.condition(ConditionType.PUBLISHED) is not None:
            return []
        return [self.of(ConditionType.PUBLISHED, status=False, reason=Reason.PENDING, message="")]


def is_moving(status: Status) -> bool:
    """Tell whether a move of objects was recorded and is to be finished."""
    reconciling = status.condition(ConditionType.RECONCILING)
    return reconciling is not None and reconciling.reason is Reason.MOVING


def seen(asset: MediaAsset, status: Status, settings: Settings) -> Status:
    """Return the status as one of the current generation, with its URLs."""
    generation = asset.metadata.generation
    conditions = tuple(c.model_copy(update={"observed_generation": generation}) for c in status.conditions)
    status = status.model_copy(update={"observed_generation": generation, "conditions": conditions})
    return with_urls(asset, status, settings)


def with_urls(asset: MediaAsset, status: Status, settings: Settings) -> Status:
    """Derive every URL from the keys, so that a changed base URL or visibility changes them all."""
    prefix = prefix_of(asset, settings, public=True)
    base = str(settings.public_base_url)
    renditions = tuple(
        r.model_copy(update={"url": keys.public_url(base, r.key) if r.key and r.key.startswith(prefix) else None})
        for r in status.renditions
    )
    ready = {r.name: r.url for r in renditions if r.state is RenditionState.READY}
    name, path = name_of(asset, settings), path_of(asset, settings)
    return status.model_copy(
        update={
            "renditions": renditions,
            "url": displayed(ready),
            "thumbnail_url": ready.get(THUMBNAIL),
            # That they are there means that the names are this asset's.
            "stable_url": pointers.url(base, name) if status.stable_url else None,
            "stable_path_url": pointers.url(base, path) if status.stable_path_url and path else None,
        }
    )


def with_names(asset: MediaAsset, status: Status, settings: Settings, *, held: Container[str]) -> Status:
    """Return the status with the URLs of those stable names whose pointers are held, by their keys."""
    base, name, path = str(settings.public_base_url), name_of(asset, settings), path_of(asset, settings)
    return status.model_copy(
        update={
            "stable_url": pointers.url(base, name) if pointers.name_key(name) in held else None,
            "stable_path_url": pointers.url(base, path) if path and pointers.path_key(path) in held else None,
        }
    )


def name_of(asset: MediaAsset, settings: Settings) -> str:
    """Return the stable name of an asset, as it stands in URLs after /media/."""
    return pointers.by_name(tenant_of(asset, settings), asset.spec.public_path, asset.metadata.name)


def path_of(asset: MediaAsset, settings: Settings) -> str | None:
    """Return the same of its stable path, None if it has none."""
    path = asset.spec.stable_path
    return pointers.by_path(tenant_of(asset, settings), path) if path else None
