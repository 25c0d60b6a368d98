"""How far assets are, as their transcoders publish it to Redis."""

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from media_ingest import metrics
from mediaasset.task import PROGRESS_CHANNEL, Progress, decode

#: A transcoder says something at least at each change of stage; what is older than this may be of one that is dead.
_AGE_SECONDS = 600
#: How many assets are remembered: many times what a cluster works on at once, in a few MiB.
_MOST = 10_000
_MAX_MESSAGE_BYTES = 1024
#: How often the connection is asked whether it lives, and how long a new one is waited for.
_PING_SECONDS = 10
_PAUSE_SECONDS = 2

_LOG = structlog.get_logger("media_ingest")


class LiveProgress:
    """Implements `ProgressReader`: listens, and remembers the last message about each asset."""

    def __init__(self, redis: Redis) -> None:
        """Take the Redis, which stays the caller's."""
        self._redis = redis
        self._last: OrderedDict[str, tuple[float, Progress]] = OrderedDict()

    async def progress(self, uid: str) -> Progress | None:
        """Return what was heard last, None if that is too long ago."""
        heard, progress = self._last.get(uid, (0.0, None))
        return progress if progress and time.monotonic() - heard <= _AGE_SECONDS else None

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listen for as long as the block runs; a Redis that is gone is waited for."""
        task = asyncio.create_task(self._listen())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _listen(self) -> None:
        is_lost = False
        while True:
            try:
                async with self._redis.pubsub() as channel:
                    await channel.psubscribe(f"{PROGRESS_CHANNEL}*")
                    if is_lost:
                        _LOG.info("progress is heard again")
                    is_lost = False
                    metrics.REDIS_UP.set(1)
                    await self._hear(channel)
            except (RedisError, OSError, TimeoutError) as error:
                if not is_lost:
                    _LOG.warning("no progress is heard: Redis does not answer", error=type(error).__name__)
                is_lost = True
                metrics.REDIS_UP.set(0)
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _hear(self, channel: PubSub) -> None:
        is_asked = False
        while True:
            # Silence is no failure here: what waits longer than the socket may is a question whether it lives.
            message = await channel.get_message(timeout=_PING_SECONDS)
            if message is not None:
                is_asked = False
                if message["type"] == "pmessage":
                    self._take(message["channel"], message["data"])
            elif is_asked:
                raise TimeoutError
            else:
                await channel.ping()
                is_asked = True

    def _take(self, channel: bytes, data: bytes) -> None:
        uid = channel.decode(errors="replace").removeprefix(PROGRESS_CHANNEL)
        try:
            if len(data) > _MAX_MESSAGE_BYTES:
                return
            progress: Progress = decode(Progress, json.loads(data))
        except (ValueError, TypeError):
            # Whoever may publish there can publish anything; progress is comfort.
            return
        self._last[uid] = time.monotonic(), progress
        self._last.move_to_end(uid)
        if len(self._last) > _MOST:
            self._last.popitem(last=False)
