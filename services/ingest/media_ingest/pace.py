"""Uploads that hardly come: they are refused, instead of holding one of the places for ever."""

import asyncio
import time

from starlette.types import Message, Receive

from media_ingest.errors import Problem, Slug


class Pace:
    """What receives the body of an upload, and gives up on a sender who is too slow.

    Time counts only while nothing else is waited for than the sender, in windows of `seconds`; in each of them must
    come `rate` bytes for each second. So whoever was fast and falls silent has one window to the end, and less than
    another one.
    """

    def __init__(self, receive: Receive, *, rate: int, seconds: float) -> None:
        """Take where the body comes from, the least bytes per second, and how long a window is."""
        self._receive = receive
        self._needed = rate * seconds
        self._seconds = seconds
        self._left = seconds
        self._got = 0
        self._is_whole = False

    async def __call__(self) -> Message:
        """Return the next message of the body. Raises Problem too-slow."""
        while not self._is_whole:
            started = time.monotonic()
            message: Message | None = None
            try:
                async with asyncio.timeout(self._left):
                    message = await self._receive()
            except TimeoutError:
                self._left = 0
            else:
                self._left -= time.monotonic() - started
                self._got += len(message.get("body", b""))
                self._is_whole = not message.get("more_body", False)
            if self._left <= 0 and not self._is_whole:
                if self._got < self._needed:
                    raise Problem(Slug.TOO_SLOW)
                self._left, self._got = self._seconds, 0
            if message is not None:
                return message
        return await self._receive()
