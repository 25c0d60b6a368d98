"""Waiting for something that announces itself nowhere: bounded polling."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def until(check: Callable[[], Awaitable[T | None]], *, seconds: float = 20) -> T:
    """Ask until the answer is something; TimeoutError when the time is over."""
    async with asyncio.timeout(seconds):
        while not (found := await check()):  # noqa: ASYNC110 - there is no event to await
            await asyncio.sleep(0.02)
    return found
