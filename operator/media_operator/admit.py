"""Who may start now: the caps on running Jobs, and fairness between namespaces. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """An asset that would start a Job."""

    namespace: str
    name: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """How many Jobs may run at once; per_namespace None is no cap of its own."""

    total: int
    per_namespace: int | None = None


def admit(waiting: Iterable[Waiting], active: Iterable[str], caps: Caps) -> tuple[Waiting, ...]:
    """Return who may start, in order. active holds the namespace of every Job that runs.

    The next one is always from the namespace with the fewest running, and there the one that waits longest: a
    namespace with thousands of assets delays another's first one by no more than one Job.
    """
    running = Counter(active)
    queue = sorted(waiting, key=lambda item: (item.since, item.namespace, item.name))
    admitted: list[Waiting] = []
    while queue and running.total() < caps.total:
        open_to = [item for item in queue if caps.per_namespace is None or running[item.namespace] < caps.per_namespace]
        if not open_to:
            break
        chosen = min(open_to, key=lambda item: running[item.namespace])  # min keeps the first, the one waiting longest
        queue.remove(chosen)
        running[chosen.namespace] += 1
        admitted.append(chosen)
    return tuple(admitted)
