"""Asking a virus scanner about an object that is durable, before it becomes an asset."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Protocol

import httpx2
import structlog

from media_ingest.errors import Problem, Slug
from media_ingest.settings import Settings
from mediaasset.store import Store

#: What clamscan and clamdscan end with when they found something.
_INFECTED_CODE = 1
#: What clamav-rest, and others after it, answer then.
_INFECTED_STATUS = HTTPStatus.NOT_ACCEPTABLE
#: How much of what a scanner says is passed on.
_TEXT_LENGTH = 200

_LOG = structlog.get_logger("media_ingest")


class ScannerError(Exception):
    """The scanner gave no verdict."""


class Scanner(Protocol):
    """Says what is wrong with some content."""

    async def scan(self, content: AsyncIterator[bytes]) -> str | None:
        """Return what the content is infected with, None when it is clean; raises ScannerError without a verdict."""


class CommandScanner:
    """Implements `Scanner` by a program that reads the content from stdin: it ends with 0 for clean, 1 for infected."""

    def __init__(self, argv: Sequence[str]) -> None:
        """Take the program and its arguments."""
        self._argv = argv

    async def scan(self, content: AsyncIterator[bytes]) -> str | None:
        """Run the program."""
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                *self._argv, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL
            )
        except OSError as error:
            raise ScannerError(str(error)) from error
        reading = asyncio.create_task(_first(process.stdout))
        try:
            await _feed(process.stdin, content)
            said = await reading
            code = await process.wait()
        finally:
            reading.cancel()
            if process.returncode is None:
                process.kill()
                await process.wait()
        if code not in (0, _INFECTED_CODE):
            message = f"{self._argv[0]} ended with {code}"
            raise ScannerError(message)
        return _text(said) if code == _INFECTED_CODE else None


class HTTPScanner:
    """Implements `Scanner` by a service that gets the content with POST: it answers 2xx for clean, 406 for infected."""

    def __init__(self, url: str) -> None:
        """Take where the service is."""
        self._url = url

    async def scan(self, content: AsyncIterator[bytes]) -> str | None:
        """Ask the service."""
        try:
            # How long it may take altogether, `check` says.
            async with httpx2.AsyncClient(timeout=None) as client:
                answer = await client.post(self._url, content=content)
        except httpx2.HTTPError as error:
            raise ScannerError(repr(error)) from error
        if answer.status_code == _INFECTED_STATUS:
            return _text(answer.content)
        if not answer.is_success:
            message = f"the scanner answers {answer.status_code}"
            raise ScannerError(message)
        return None


def scanner_of(settings: Settings) -> Scanner | None:
    """Return the scanner that is set, None when there is none."""
    if settings.scan_command:
        return CommandScanner(settings.scan_command)
    return HTTPScanner(str(settings.scan_url)) if settings.scan_url else None


async def check(scanner: Scanner | None, store: Store, key: str, settings: Settings) -> None:
    """Have an object scanned. Raises Problem infected, and scanner-unavailable unless the setting lets it pass."""
    if scanner is None:
        return
    try:
        async with asyncio.timeout(settings.scan_seconds):
            found = await scanner.scan(store.content(key))
    except (ScannerError, TimeoutError) as error:
        _LOG.error("the scanner gave no verdict", key=key, error=repr(error), passed=settings.scan_fail_open)
        if settings.scan_fail_open:
            return
        raise Problem(Slug.SCANNER_UNAVAILABLE) from None
    if found is not None:
        _LOG.warning("an upload is infected", key=key, found=found)
        raise Problem(Slug.INFECTED, f"The scanner says: {found}. Send a clean file.", found=found)


async def _feed(pipe: asyncio.StreamWriter | None, content: AsyncIterator[bytes]) -> None:
    assert pipe is not None  # noqa: S101 - it was asked for
    # A scanner may know enough before the end.
    with suppress(BrokenPipeError, ConnectionResetError):
        async for chunk in content:
            pipe.write(chunk)
            await pipe.drain()
    pipe.close()


async def _first(pipe: asyncio.StreamReader | None) -> bytes:
    """Return how the output begins, and read it to its end."""
    assert pipe is not None  # noqa: S101 - it was asked for
    said = b""
    while chunk := await pipe.read(4096):
        said = (said + chunk)[:_TEXT_LENGTH]
    return said


def _text(said: bytes) -> str:
    lines = said.decode(errors="replace").strip().splitlines() or ["something harmful"]
    return "".join(char for char in lines[0] if char.isprintable())[:_TEXT_LENGTH]
