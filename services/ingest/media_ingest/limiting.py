"""How often somebody may ask: counted in Redis by all replicas together, or by each alone while there is no Redis."""

import asyncio
import ipaddress
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import structlog
from limits import RateLimitItem, parse_many
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from pydantic import AfterValidator
from redis.asyncio import Redis
from redis.exceptions import RedisError

from media_ingest import metrics
from media_ingest.errors import Problem, Slug

#: How long a Redis that did not answer is left alone, in seconds: in this time one request at most waits for it.
_RETRY_SECONDS = 5
_PREFIX = "media-limits"

_LOG = structlog.get_logger("media_ingest")


def _readable(text: str) -> str:
    if text:
        try:
            parse_many(text)
        except ValueError:
            message = "must be like 120/minute, or several of them with semicolons between: 10/second;600/minute"
            raise ValueError(message) from None
    return text


#: `120/minute`, or several such with semicolons between; empty is as often as one likes.
Rate = Annotated[str, AfterValidator(_readable)]


@dataclass(frozen=True, slots=True)
class Budget:
    """One limit as it applies to one caller."""

    #: What the limit is called in headers and metrics.
    name: str
    item: RateLimitItem
    caller: str


@dataclass(frozen=True, slots=True)
class Window:
    """What is left of a budget after a request took its share; reset is in seconds."""

    budget: Budget
    is_exceeded: bool
    remaining: int
    reset: int


def budgets(name: str, rate: Rate, caller: str) -> list[Budget]:
    """Return the budgets of a rate for a caller; several of one rate are told apart by their seconds."""
    items = parse_many(rate) if rate else []
    return [Budget(name if len(items) == 1 else f"{name}-{item.get_expiry()}s", item, caller) for item in items]


def network(address: str) -> str:
    """Return whom an address counts as: itself, or in IPv6 its /64, of which one customer has at least one."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found.packed[:8] + bytes(8), 64)))
    return str(found)


class Limiter:
    """Counts requests in a sliding window."""

    def __init__(self, redis: Redis | None = None) -> None:
        """Take the Redis that is shared, which stays the caller's; without one it counts for itself."""
        self._own = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._shared = _shared(redis) if redis is not None else None
        self._retry_at = 0.0
        self._is_lost = False

    async def take(self, wanted: Sequence[Budget]) -> list[Window]:
        """Count one request against all these budgets. Raises Problem too-many-requests when one is used up."""
        windows = await self._take(wanted)
        exceeded = [window for window in windows if window.is_exceeded]
        if exceeded:
            worst = max(exceeded, key=lambda window: window.reset)
            for window in exceeded:
                metrics.RATE_LIMITED.labels(window.budget.name).inc()
            raise Problem(
                Slug.TOO_MANY_REQUESTS,
                f"The limit {worst.budget.name} allows {worst.budget.item}: try again in {worst.reset} s.",
                headers={**headers(windows), "Retry-After": str(worst.reset)},
            )
        return windows

    async def _take(self, wanted: Sequence[Budget]) -> list[Window]:
        if not wanted:
            return []
        if self._shared is not None and time.monotonic() >= self._retry_at:
            if self._is_lost:
                # While this request finds out, the others go on without it.
                self._retry_at = time.monotonic() + _RETRY_SECONDS
            try:
                windows = await _ask(self._shared, wanted)
            except (RedisError, OSError, TimeoutError) as error:
                self._lose(error)
            else:
                self._find()
                return windows
        return await _ask(self._own, wanted)

    def _lose(self, error: Exception) -> None:
        self._retry_at = time.monotonic() + _RETRY_SECONDS
        metrics.REDIS_UP.set(0)
        if not self._is_lost:
            _LOG.warning("Redis does not answer: each replica counts its own limits", error=type(error).__name__)
        self._is_lost = True

    def _find(self) -> None:
        self._retry_at = 0.0
        metrics.REDIS_UP.set(1)
        if self._is_lost:
            _LOG.info("Redis answers again: limits are counted together")
        self._is_lost = False


def headers(windows: Sequence[Window]) -> dict[str, str]:
    """Return what tells a client its budgets (draft-ietf-httpapi-ratelimit-headers-10)."""
    if not windows:
        return {}
    policy = [f'"{w.budget.name}";q={w.budget.item.amount};w={w.budget.item.get_expiry()}' for w in windows]
    left = [f'"{w.budget.name}";r={w.remaining};t={w.reset}' for w in windows]
    return {"RateLimit-Policy": ", ".join(policy), "RateLimit": ", ".join(left)}


def _shared(redis: Redis) -> SlidingWindowCounterRateLimiter:
    # The address is that of the pool: the library reads the one that it is given only when there is no pool.
    storage = RedisStorage(
        "async+redis://",
        implementation="redispy",
        key_prefix=_PREFIX,
        # The annotation of the library leaves out what its documentation names.
        connection_pool=redis.connection_pool,  # type: ignore[arg-type]
    )
    return SlidingWindowCounterRateLimiter(storage)


async def _ask(limiter: SlidingWindowCounterRateLimiter, wanted: Sequence[Budget]) -> list[Window]:
    return list(await asyncio.gather(*(_count(limiter, budget) for budget in wanted)))


async def _count(limiter: SlidingWindowCounterRateLimiter, budget: Budget) -> Window:
    is_allowed = await limiter.hit(budget.item, budget.name, budget.caller)
    reset_at, remaining = await limiter.get_window_stats(budget.item, budget.name, budget.caller)
    return Window(budget, not is_allowed, remaining, max(1, math.ceil(reset_at - time.time())))
