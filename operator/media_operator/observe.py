"""What is the case: the Jobs, the objects under work/ and the profile, parsed. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mediaasset import keys
from mediaasset.jobs import Job
from mediaasset.reasons import TABLE, MediaError, Reason, Retry
from mediaasset.spec import CollectionPolicy, MediaAsset, MediaProfile
from mediaasset.task import Failure, Result

#: No Result or Failure is larger: 32 renditions of a few hundred bytes each. A larger object is not ours.
MAX_DOCUMENT_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """All that a plan is made from, beside the asset itself. profile is None when it does not exist."""

    profile: MediaProfile | None
    jobs: tuple[Job, ...] = ()
    results: tuple[Result, ...] = ()
    failures: tuple[Failure, ...] = ()
    attempts: frozenset[int] = field(default_factory=frozenset)
    """Attempts that left anything behind, a Job or an object."""
    siblings: tuple[MediaAsset, ...] = ()
    """The other assets of which, with this one, only the latest is kept."""

    def job(self, attempt: int, inputs_hash: str | None) -> Job | None:
        """Return the Job of an attempt at these inputs."""
        return next((job for job in self.jobs if (job.attempt, job.inputs_hash) == (attempt, inputs_hash)), None)

    def result(self, attempt: int, inputs_hash: str | None) -> Result | None:
        """Return the Result of an attempt at these inputs."""
        return next((r for r in self.results if (r.attempt, r.inputs_hash) == (attempt, inputs_hash)), None)

    def failure(self, attempt: int, inputs_hash: str | None, reason: Reason | None) -> Failure | None:
        """Return what a pod of an attempt said of its failure: best the one that agrees with the Job's own reason.

        Where that is not known, it is best one after which no other pod was tried.
        """
        matching = [f for f in self.failures if (f.attempt, f.inputs_hash) == (attempt, inputs_hash)]
        last = (f for f in matching if (f.reason is reason if reason else TABLE[f.reason].retry is not Retry.POD))
        return next(last, matching[-1] if matching else None)


def siblings_of(asset: MediaAsset, listed: Iterable[MediaAsset]) -> tuple[MediaAsset, ...]:
    """Return those of the listed assets of which, with this one, only the latest is kept."""

    def group(each: MediaAsset) -> tuple[object, ...]:
        return each.key[0], each.spec.user_id, each.spec.collection, each.spec.collection_policy

    if asset.spec.collection_policy is not CollectionPolicy.KEEP_LATEST:
        return ()
    return tuple(each for each in listed if each.metadata.uid != asset.metadata.uid and group(each) == group(asset))


def observe(
    uid: str,
    jobs: Iterable[Job],
    work: Mapping[str, bytes],
    profile: MediaProfile | None,
    siblings: tuple[MediaAsset, ...] = (),
) -> Observed:
    """Parse what was read.

    work holds the objects under work/{uid}/ by key. What cannot be parsed, carries another uid or lies at another
    attempt's key is no Result and no Failure, but its attempt counts as used.
    """
    results: list[Result] = []
    failures: list[Failure] = []
    attempts = set[int]()
    for key in sorted(work):
        attempt = keys.attempt_of(key)
        if attempt is None:
            continue
        attempts.add(attempt)
        kind = Result if key == keys.result(uid, attempt) else Failure
        try:
            document = kind.from_json(work[key])
        except MediaError:
            continue
        if (document.uid, document.attempt) != (uid, attempt):
            continue
        if isinstance(document, Result):
            results.append(document)
        else:
            failures.append(document)
    own = tuple(job for job in jobs if job.uid == uid)
    return Observed(
        profile=profile,
        jobs=own,
        results=tuple(results),
        failures=tuple(failures),
        attempts=frozenset(attempts | {job.attempt for job in own}),
        siblings=siblings,
    )
