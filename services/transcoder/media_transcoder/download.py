"""Fetching a source from a URL, by a connection whose address was checked."""

import http.client
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from http import HTTPStatus
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from media_transcoder.addresses import is_allowed
from mediaasset.reasons import MediaError, Reason

MAX_REDIRECTS = 3
CONNECT_SECONDS = 10.0
READ_SECONDS = 15.0

_CHUNK_BYTES = 64 * 1024
_REDIRECTS = {
    HTTPStatus.MOVED_PERMANENTLY,
    HTTPStatus.FOUND,
    HTTPStatus.SEE_OTHER,
    HTTPStatus.TEMPORARY_REDIRECT,
    HTTPStatus.PERMANENT_REDIRECT,
}
_GONE = {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}
_REFUSED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS}
_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "media-operator", "Connection": "close"}


def download(url: str, allowed_cidrs: Sequence[str], seconds: float) -> tuple[int | None, Iterator[bytes]]:
    """Open a URL; return the size that the server announces, if it does, and the bytes.

    `seconds` bounds the whole transfer. Raises MediaError, also while the bytes are read: SourceForbidden for a URL or
    address that is not allowed, SourceNotFound, SourceUnavailable for what may pass.
    """
    deadline = time.monotonic() + seconds
    for _ in range(MAX_REDIRECTS + 1):
        connection, response = _request(_parse(url), allowed_cidrs, deadline)
        if response.status not in _REDIRECTS:
            return _announced(connection, response), _chunks(connection, response, deadline)
        location = response.getheader("Location")
        connection.close()
        if not location:
            raise MediaError(Reason.SOURCE_UNAVAILABLE, "The server of the source redirects to nowhere.")
        url = urljoin(url, location)
    raise MediaError(Reason.SOURCE_FORBIDDEN, f"The source redirects more than {MAX_REDIRECTS} times.")


def _parse(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port or a bracket that is none
        usable = None
    if not usable:
        raise MediaError(Reason.SOURCE_FORBIDDEN, "Only http and https URLs with a host are fetched.")
    if parts.username is not None or parts.password is not None:
        raise MediaError(Reason.SOURCE_FORBIDDEN, "A URL with a user name or password is not fetched.")
    return parts


def _request(
    url: SplitResult, allowed_cidrs: Sequence[str], deadline: float
) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    connection = http.client.HTTPConnection(host, port)
    if url.scheme == "https":
        # A class attribute there: without it the Host header would name the port.
        connection.default_port = 443
    try:
        # The socket is made here, so that it leads to the address that was checked and to no other.
        connection.sock = _connect(host, port, allowed_cidrs, deadline, tls=url.scheme == "https")
        target = quote(url.path or "/", safe="/%:@!$&'()*+,;=~-._")
        query = f"?{quote(url.query, safe='/%:@!$&()*+,;=~-._?')}" if url.query else ""
        connection.request("GET", target + query, headers=_HEADERS)
        return connection, connection.getresponse()
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        connection.close()
        raise _unavailable(error) from error


def _connect(host: str, port: int, allowed_cidrs: Sequence[str], deadline: float, *, tls: bool) -> socket.socket:
    candidates = socket.getaddrinfo(host.encode("idna"), port, type=socket.SOCK_STREAM)
    allowed = [entry for entry in candidates if is_allowed(str(entry[4][0]), allowed_cidrs)]
    if not allowed:
        raise MediaError(Reason.SOURCE_FORBIDDEN, "The address of the source's server is not a public one.")
    error: OSError | None = None
    for family, kind, protocol, _, address in allowed:
        raw = socket.socket(family, kind, protocol)
        try:
            raw.settimeout(min(CONNECT_SECONDS, _left(deadline)))
            raw.connect(address)
            raw.settimeout(min(READ_SECONDS, _left(deadline)))
            return ssl.create_default_context().wrap_socket(raw, server_hostname=host) if tls else raw
        except OSError as failed:
            raw.close()
            error = failed
        except BaseException:
            raw.close()
            raise
    raise error or OSError(host)


def _announced(connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> int | None:
    """Check the answer's head; return its Content-Length."""
    status, encoding = response.status, response.getheader("Content-Encoding", "identity").strip().lower()
    if status == HTTPStatus.OK and encoding in ("", "identity"):
        return response.length
    connection.close()
    if status in _GONE:
        raise MediaError(Reason.SOURCE_NOT_FOUND, f"The server of the source answered {status}.")
    if status in _REFUSED:
        raise MediaError(Reason.SOURCE_FORBIDDEN, f"The server of the source answered {status}.")
    if status == HTTPStatus.OK:
        raise MediaError(Reason.SOURCE_UNAVAILABLE, "The server of the source compresses it unasked.")
    raise MediaError(Reason.SOURCE_UNAVAILABLE, f"The server of the source answered {status}.")


def _chunks(
    connection: http.client.HTTPConnection, response: http.client.HTTPResponse, deadline: float
) -> Iterator[bytes]:
    with closing(connection), closing(response):
        try:
            while chunk := response.read1(_CHUNK_BYTES):
                yield chunk
                _left(deadline)
        except (OSError, http.client.HTTPException) as error:
            raise _unavailable(error) from error
        # read1 ends silently when the peer closes before Content-Length is reached.
        if response.length:
            raise MediaError(Reason.SOURCE_UNAVAILABLE, "The server of the source broke off.")


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise MediaError(Reason.SOURCE_UNAVAILABLE, "The server of the source is too slow.")
    return left


def _unavailable(error: Exception) -> MediaError:
    # The class only: the text of the error may hold addresses of the network that we stand in.
    return MediaError(Reason.SOURCE_UNAVAILABLE, f"The source could not be fetched ({type(error).__name__}).")
