"""Jobs that were collected, or deleted by hand, before anybody looked: what they left in the store speaks for them."""

from making import make_failure
from mediaasset.reasons import Reason
from planning import conditions, decide, see, started


def left(reasons: tuple[Reason, ...]) -> dict[str, tuple[str, str]]:
    """Return the conditions of an asset whose Job is gone, and whose pods have left these failures."""
    asset = started()
    status = asset.status
    failures = tuple(make_failure(asset, status.attempt, status.inputs_hash or "", reason) for reason in reasons)
    return conditions(decide(asset, see(asset, left=failures)).status)


def test_a_permanent_failure_is_not_tried_again() -> None:
    assert left((Reason.UNDECODABLE,))["Stalled"] == ("True", "Undecodable")


def test_the_failure_after_which_no_pod_was_tried_is_the_last() -> None:
    # Pods have random names, so their order says nothing.
    for reasons in ((Reason.INTERRUPTED, Reason.UNDECODABLE), (Reason.UNDECODABLE, Reason.INTERRUPTED)):
        assert left(reasons)["Stalled"] == ("True", "Undecodable")


def test_a_job_that_left_nothing_is_lost() -> None:
    assert left(())["Ready"] == ("False", "JobLost")
