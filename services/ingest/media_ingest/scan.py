"""Asking a virus scanner about an object that is durable, before it becomes an asset."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import closing, suppress
from http import HTTPStatus
from typing import BinaryIO, Protocol, cast

import httpx2
import structlog
from icap import AsyncIcapClient, IcapException
from pydantic import AnyUrl

from media_ingest.errors import Problem, Slug
from media_ingest.settings import Settings
from mediaasset.store import Store

#: What clamscan and clamdscan end with when they found something.
_INFECTED_CODE = 1
#: What clamav-rest, and others after it, answer then.
_INFECTED_STATUS = HTTPStatus.NOT_ACCEPTABLE
#: What names the finding in an ICAP answer, by the server: c-icap, ClamAV's module, Symantec and others after it.
_ICAP_HEADERS = ("X-Virus-ID", "X-Infection-Found", "X-Violations-Found")
_ICAP_PORTS = {"icap": 1344, "icaps": 11344}
_CLAMD_PORT = 3310
_ICAP_CHUNK_BYTES = 64 * 1024
#: `check` bounds the whole scan, in each of its steps.
_NO_LIMIT_SECONDS = 24 * 3600
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


class ClamdScanner:
    """Implements `Scanner` by ClamAV's daemon over TCP, with its command INSTREAM (clamd(8))."""

    def __init__(self, host: str, port: int) -> None:
        """Take where it listens."""
        self._host, self._port = host, port

    async def scan(self, content: AsyncIterator[bytes]) -> str | None:
        """Stream the content to it; each chunk is preceded by its length, and an empty one ends them."""
        try:
            reader, writer = await asyncio.open_connection(self._host, self._port)
            with closing(writer):
                # It says at once that a stream is too long for it, and closes.
                with suppress(BrokenPipeError, ConnectionResetError):
                    writer.write(b"zINSTREAM\0")
                    async for chunk in content:
                        writer.write(len(chunk).to_bytes(4) + chunk)
                        await writer.drain()
                    writer.write(bytes(4))
                    await writer.drain()
                said = await reader.read(_TEXT_LENGTH)
        except OSError as error:
            raise ScannerError(str(error)) from error
        verdict = _text(said.rstrip(b"\0"))
        if verdict.endswith(" FOUND"):
            return verdict.removeprefix("stream: ").removesuffix(" FOUND")
        if verdict != "stream: OK":
            message = f"clamd says: {verdict}"
            raise ScannerError(message)
        return None


class ICAPScanner:
    """Implements `Scanner` by an ICAP server (RFC 3507): what RESPMOD finds something in is infected."""

    def __init__(self, url: AnyUrl) -> None:
        """Take icap://host:port/service, or icaps: for TLS."""
        self._host, self._service = url.host or "", (url.path or "").strip("/")
        self._port = url.port or _ICAP_PORTS[url.scheme]
        self._tls = ssl.create_default_context() if url.scheme == "icaps" else None

    async def scan(self, content: AsyncIterator[bytes]) -> str | None:
        """Ask the server; whoever has nothing to change answers 204."""
        client = AsyncIcapClient(self._host, self._port, timeout=_NO_LIMIT_SECONDS, ssl_context=self._tls)
        body = cast("BinaryIO", _Blocking(content))
        try:
            async with client:
                answer = await client.scan_stream(body, service=self._service, chunk_size=_ICAP_CHUNK_BYTES)
        except (IcapException, OSError, ValueError) as error:
            raise ScannerError(repr(error)) from error
        if answer.is_no_modification:
            return None
        named = next((answer.headers[name] for name in _ICAP_HEADERS if name in answer.headers), None)
        if named is None:
            # c-icap sends so back what it was not to look at, by its type: that is no verdict.
            message = f"the scanner answers {answer.status_code} and names nothing: have it scan this type, and say 204"
            raise ScannerError(message)
        return _text(named.encode())


class _Blocking:
    """The content as a file that other threads read, which is how the client of ICAP takes it."""

    def __init__(self, content: AsyncIterator[bytes]) -> None:
        self._content, self._loop = content, asyncio.get_running_loop()

    def read(self, _: int) -> bytes:
        """Return the next chunk, whatever its size."""
        return asyncio.run_coroutine_threadsafe(self._next(), self._loop).result()

    async def _next(self) -> bytes:
        return await anext(self._content, b"")


def scanner_of(settings: Settings) -> Scanner | None:
    """Return the scanner that is set, None when there is none."""
    if settings.scan_command:
        return CommandScanner(settings.scan_command)
    url = settings.scan_url
    if url is None:
        return None
    match url.scheme:
        case "clamd":
            return ClamdScanner(url.host or "", url.port or _CLAMD_PORT)
        case "icap" | "icaps":
            return ICAPScanner(url)
        case _:
            return HTTPScanner(str(url))


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
