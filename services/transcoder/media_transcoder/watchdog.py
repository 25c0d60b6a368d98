"""Ends the process after a signal that its main thread does not hear of.

Python handles signals between two steps of its own code. A call into the store's client is one step, however long the
store takes to answer; so another thread sees to it that a stop is a stop.
"""

import os
import signal
import threading
from collections.abc import Callable

#: How long the main thread may take to end by itself: a stop only clears up, a deadline also leaves a failure.
_GRACE_SECONDS = {signal.SIGTERM: 1.0, signal.SIGINT: 1.0, signal.SIGALRM: 5.0}


def start(end: Callable[[signal.Signals], None]) -> None:
    """Watch the signals of this process; after the first of them and its grace, call `end` in a thread of its own.

    Only handled signals are seen. `end` has to end the process.
    """
    read, write = os.pipe()
    os.set_blocking(write, False)
    # Written to at once, in whichever thread the kernel delivers the signal.
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(read, end), daemon=True).start()


def _watch(read: int, end: Callable[[signal.Signals], None]) -> None:
    number = signal.Signals(os.read(read, 1)[0])
    while number not in _GRACE_SECONDS:
        number = signal.Signals(os.read(read, 1)[0])
    # Nobody ever sets it: the process ends first, or time runs out.
    threading.Event().wait(_GRACE_SECONDS[number])
    end(number)
