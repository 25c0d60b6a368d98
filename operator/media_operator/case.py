"""What a plan is made from, with what most of its steps ask of it. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime

from media_operator.observe import Observed
from media_operator.report import Conditions, seen
from media_operator.settings import Settings
from media_operator.tasks import prefix_of
from mediaasset import keys
from mediaasset.jobs import Job
from mediaasset.names import REPROCESS_ANNOTATION
from mediaasset.spec import MediaAsset, MediaAssetSpec
from mediaasset.status import Status
from mediaasset.task import RenditionState, Result


@dataclass(frozen=True, slots=True)
class Case:
    """One asset, what is the case around it, and the time."""

    asset: MediaAsset
    observed: Observed
    now: datetime
    settings: Settings

    @property
    def spec(self) -> MediaAssetSpec:
        """Return what is asked."""
        return self.asset.spec

    @property
    def status(self) -> Status:
        """Return what was known until now."""
        return self.asset.status

    @property
    def conditions(self) -> Conditions:
        """Return what makes conditions of now."""
        return Conditions(self.asset, self.now)

    @property
    def is_running(self) -> bool:
        """Tell whether a transcoder may be writing to a prefix that a move would delete."""
        return any(job.is_active for job in self.observed.jobs)

    @property
    def job(self) -> Job | None:
        """Return the Job of the current attempt."""
        return self.observed.job(self.status.attempt, self.status.inputs_hash)

    @property
    def result(self) -> Result | None:
        """Return the Result of the current attempt, if all that it names lies where only this asset's objects lie."""
        result = self.observed.result(self.status.attempt, self.status.inputs_hash)
        if result is None:
            return None
        own = [prefix_of(self.asset, self.settings, public=public) for public in (True, False)]
        named = [r for r in result.renditions if r.key is not None or r.state is RenditionState.READY]
        return result if all(r.key is not None and keys.lies_under(r.key, *own) for r in named) else None

    @property
    def asks_anew(self) -> bool:
        """Tell whether the spec or the annotation asks for something that no attempt was made for yet."""
        return self.status.request_hash != self.asset.spec.request_hash or self.asset.wants_reprocess

    @property
    def is_fresh(self) -> bool:
        """Tell whether what is started now begins anew: its failures are counted from zero."""
        return self.asks_anew or self.status.completion_time is not None

    def handled(self) -> dict[str, str | None]:
        """Return the marks by which the request of now is known as handled."""
        asked = self.asset.metadata.annotations.get(REPROCESS_ANNOTATION)
        return {
            "request_hash": self.asset.spec.request_hash,
            "last_handled_reprocess": asked or self.status.last_handled_reprocess,
        }

    def seen(self, status: Status) -> Status:
        """Return a status as one of the current generation, with its URLs."""
        return seen(self.asset, status, self.settings)

    def stopped(self) -> "Case":
        """Return the case as it is once no Job of it is active any more."""
        over = tuple(job for job in self.observed.jobs if not job.is_active)
        return replace(self, observed=replace(self.observed, jobs=over))
