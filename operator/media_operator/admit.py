"""Who may start now: the caps on running Jobs, two queues, and fairness between namespaces. Pure: no I/O, no clock."""

import heapq
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from mediaasset.assets import Key
from mediaasset.task import Queue

#: The queue and the namespace of one Job that runs.
Running = tuple[Queue, str]
#: Since when, and a number by which an entry is known as the one that counts.
_Place = tuple[datetime, int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """An asset that would start a Job."""

    namespace: str
    name: str
    since: datetime
    queue: Queue = Queue.INTERACTIVE

    @property
    def key(self) -> Key:
        """Return (namespace, name)."""
        return self.namespace, self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """How many Jobs may run at once; per_namespace None is no cap of its own, reserved is what Batch leaves free."""

    total: int
    per_namespace: int | None = None
    reserved: int = 0

    def of(self, queue: Queue) -> int:
        """Return how many Jobs may run, those of both queues together, for one of this queue to start."""
        return self.total if queue is Queue.INTERACTIVE else max(self.total - self.reserved, 1)


class Line:
    """Those that wait: a heap for each namespace of each queue, so that one of thousands is found like one of a few."""

    def __init__(self, waiting: Iterable[Waiting] = ()) -> None:
        """Begin with these."""
        self._waiting: dict[Key, tuple[_Place, Waiting]] = {}
        self._lengths = Counter[Queue]()
        # What is in `_waiting` no longer is passed over when it comes up.
        self._heaps: dict[Queue, dict[str, list[_Place]]] = {queue: {} for queue in Queue}
        self._count = itertools.count()
        for each in waiting:
            self.add(each)

    def __contains__(self, key: object) -> bool:
        """Tell whether an asset waits, by its namespace and name."""
        return key in self._waiting

    def length(self, queue: Queue) -> int:
        """Return how many wait in a queue."""
        return self._lengths[queue]

    def oldest(self, queue: Queue) -> datetime | None:
        """Return since when the one waits that has waited longest; None when nobody does."""
        return min((heap[0][0] for _, heap in self._open(queue)), default=None)

    def add(self, waiting: Waiting) -> None:
        """Let an asset wait; one that does so already keeps its place, unless it changes the queue."""
        known = self._waiting.get(waiting.key)
        if known is not None and known[1].queue is waiting.queue:
            return
        self.remove(waiting.key)
        place = (waiting.since, next(self._count), waiting.name)
        self._waiting[waiting.key] = place, waiting
        self._lengths[waiting.queue] += 1
        heapq.heappush(self._heaps[waiting.queue].setdefault(waiting.namespace, []), place)

    def remove(self, key: Key) -> None:
        """Let an asset wait no longer."""
        known = self._waiting.pop(key, None)
        if known is not None:
            self._lengths[known[1].queue] -= 1

    def admitted(self, running: Iterable[Running], caps: Caps) -> tuple[Waiting, ...]:
        """Return who may start, in order, and leave them in line; running is what runs already.

        Interactive goes before Batch, which also leaves places free for it: a bulk import delays an upload by no more
        than one Job. Within a queue the next one is always from the namespace with the fewest running in it, and there
        the one that waits longest: a namespace with thousands delays another's first one by no more than one Job, too.
        """
        of_both = Counter[Running](running)
        of_namespace = Counter[str]()
        for (_, namespace), number in of_both.items():
            of_namespace[namespace] += number
        admitted: list[Waiting] = []
        for queue in (Queue.INTERACTIVE, Queue.BATCH):
            taken: list[tuple[str, _Place]] = []
            while of_namespace.total() < caps.of(queue):
                heads = [
                    (of_both[queue, namespace], heap[0][0], namespace)
                    for namespace, heap in self._open(queue)
                    if caps.per_namespace is None or of_namespace[namespace] < caps.per_namespace
                ]
                if not heads:
                    break
                _, _, namespace = min(heads)
                place = heapq.heappop(self._heaps[queue][namespace])
                taken.append((namespace, place))
                admitted.append(self._waiting[namespace, place[2]][1])
                of_both[queue, namespace] += 1
                of_namespace[namespace] += 1
            for namespace, place in taken:
                heapq.heappush(self._heaps[queue].setdefault(namespace, []), place)
        return tuple(admitted)

    def _open(self, queue: Queue) -> Iterator[tuple[str, list[_Place]]]:
        """Yield the namespaces in which somebody waits, each with its heap, whose first entry counts."""
        heaps = self._heaps[queue]
        for namespace, heap in list(heaps.items()):
            while heap and not self._counts(namespace, heap[0]):
                heapq.heappop(heap)
            if heap:
                yield namespace, heap
            else:
                del heaps[namespace]

    def _counts(self, namespace: str, place: _Place) -> bool:
        known = self._waiting.get((namespace, place[2]))
        return known is not None and known[0] == place
