"""Taking a plan step by step: see, decide, and the asset as it is after it."""

from datetime import datetime

from making import NOW, WEB, make_asset, make_job, make_result
from media_operator.actions import Action, Plan, Point, Unpoint
from media_operator.observe import Observed, observe
from media_operator.plan import plan
from media_operator.settings import Settings
from mediaasset import keys
from mediaasset.jobs import Job, JobPhase
from mediaasset.names import REPROCESS_ANNOTATION
from mediaasset.reasons import Reason
from mediaasset.spec import MediaAsset, MediaProfile
from mediaasset.status import Status
from mediaasset.task import Failure, Result

SETTINGS = Settings.model_validate({"public_base_url": "https://media.example.org/base"})


def see(
    asset: MediaAsset,
    *,
    jobs: tuple[Job, ...] = (),
    profile: MediaProfile | None = WEB,
    left: tuple[Result | Failure, ...] = (),
) -> Observed:
    work = {}
    for number, document in enumerate(left):
        is_result = isinstance(document, Result)
        key = (
            keys.result(document.uid, document.attempt)
            if is_result
            else keys.failure(document.uid, document.attempt, f"p{number}")
        )
        work[key] = document.to_json().encode()
    return observe(asset.metadata.uid, jobs, work, profile)


def decide(asset: MediaAsset, observed: Observed, now: datetime = NOW) -> Plan:
    """Decide twice: the state after a plan, with nothing changed outside, needs no further action."""
    decided = plan(asset, observed, now, SETTINGS)
    if decided.start is None and asset.deleted_at is None and decided.requeue_seconds != 0.0:
        again = plan(after(asset, decided), observed, now, SETTINGS)
        assert again.actions == ()
        assert again.events == ()
        assert again.status == decided.status
    return decided


def moves(decided: Plan) -> tuple[Action, ...]:
    """Return the actions but those on stable names, which have tests of their own."""
    return tuple(action for action in decided.actions if not isinstance(action, Point | Unpoint))


def after(asset: MediaAsset, decided: Plan, **changes: object) -> MediaAsset:
    """Return the asset as it is once the plan's status is written, with changes to its spec as a new generation."""
    metadata = asset.metadata
    if changes:
        metadata = metadata.model_copy(update={"generation": metadata.generation + 1})
    spec = type(asset.spec).model_validate(asset.spec.to_dict() | changes)
    return asset.model_copy(update={"status": decided.status, "metadata": metadata, "spec": spec})


def annotated(asset: MediaAsset, value: str) -> MediaAsset:
    metadata = asset.metadata.model_copy(update={"annotations": {REPROCESS_ANNOTATION: value}})
    return asset.model_copy(update={"metadata": metadata})


def conditions(status: Status) -> dict[str, tuple[str, str]]:
    return {condition.type.value: (condition.status, condition.reason.value) for condition in status.conditions}


def started(asset: MediaAsset | None = None) -> MediaAsset:
    asset = asset or make_asset()
    return after(asset, decide(asset, see(asset)))


def result_of(asset: MediaAsset, *, public: bool = True, tree: bool = False) -> Result:
    return make_result(asset, asset.status.attempt, asset.status.inputs_hash or "", public=public, tree=tree)


def job_of(asset: MediaAsset, phase: JobPhase, reason: Reason | None = None) -> Job:
    return make_job(
        asset,
        asset.status.attempt,
        asset.status.inputs_hash or "",
        phase,
        reason=reason,
        name=asset.status.job_name or "",
    )


def finished(asset: MediaAsset | None = None, *, public: bool = True, tree: bool = False) -> MediaAsset:
    running = started(asset)
    return after(running, decide(running, see(running, left=(result_of(running, public=public, tree=tree),))))
