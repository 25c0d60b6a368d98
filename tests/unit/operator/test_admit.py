"""Caps are kept, nobody is passed over for ever, and neither a namespace nor a bulk import holds up the others."""

from collections import Counter
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from making import NOW
from media_operator.admit import Caps, Line, Running, Waiting
from mediaasset.task import Queue


def waiting(namespace: str, number: int, queue: Queue = Queue.INTERACTIVE) -> Waiting:
    return Waiting(namespace=namespace, name=f"a{number}", since=NOW + timedelta(seconds=number), queue=queue)


RUNNING = st.tuples(st.sampled_from(Queue), st.sampled_from("abc"))
QUEUES = st.lists(RUNNING, max_size=30).map(
    lambda found: [waiting(namespace, number, queue) for number, (queue, namespace) in enumerate(found)]
)
ACTIVE = st.lists(RUNNING, max_size=10)
CAPS = st.builds(
    Caps, total=st.integers(1, 12), per_namespace=st.none() | st.integers(1, 5), reserved=st.integers(0, 14)
)


@given(QUEUES, ACTIVE, CAPS)
def test_caps_hold_and_no_place_is_left_empty(queue: list[Waiting], active: list[Running], caps: Caps) -> None:
    admitted = Line(queue).admitted(active, caps)
    before, after = Counter(name for _, name in active), Counter(name for _, name in active)
    after.update(item.namespace for item in admitted)
    assert len(set(admitted)) == len(admitted)
    assert after.total() <= max(caps.total, len(active))
    if caps.per_namespace is not None:
        assert all(after[item.namespace] <= max(caps.per_namespace, before[item.namespace]) for item in admitted)
    batch = [item for item in admitted if item.queue is Queue.BATCH]
    assert not batch or after.total() <= caps.of(Queue.BATCH)
    for item in set(queue) - set(admitted):
        is_full = after.total() >= caps.of(item.queue)
        assert is_full or (caps.per_namespace is not None and after[item.namespace] >= caps.per_namespace)


@given(QUEUES, ACTIVE, CAPS)
def test_the_one_that_waits_longest_is_first_within_a_namespace_of_a_queue(
    queue: list[Waiting], active: list[Running], caps: Caps
) -> None:
    admitted = Line(queue).admitted(active, caps)
    for namespace in "abc":
        for kind in Queue:
            mine = [item for item in queue if (item.namespace, item.queue) == (namespace, kind)]
            chosen = [item for item in admitted if (item.namespace, item.queue) == (namespace, kind)]
            assert chosen == mine[: len(chosen)]


@given(QUEUES, st.data(), ACTIVE, CAPS)
def test_line_is_what_is_in_it_however_it_came_about(
    queue: list[Waiting], data: st.DataObject, active: list[Running], caps: Caps
) -> None:
    line = Line()
    for item in data.draw(st.permutations(queue)):
        line.add(item)
        # To leave, to come back, to ask in between and to come twice make no difference.
        if data.draw(st.booleans()):
            line.remove(item.key)
            line.admitted(active, caps)
            line.add(item)
            line.add(item)
    left = [item for item in queue if data.draw(st.booleans())]
    for item in queue:
        if item not in left:
            line.remove(item.key)
    assert line.admitted(active, caps) == Line(left).admitted(active, caps)
    assert all(line.length(kind) == sum(item.queue is kind for item in left) for kind in Queue)
    for kind in Queue:
        assert line.oldest(kind) == min((item.since for item in left if item.queue is kind), default=None)


def test_a_crowd_delays_another_namespace_by_no_more_than_one_job() -> None:
    crowd = [waiting("bulk", number) for number in range(1000)] + [waiting("small", 1000)]
    admitted = Line(crowd).admitted([(Queue.INTERACTIVE, "bulk")] * 3, Caps(total=4))
    assert [item.namespace for item in admitted] == ["small"]


def test_a_bulk_import_finds_places_that_are_kept_free_for_uploads() -> None:
    line = Line(waiting("shop", number, Queue.BATCH) for number in range(1000))
    caps = Caps(total=4, reserved=1)
    running = [(item.queue, item.namespace) for item in line.admitted([], caps)]
    assert len(running) == 3
    for item in list(line.admitted([], caps)):
        line.remove(item.key)
    line.add(waiting("shop", 1000))
    assert [item.name for item in line.admitted(running, caps)] == ["a1000"]


def test_an_upload_goes_before_a_bulk_import_where_nothing_is_kept_free() -> None:
    line = Line([*(waiting("shop", number, Queue.BATCH) for number in range(1000)), waiting("shop", 1000)])
    running = [(Queue.BATCH, "shop")] * 3
    assert line.admitted([*running, (Queue.BATCH, "shop")], Caps(total=4)) == ()
    assert [item.name for item in line.admitted(running, Caps(total=4))] == ["a1000"]


def test_a_bulk_import_always_has_one_place() -> None:
    line = Line([waiting("shop", 1, Queue.BATCH)])
    assert len(line.admitted([], Caps(total=2, reserved=9))) == 1


def test_running_uploads_of_a_namespace_do_not_count_against_its_bulk_import() -> None:
    line = Line([waiting("a", 1, Queue.BATCH), waiting("b", 2, Queue.BATCH)])
    running = [(Queue.INTERACTIVE, "a"), (Queue.BATCH, "b")]
    assert [item.namespace for item in line.admitted(running, Caps(total=3))] == ["a"]


def test_an_asset_that_changes_its_queue_waits_in_one_only() -> None:
    line = Line([waiting("shop", 1)])
    line.add(waiting("shop", 1, Queue.BATCH))
    assert (line.length(Queue.INTERACTIVE), line.length(Queue.BATCH)) == (0, 1)
    assert [item.queue for item in line.admitted([], Caps(total=5))] == [Queue.BATCH]
    assert ("shop", "a1") in line
    assert ("shop", "a2") not in line
