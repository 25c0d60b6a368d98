"""What it costs to let one asset in while thousands wait, against while a few do.

    .venv/bin/python benchmarks/admit.py [--waiting 5000] [--namespaces 20]

One step is what happens when a Job ends: the next one is found, starts, and another asset comes. CPU time, median.
"""

import argparse
import itertools
import statistics
import time
from datetime import UTC, datetime, timedelta

from media_operator.admit import Caps, Line, Waiting
from mediaasset.task import Queue

_FEW = 50
_STEPS = 2000
_CAPS = Caps(total=20, reserved=4)
_START = datetime(2026, 1, 1, tzinfo=UTC)


def step_seconds(count: int, namespaces: int) -> float:
    """Return the median CPU seconds of a step with so many in line, half of them of a bulk import."""
    numbers = itertools.count()

    def come(queue: Queue = Queue.INTERACTIVE) -> Waiting:
        number = next(numbers)
        since = _START + timedelta(seconds=number)
        return Waiting(namespace=f"n{number % namespaces}", name=f"a{number}", since=since, queue=queue)

    line = Line(come(queue) for queue in Queue for _ in range(count // 2))
    running = [(Queue.INTERACTIVE, f"n{number % namespaces}") for number in range(_CAPS.total - 1)]
    spent = []
    for _ in range(_STEPS):
        coming = come()
        before = time.process_time()
        (chosen,) = line.admitted(running, _CAPS)
        line.remove(chosen.key)
        line.add(coming)
        spent.append(time.process_time() - before)
    return statistics.median(spent)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--waiting", type=int, default=5_000)
    parser.add_argument("--namespaces", type=int, default=20)
    given = parser.parse_args()
    few, many = step_seconds(_FEW, given.namespaces), step_seconds(given.waiting, given.namespaces)
    print("| what | figure | aim |\n|---|---|---|")
    what = f"letting one in of {given.waiting} in {given.namespaces} namespaces, against of {_FEW}"
    print(f"| {what} ({1e6 * many:.0f} µs) | {many / few:.2f} x | <= 2 x |")


if __name__ == "__main__":
    main()
