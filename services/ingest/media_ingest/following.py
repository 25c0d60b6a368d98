"""Waiting for an asset to be finished: a stream of what happens to it, or one answer that waits."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress

from sse_starlette import ServerSentEvent
from starlette.requests import Request

from media_ingest.errors import Problem, Slug, invalid
from media_ingest.service import Service
from media_ingest.settings import Settings
from mediaasset.assets import AssetsError, NotFoundError
from mediaasset.catalogue import State, state_of
from mediaasset.spec import MediaAsset

#: What ends a line of a stream: of those that the HTML standard allows, the one that simple clients split at.
SEPARATOR = "\n"
#: How often progress is looked at, in seconds.
_PROGRESS_SECONDS = 1.0


class Followers:
    """How many clients may wait at once."""

    def __init__(self, count: int) -> None:
        """Take how many there may be."""
        self._free = count

    @contextmanager
    def one(self) -> Iterator[None]:
        """Be one of them. Raises Problem too-busy when there are as many as may be."""
        if self._free <= 0:
            raise Problem(Slug.TOO_BUSY, "Too many clients wait for assets: ask without waiting, or later.")
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


def followers_of(request: Request) -> Followers:
    """Return those of the application that a request came to."""
    followers: Followers = request.app.state.followers
    return followers


def seconds_to_wait(request: Request, settings: Settings) -> int:
    """Return what the query parameter `wait` says, 0 without it. Raises Problem invalid-field."""
    text, most = request.query_params.get("wait") or "0", settings.max_wait_seconds
    if not (text.isascii() and text.isdigit() and len(text) < 5 and int(text) <= most):  # noqa: PLR2004 - more is no time
        raise invalid({"wait": f"must be a whole number of seconds, {most} at most"})
    return int(text)


async def wait(service: Service, asset: MediaAsset, seconds: int) -> None:
    """Return once the asset is ready, failed or gone, or the time is over."""
    with suppress(TimeoutError, NotFoundError):
        async with asyncio.timeout(seconds):
            async for changed in service.assets.watch(*asset.key):
                if state_of(changed) is not State.PROCESSING:
                    return


async def events(service: Service, asset: MediaAsset) -> AsyncIterator[ServerSentEvent]:
    """Yield `status` now and on each change, and `progress` at most each second; end once it is finished.

    `deleted` is the last of an asset that goes. The stream also ends after `stream_seconds`, or when the assets cannot
    be reached: whoever still wants to know asks again.
    """
    changes = service.assets.watch(*asset.key)

    async def change() -> MediaAsset | None:
        return await anext(changes, None)

    loop = asyncio.get_running_loop()
    over, shown = loop.time() + service.settings.stream_seconds, None
    waiting = asyncio.create_task(change())
    try:
        while loop.time() < over:
            await asyncio.wait([waiting], timeout=_PROGRESS_SECONDS)
            if not waiting.done():
                progress = await service.progress.progress(asset.metadata.uid)
                if progress and progress != shown:
                    shown = progress
                    yield _event("progress", {"stage": progress.stage, "percent": progress.percent})
                continue
            changed = waiting.result()
            if changed is None:
                yield _event("deleted", {"id": asset.metadata.name})
                return
            yield _event("status", await service.answer(changed), version_of(changed))
            if state_of(changed) is not State.PROCESSING:
                return
            waiting = asyncio.create_task(change())
    except (AssetsError, NotFoundError):
        return
    finally:
        waiting.cancel()


def version_of(asset: MediaAsset) -> str:
    """Return the id of the event that says what the asset is now."""
    return asset.metadata.resource_version


def _event(name: str, data: object, version: str | None = None) -> ServerSentEvent:
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return ServerSentEvent(text, event=name, id=version, sep=SEPARATOR)
