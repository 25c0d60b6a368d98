"""One HTTP request by connections whose addresses were checked, redirects included."""

import email.utils
import http.client
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from types import TracebackType
from typing import Self
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from media_transcoder.sources.addresses import is_allowed
from mediaasset.reasons import MediaError, Reason

MAX_REDIRECTS = 3
CONNECT_SECONDS = 10.0
READ_SECONDS = 15.0
#: A server that asks for a longer pause gets it from the operator, whose attempts hold no pod meanwhile.
MAX_WAIT_SECONDS = 30.0

_CHUNK_BYTES = 64 * 1024
_REDIRECTS = {
    HTTPStatus.MOVED_PERMANENTLY,
    HTTPStatus.FOUND,
    HTTPStatus.SEE_OTHER,
    HTTPStatus.TEMPORARY_REDIRECT,
    HTTPStatus.PERMANENT_REDIRECT,
}
_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "media-operator", "Connection": "close"}


class FetchError(MediaError):
    """What a server did instead of giving what it was asked for.

    status is that of its answer, None when there was none or it broke off. wait_seconds is the pause that it asks for.
    """

    def __init__(
        self, reason: Reason, message: str, *, status: int | None = None, wait_seconds: float | None = None
    ) -> None:
        """Take what MediaError takes, and the answer."""
        super().__init__(reason, message)
        self.status, self.wait_seconds = status, wait_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How servers are reached: private ranges that are open, until when (time.monotonic), and with which token.

    The token goes to the host that is asked and not to another one that it redirects to. https_only refuses all else.
    """

    allowed_cidrs: Sequence[str]
    deadline: float
    token: str | None = None
    https_only: bool = False

    def left(self) -> float:
        """Return the seconds until the deadline; raises MediaError (SourceUnavailable) when there are none."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise MediaError(Reason.SOURCE_UNAVAILABLE, "The server of the source is too slow.")
        return left

    def wait(self, seconds: float) -> None:
        """Pause; raises MediaError (SourceUnavailable) at once when the deadline comes before."""
        if seconds >= self.left():
            raise MediaError(Reason.SOURCE_UNAVAILABLE, "There is no time left to ask the server again.")
        time.sleep(seconds)


class Answer:
    """A server's answer; its body is read while it is open. Used in `with`, which closes the connection."""

    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse, way: Way) -> None:
        """Take what was opened, and until when to read."""
        self._connection, self._response, self._way = connection, response, way
        self.status = response.status
        #: In bytes as announced; None when the server does not know it yet.
        self.length = response.length

    def __enter__(self) -> Self:
        """Do nothing: it is open."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self._response.close()
        self._connection.close()

    def header(self, name: str) -> str | None:
        """Return a header, None when it is absent."""
        return self._response.getheader(name)

    @property
    def wait_seconds(self) -> float | None:
        """What Retry-After asks for (RFC 9110 10.2.3: seconds or a date); None unless it is short enough to be done."""
        text = (self.header("Retry-After") or "").strip()
        seconds = float(text) if text.isascii() and text.isdecimal() else _seconds_until(text)
        return seconds if seconds is not None and seconds <= MAX_WAIT_SECONDS else None

    def chunks(self) -> Iterator[bytes]:
        """Yield the body; raises FetchError (SourceUnavailable) unless it comes to its end."""
        try:
            while chunk := self._response.read1(_CHUNK_BYTES):
                yield chunk
                self._way.left()
        except (OSError, http.client.HTTPException) as error:
            raise _unavailable(error) from error
        # read1 ends silently when the peer closes before Content-Length is reached.
        if self._response.length:
            raise FetchError(Reason.SOURCE_UNAVAILABLE, "The server of the source broke off.")


def ask(url: str, way: Way, headers: Mapping[str, str] | None = None) -> Answer:
    """Send a GET and return the answer, whatever its status, after redirects.

    Raises MediaError: SourceForbidden for a URL or address that is not allowed, SourceUnavailable for what may pass.
    """
    token, parts = way.token, _parse(url, way)
    first = parts
    for _ in range(MAX_REDIRECTS + 1):
        # Who is redirected to may be anybody: what a token opens, it opens for the host that it was meant for.
        token = token if _origin(parts) == _origin(first) else None
        authorization = {"Authorization": f"Bearer {token}"} if token else {}
        answer = _request(parts, way, {**_HEADERS, **(headers or {}), **authorization})
        if answer.status not in _REDIRECTS:
            return answer
        with answer:
            location = answer.header("Location")
        if not location:
            raise FetchError(Reason.SOURCE_UNAVAILABLE, "The server of the source redirects to nowhere.")
        parts = _parse(_text_of(location), way, base=parts.geturl())
    raise MediaError(Reason.SOURCE_FORBIDDEN, f"The source redirects more than {MAX_REDIRECTS} times.")


def _text_of(header: str) -> str:
    """Return a header as it was meant: http.client reads bytes as Latin-1, and servers send names of files as UTF-8."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeError:
        return header


