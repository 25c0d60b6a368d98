"""What the watch has shown, held against what a live list says: a watch that missed an asset is dead."""

from collections.abc import Awaitable, Callable

from mediaasset.assets import Key

#: How long an event may take to arrive after a list has shown what it will say, in seconds.
PATIENCE_SECONDS = 60.0


class Watched:
    """The unfinished assets that the watch has told of, and those that only a list knows.

    A watch can die while its process lives: a task that ended, a connection on which nothing comes any more. Reading
    the unfinished assets live, as every resync does, proves that it lives or names what it missed; no object of our
    own must be written for that.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """Take a clock that counts seconds."""
        self._clock = clock
        self._unfinished: set[Key] = set()
        self._missed: dict[Key, float] = {}
        self._during: set[Key] = set()
        self._last = clock()

    def seen(self, key: Key, *, unfinished: bool) -> None:
        """Note what an event of the watch says of an asset."""
        self._last = self._clock()
        self._missed.pop(key, None)
        self._during.add(key)
        if unfinished:
            self._unfinished.add(key)
        else:
            self._unfinished.discard(key)

    def silent_seconds(self) -> float:
        """Return how long ago the last event came; in a quiet cluster that says nothing yet."""
        return self._clock() - self._last

    def overdue(self) -> tuple[Key, ...]:
        """Return the assets that the watch should have told of long ago: none while it is alive."""
        latest = self._clock() - PATIENCE_SECONDS
        return tuple(key for key, since in self._missed.items() if since <= latest)

    def checking(
        self, unfinished: Callable[[], Awaitable[tuple[Key, ...]]]
    ) -> Callable[[], Awaitable[tuple[Key, ...]]]:
        """Return the same function, each of whose answers is held against the watch."""

        async def checked() -> tuple[Key, ...]:
            self._during = set()
            listed = await unfinished()
            now = self._clock()
            # What an event told of while the list was read may be newer than the list.
            heard = self._unfinished | self._during
            unheard = [key for key in listed if key not in heard]
            self._missed = {key: self._missed.get(key, now) for key in unheard}
            return listed

        return checked
