"""One writer at a time for an upload, across all replicas, and the way to take over from a writer that hangs."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

#: A holder that died is forgotten after so long, in milliseconds; a living one says so three times as often.
LEASE_MILLISECONDS = 15_000
#: How often a holder looks whether it should let go, and one who waits whether it has, in seconds.
POLL_SECONDS = 0.25
#: All keys of Redis that are used here begin so.
PREFIX = "media-lock:"

#: A lease is only renewed or given back by who holds it.
_RENEW = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) end return 0"
_RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"

_LOG = structlog.get_logger("media_ingest")


class LockedError(Exception):
    """Somebody else holds the lock and does not let go."""


class Locks(Protocol):
    """Locks by name."""

    def hold(self, name: str, patience_seconds: float = 0) -> AbstractAsyncContextManager[asyncio.Event]:
        """Hold a lock inside the block; the event is set once somebody else asks for it.

        With patience its holder is asked to let go and waited for. Raises LockedError when it is not free then.
        """


@dataclass(frozen=True, slots=True)
class _Holder:
    wanted: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)


class LocalLocks:
    """Implements `Locks` within this process."""

    def __init__(self) -> None:
        """Begin with all of them free."""
        self._held: dict[str, _Holder] = {}

    @asynccontextmanager
    async def hold(self, name: str, patience_seconds: float = 0) -> AsyncIterator[asyncio.Event]:
        """Hold a lock."""
        while holder := self._held.get(name):
            if not patience_seconds:
                raise LockedError(name)
            holder.wanted.set()
            try:
                async with asyncio.timeout(patience_seconds):
                    await holder.released.wait()
            except TimeoutError:
                raise LockedError(name) from None
        mine = self._held[name] = _Holder()
        try:
            yield mine.wanted
        finally:
            del self._held[name]
            mine.released.set()


class RedisLocks:
    """Implements `Locks` for all replicas; while Redis does not answer, within this process, and says so."""

    def __init__(self, redis: Redis) -> None:
        """Take the client, which stays the caller's and must not decode answers."""
        self._redis = redis
        self._local = LocalLocks()
        self._is_warned = False

    @asynccontextmanager
    async def hold(self, name: str, patience_seconds: float = 0) -> AsyncIterator[asyncio.Event]:
        """Hold a lock."""
        async with self._local.hold(name, patience_seconds) as wanted:
            lease = secrets.token_hex(16)
            try:
                await self._acquire(name, lease, patience_seconds)
            except RedisError as error:
                self._warn(error)
                yield wanted
                return
            self._is_warned = False
            released = asyncio.Event()
            keeping = asyncio.create_task(self._keep(name, lease, wanted, released))
            try:
                yield wanted
            finally:
                # Told, not cancelled: the client of Redis may swallow a cancellation that meets one of its commands.
                released.set()
                await asyncio.wait([keeping])
                with suppress(RedisError):
                    await self._redis.eval(_RELEASE, 1, PREFIX + name, lease)

    async def _acquire(self, name: str, lease: str, patience_seconds: float) -> None:
        key, wanted = PREFIX + name, f"{PREFIX}wanted:{name}"
        loop = asyncio.get_running_loop()
        until = loop.time() + patience_seconds
        while not await self._redis.set(key, lease, nx=True, px=LEASE_MILLISECONDS):
            if loop.time() >= until:
                raise LockedError(name)
            await self._redis.set(wanted, "1", px=round(POLL_SECONDS * 8000))
            await asyncio.sleep(POLL_SECONDS)
        # It was asked of the one before; whoever still waits asks again.
        await self._redis.delete(wanted)

    async def _keep(self, name: str, lease: str, wanted: asyncio.Event, released: asyncio.Event) -> None:
        """Renew the lease until it is released; tell when it is wanted by somebody else, or lost."""
        loop = asyncio.get_running_loop()
        renewed = loop.time()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await released.wait()
                return
            try:
                if await self._redis.exists(f"{PREFIX}wanted:{name}"):
                    wanted.set()
                if loop.time() - renewed > LEASE_MILLISECONDS / 3000:
                    if not await self._redis.eval(_RENEW, 1, PREFIX + name, lease, LEASE_MILLISECONDS):
                        wanted.set()
                    renewed = loop.time()
            except RedisError as error:
                self._warn(error)

    def _warn(self, error: RedisError) -> None:
        if not self._is_warned:
            self._is_warned = True
            _LOG.warning("Redis does not answer: uploads are locked within this replica only", error=repr(error))
