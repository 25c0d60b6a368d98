"""Redis, where replicas count and lock together and progress is published."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from media_cli.doctor.registry import Finding, Findings, error, ok, skipped, warning
from media_cli.doctor.site import Environment, Site, UnknownError, is_in_cluster_only, is_in_pod

#: Seconds after which ingest counts a Redis as gone, and counts for itself: docs/operations/ingest.md.
PATIENCE = 0.25


async def look(site: Site) -> Findings:
    """Do, as each component that has a Redis, what it does there."""
    found = {name: each for name, each in site.environments.items() if each.get("MEDIA_REDIS_URL")}
    if not found:
        site.lacks("redis", "No Redis is set: each replica counts for itself, and shows no progress.")
    return list(await asyncio.gather(*(_look(name, each) for name, each in found.items())))


async def _look(name: str, environment: Environment) -> Finding:
    try:
        from redis import exceptions as wrong  # noqa: PLC0415 - an extra of its own
        from redis.asyncio import Redis  # noqa: PLC0415 - the same
    except ModuleNotFoundError as missing:
        text = f"{missing.name} is not installed: pip install 'media-operator[platform]'."
        raise UnknownError(text) from missing
    url = urlsplit(environment["MEDIA_REDIS_URL"])
    about = f"{url.scheme}://{url.hostname}:{url.port or 6379} as {name}"
    if is_in_cluster_only(url.hostname or "") and not is_in_pod():
        return skipped(about, "Only pods reach it: run the doctor in the cluster (docs/operations/doctor.md).")
    given: dict[str, Any] = {
        option: environment[variable]
        for option, variable in {"username": "MEDIA_REDIS_USERNAME", "password": "MEDIA_REDIS_PASSWORD"}.items()
        if environment.get(variable)
    }
    redis = Redis.from_url(environment["MEDIA_REDIS_URL"], socket_connect_timeout=4, socket_timeout=4, **given)
    steps = _STEPS.get(name, _STEPS["ingest"])
    slowest = 0.0
    try:
        # A connection is made once, in several rounds, and used for long.
        await steps[0](redis)
        for step in steps:
            began = time.monotonic()
            await step(redis)
            slowest = max(slowest, time.monotonic() - began)
    except (wrong.AuthenticationError, wrong.NoPermissionError) as problem:
        return _refused(about, problem, is_known=isinstance(problem, wrong.NoPermissionError))
    except wrong.ResponseError as problem:
        cause = "The server is another one than Redis 6 or later, or read-only (a replica)."
        return error("redis-error", about, f"It answers: {problem}.", cause, "Name the primary in MEDIA_REDIS_URL.")
    except (wrong.RedisError, OSError) as problem:
        return error(
            "redis-down",
            about,
            f"No connection: {problem}",
            "It is down, the address or port is wrong, TLS is expected (rediss://), or a NetworkPolicy is in between.",
            "Correct MEDIA_REDIS_URL in the Secret. Until then each replica counts for itself; no media are lost.",
        )
    finally:
        await redis.aclose()
    if slowest > PATIENCE:
        text = f"It takes up to {slowest:.2f} s for one answer."
        cause = "It is far away or overloaded, or one of its commands takes long (SLOWLOG GET)."
        cure = "Run it in the same network, and look at its load: ingest takes it for gone after a quarter of a second."
        return warning("redis-slow", about, text, cause, cure)
    return ok(about, f"It does what {name} needs, in {slowest * 1000:.0f} ms at most.")


async def _ping(redis: Any) -> None:
    await redis.ping()


async def _count(redis: Any) -> None:
    await redis.set("media-limits:doctor", "1", px=1000)


async def _lock(redis: Any) -> None:
    await redis.eval("return redis.call('set', KEYS[1], '1', 'PX', 1000)", 1, "media-lock:doctor")


async def _listen(redis: Any) -> None:
    async with redis.pubsub() as channel:
        await channel.subscribe("media-progress:doctor")


async def _publish(redis: Any) -> None:
    await redis.publish("media-progress:doctor", "{}")


_STEPS: dict[str, tuple[Callable[[Any], Awaitable[None]], ...]] = {
    "ingest": (_ping, _count, _lock, _listen),
    "transcoder": (_publish,),
}


def _refused(about: str, problem: Exception, *, is_known: bool) -> Finding:
    if is_known:
        cause = "The rules of its user lack a command, a key or a channel."
        cure = "Set its rules as docs/operations/ingest.md (ingest) or progress.md (transcoder) show them."
        return error("redis-rights", about, f"It refuses: {problem}.", cause, cure)
    cause = "The password or the user is wrong, or none is given."
    cure = "Correct MEDIA_REDIS_USERNAME and MEDIA_REDIS_PASSWORD in the Secret, and restart the pods."
    return error("redis-key", about, f"It does not know the user: {problem}.", cause, cure)
