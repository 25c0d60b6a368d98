"""Caps are kept, nobody is passed over for ever, and a crowd in one namespace does not hold up another."""

from collections import Counter
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from making import NOW
from media_operator.admit import Caps, Waiting, admit


def waiting(namespace: str, number: int) -> Waiting:
    return Waiting(namespace=namespace, name=f"a{number}", since=NOW + timedelta(seconds=number))


QUEUES = st.lists(st.sampled_from("abc"), max_size=30).map(
    lambda namespaces: [waiting(namespace, number) for number, namespace in enumerate(namespaces)]
)
ACTIVE = st.lists(st.sampled_from("abc"), max_size=10)
CAPS = st.builds(Caps, total=st.integers(1, 12), per_namespace=st.none() | st.integers(1, 5))


@given(QUEUES, ACTIVE, CAPS)
def test_caps_hold_and_no_slot_is_left_empty(queue: list[Waiting], active: list[str], caps: Caps) -> None:
    admitted = admit(queue, active, caps)
    running = Counter(active) + Counter(item.namespace for item in admitted)
    assert len(active) + len(admitted) <= max(caps.total, len(active))
    left = [item for item in queue if item not in admitted]
    if caps.per_namespace is None:
        assert not left or running.total() >= caps.total
    else:
        assert all(running[i.namespace] <= max(caps.per_namespace, active.count(i.namespace)) for i in admitted)
        assert running.total() >= caps.total or all(running[item.namespace] >= caps.per_namespace for item in left)


@given(QUEUES, ACTIVE, CAPS)
def test_within_a_namespace_the_one_that_waits_longest_is_first(
    queue: list[Waiting], active: list[str], caps: Caps
) -> None:
    admitted = admit(queue, active, caps)
    for namespace in "abc":
        mine = [item for item in queue if item.namespace == namespace]
        chosen = [item for item in admitted if item.namespace == namespace]
        assert chosen == mine[: len(chosen)]


def test_a_bulk_import_delays_another_namespace_by_no_more_than_one_job() -> None:
    queue = [waiting("bulk", number) for number in range(1000)] + [waiting("small", 1000)]
    admitted = admit(queue, ["bulk"] * 3, Caps(total=4))
    assert [item.namespace for item in admitted] == ["small"]


def test_the_order_of_the_queue_does_not_depend_on_the_order_of_the_arguments() -> None:
    queue = [waiting("a", 1), waiting("b", 0), waiting("a", 2)]
    assert admit(queue, [], Caps(total=2)) == admit(reversed(queue), [], Caps(total=2))