def _parse(url: str, way: Way, *, base: str = "") -> SplitResult:
    try:
        parts = urlsplit(urljoin(base, url))
        # http.client refuses the others as an error of its caller.
        is_name = re.fullmatch(r"[^\x00-\x20\x7f]+", parts.hostname or "")
        usable = parts.scheme in ("http", "https") and is_name and parts.port != 0
    except ValueError:  # a port or a bracket that is none
        usable = None
    if not usable:
        raise MediaError(Reason.SOURCE_FORBIDDEN, "Only http and https URLs with a host are fetched.")
    if parts.username is not None or parts.password is not None:
        raise MediaError(Reason.SOURCE_FORBIDDEN, "A URL with a user name or password is not fetched.")
    if way.https_only and parts.scheme != "https":
        raise MediaError(Reason.SOURCE_FORBIDDEN, "What a token is needed for is not fetched unencrypted.")
    return parts


def _origin(url: SplitResult) -> tuple[str, str, int]:
    return url.scheme, url.hostname or "", url.port or (443 if url.scheme == "https" else 80)


def _request(url: SplitResult, way: Way, headers: Mapping[str, str]) -> Answer:
    _, host, port = _origin(url)
    connection = http.client.HTTPConnection(host, port)
    if url.scheme == "https":
        # A class attribute there: without it the Host header would name the port.
        connection.default_port = 443
    try:
        # The socket is made here, so that it leads to the address that was checked and to no other.
        connection.sock = _connect(host, port, way, tls=url.scheme == "https")
        target = quote(url.path or "/", safe="/%:@!$&'()*+,;=~-._")
        query = f"?{quote(url.query, safe='/%:@!$&()*+,;=~-._?')}" if url.query else ""
        connection.request("GET", target + query, headers=dict(headers))
        return Answer(connection, connection.getresponse(), way)
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        connection.close()
        raise _unavailable(error) from error


def _connect(host: str, port: int, way: Way, *, tls: bool) -> socket.socket:
    candidates = socket.getaddrinfo(host.encode("idna"), port, type=socket.SOCK_STREAM)
    allowed = [entry for entry in candidates if is_allowed(str(entry[4][0]), way.allowed_cidrs)]
    if not allowed:
        raise MediaError(Reason.SOURCE_FORBIDDEN, "The address of the source's server is not a public one.")
    error: OSError | None = None
    for family, kind, protocol, _, address in allowed:
        raw = socket.socket(family, kind, protocol)
        try:
            raw.settimeout(min(CONNECT_SECONDS, way.left()))
            raw.connect(address)
            raw.settimeout(min(READ_SECONDS, way.left()))
            return ssl.create_default_context().wrap_socket(raw, server_hostname=host) if tls else raw
        except OSError as failed:
            raw.close()
            error = failed
        except BaseException:
            raw.close()
            raise
    raise error or OSError(host)


def _seconds_until(date: str) -> float | None:
    try:
        moment = email.utils.parsedate_to_datetime(date).astimezone(UTC)
    except (ValueError, OverflowError):  # no date, or one beyond what years and zones can be
        return None
    return max((moment - datetime.now(UTC)).total_seconds(), 0.0)


def _unavailable(error: Exception) -> FetchError:
    # Names that DNS does not know, and those that cannot be asked for.
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return FetchError(Reason.SOURCE_UNAVAILABLE, "The host name of the source could not be resolved.")
    # The class only: the text of the error may hold addresses of the network that we stand in.
    return FetchError(Reason.SOURCE_UNAVAILABLE, f"The source could not be fetched ({type(error).__name__}).")
