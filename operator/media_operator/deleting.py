"""The end of an asset: what is done before it is let go, and what is said when that fails. Pure."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from media_operator import naming
from media_operator.actions import Action, DeleteObject, DeletePrefix, Plan, Release, StopJob, Unpoint, WriteTombstone
from media_operator.case import Case
from media_operator.report import Conditions
from media_operator.settings import Settings
from media_operator.tasks import original_key_of, prefix_of
from mediaasset import keys
from mediaasset.assets import Event
from mediaasset.reasons import Reason
from mediaasset.spec import DeletionPolicy, MediaAsset
from mediaasset.status import ConditionType


def delete(case: Case) -> Plan | None:
    """End the Jobs, then delete all that only this asset uses, and let it go."""
    asset = case.asset
    if asset.deleted_at is None:
        return None
    namespace, name = asset.key
    uid = asset.metadata.uid
    actions: list[Action] = [StopJob(job.name) for job in case.observed.jobs]
    body = f'{{"uid":"{uid}","deletedAt":"{asset.deleted_at:%Y-%m-%dT%H:%M:%SZ}"}}'.encode()
    actions.append(WriteTombstone(keys.tombstone(namespace, name), body))
    actions.append(DeletePrefix(keys.work_prefix(uid)))
    if asset.spec.deletion_policy is DeletionPolicy.DELETE:
        actions += [Unpoint(key, asset.key) for key in naming.keys_of(asset, case.settings)]
        actions += [DeletePrefix(prefix_of(asset, case.settings, public=public)) for public in (True, False)]
        actions.append(DeletePrefix(keys.uploads_of(namespace, name)))
        original = original_key_of(asset)
        actions += [DeleteObject(original)] if original else []
    else:
        # Tombstones are forgotten one day: as long as this lies there, the sweep takes nothing of it for an orphan.
        actions.append(WriteTombstone(keys.retention_mark(namespace, name, uid), body))
    return Plan(actions=(*actions, Release()), status=asset.status)


def is_overdue(asset: MediaAsset, now: datetime, settings: Settings) -> bool:
    """Tell whether a deletion was tried for long enough: what still fails then is left behind."""
    return asset.deleted_at is not None and asset.deleted_at + timedelta(seconds=settings.deletion_seconds) <= now


def failing(asset: MediaAsset, action: Action, error: Exception, now: datetime) -> Plan:
    """Return the Plan that says which step of a deletion failed; nothing new while it is the same one."""
    step = f"The deletion fails at {described(action)}: "
    ready = asset.status.condition(ConditionType.READY)
    if ready and ready.reason is Reason.DELETING and ready.message.startswith(step):
        return Plan(status=asset.status)
    text = f"{step}{error}"
    conditions = Conditions(asset, now).unready(Reason.DELETING, text)
    return Plan(status=asset.status.with_conditions(conditions), events=(Event(Reason.DELETING, text, warning=True),))


def left_behind(actions: Iterable[Action]) -> Event:
    """Return what to say of an asset that is let go although these steps failed."""
    # A tombstone that could not be written is no thing that lies about.
    left = ", ".join(described(each) for each in actions if not isinstance(each, WriteTombstone)) or "nothing"
    return Event(Reason.DELETING, f"The asset is let go, and this is left behind: {left}.", warning=True)


def described(action: Action) -> str:
    """Return what a step of a deletion is about, for people."""
    match action:
        case StopJob(name):
            return f"the Job {name}"
        case DeletePrefix(prefix):
            return f"what lies under {prefix}"
        case DeleteObject(key) | WriteTombstone(key, _) | Unpoint(key, _):
            return key
    return type(action).__name__
