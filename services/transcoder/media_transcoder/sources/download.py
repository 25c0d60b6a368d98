"""Fetching a file by its URL: a download that breaks off goes on where it was, if it is still the same file."""

import email.utils
import re
from datetime import timedelta
from http import HTTPStatus

from media_transcoder.sources.connect import Answer, FetchError, Way, ask
from media_transcoder.sources.incoming import Incoming
from mediaasset.reasons import MediaError, Reason

#: The pauses between tries, in seconds; one that gets further than all before it begins them anew. What outlasts them
#: is left to another attempt.
PAUSES = (0.2, 0.5, 1.0, 2.0)

_GONE = {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}
_REFUSED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS}
_BUSY = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
_COMPRESSED = {"gzip", "x-gzip", "deflate", "compress", "x-compress", "br", "zstd"}
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)\Z")


def download(url: str, into: Incoming, way: Way) -> None:
    """Fetch a URL.

    A download that breaks off is gone on with only where the server gave a validator, by which it can tell that the
    file is the same; without one it starts anew, because nothing else shows that the file was changed meanwhile. Raises
    MediaError: SourceForbidden for a URL or address that is not allowed, SourceNotFound, SourceTooLarge,
    SourceUnavailable for what may pass.
    """
    version, furthest, fruitless = _Version(), 0, 0
    while True:
        try:
            version.receive(url, into, way)
        except FetchError as error:
            fruitless = 0 if into.size > furthest else fruitless + 1
            furthest = max(furthest, into.size)
            # A server that has given nothing so far is tried again only when it says itself when that is of use.
            if not _may_pass(error, begun=furthest > 0) or fruitless > len(PAUSES):
                raise
            way.wait(error.wait_seconds if error.wait_seconds is not None else PAUSES[max(fruitless - 1, 0)])
        else:
            return


class _Version:
    """The version of a file that is being fetched: its size and the header by which a server tells it from others."""

    def __init__(self) -> None:
        """Begin with none."""
        self._total: int | None = None
        self._validator: tuple[str, str] | None = None

    def receive(self, url: str, into: Incoming, way: Way) -> None:
        """Ask once, for the rest if it can be; raises FetchError when it did not all come."""
        headers = {}
        if self._validator and into.size:
            headers = {"Range": f"bytes={into.size}-", "If-Range": self._validator[1]}
        with ask(url, way, headers) as answer:
            if answer.status == HTTPStatus.OK:
                _check_encoding(answer)
                self._total, self._validator = answer.length, _validator(answer)
                into.begin(answer.length)
            elif not (headers and self._goes_on(answer, into.size)):
                # Whatever was wrong with our part, the next request is for the whole.
                self._validator = None
                raise _refused(answer)
            for chunk in answer.chunks():
                into.write(chunk)
        if self._total is not None and into.size < self._total:
            raise FetchError(Reason.SOURCE_UNAVAILABLE, "The server of the source gave only a part of it.")

    def _goes_on(self, answer: Answer, size: int) -> bool:
        """Tell whether an answer is the rest of this version, from the byte `size` on."""
        found = _CONTENT_RANGE.match(answer.header("Content-Range") or "")
        if answer.status != HTTPStatus.PARTIAL_CONTENT or not found or int(found[1]) != size or not self._validator:
            return False
        _check_encoding(answer)
        total = self._total if found[2] == "*" else int(found[2])
        name, value = self._validator
        # Some servers look at Range and not at If-Range: their answer says itself which version it is of.
        if total is None or self._total not in (None, total) or answer.header(name) not in (None, value):
            return False
        self._total = total
        return True


def _validator(answer: Answer) -> tuple[str, str] | None:
    """Return the header that If-Range may repeat (RFC 9110 13.1.5): a strong ETag, or a date that is strong."""
    etag, changed = answer.header("ETag"), answer.header("Last-Modified")
    if etag is not None:
        return ("ETag", etag) if etag.startswith('"') else None
    try:
        modified = email.utils.parsedate_to_datetime(changed or "")
        # RFC 9110 8.8.2.2: within one second the file could have been changed twice.
        is_strong = email.utils.parsedate_to_datetime(answer.header("Date") or "") - modified >= timedelta(seconds=1)
    except (ValueError, TypeError, OverflowError):  # no date, one without a zone, or with one that is none
        return None
    return ("Last-Modified", changed) if changed and is_strong else None


def _may_pass(error: FetchError, *, begun: bool) -> bool:
    if error.reason is not Reason.SOURCE_UNAVAILABLE:
        return False
    return begun or error.wait_seconds is not None


def _check_encoding(answer: Answer) -> None:
    # Words that name no compression, such as aws-chunked and binary, come from stores that repeat what an upload said.
    if (answer.header("Content-Encoding") or "").strip().lower() in _COMPRESSED:
        raise MediaError(Reason.SOURCE_UNAVAILABLE, "The server of the source compresses it unasked.")


def _refused(answer: Answer) -> FetchError:
    status = answer.status
    reason = Reason.SOURCE_UNAVAILABLE
    if status in _GONE:
        reason = Reason.SOURCE_NOT_FOUND
    elif status in _REFUSED:
        reason = Reason.SOURCE_FORBIDDEN
    message = f"The server of the source answered {status}."
    return FetchError(reason, message, status=status, wait_seconds=answer.wait_seconds if status in _BUSY else None)
