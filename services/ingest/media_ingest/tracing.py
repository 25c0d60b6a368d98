"""What ties a request to its log lines and to its asset: a request id and the W3C trace context."""

import re
import uuid

import structlog
from starlette.datastructures import Headers

from mediaasset.names import TRACEPARENT_ANNOTATION

REQUEST_ID_HEADER = "X-Request-ID"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._~+/=:-]{1,128}")
# https://www.w3.org/TR/trace-context/#traceparent-header, version 00. A later version may have more behind it, of which
# a reader of version 00 takes only this much.
_TRACEPARENT = re.compile(r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})-[0-9a-f]{2}")


def begin(headers: Headers) -> str:
    """Bind the ids of a request to all that is logged and created until it ends; return its id.

    An id that a client or proxy sends is taken over if it is harmless in a log, and otherwise replaced.
    """
    sent = headers.get(REQUEST_ID_HEADER, "")
    request_id = sent if _REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=request_id)
    context = _context(headers)
    if context:
        traceparent, trace = context
        structlog.contextvars.bind_contextvars(traceparent=traceparent, trace_id=trace)
    return request_id


def name_asset(name: str) -> None:
    """Have the rest of the request's log lines say which asset it is about."""
    structlog.contextvars.bind_contextvars(asset=name)


def annotations() -> dict[str, str]:
    """Return what an asset keeps of the request that made it: its trace context, if it has one.

    It is handed on as it came, as by anybody who records no spans of his own (Trace Context, section 3.4).
    """
    found: str | None = structlog.contextvars.get_contextvars().get("traceparent")
    return {TRACEPARENT_ANNOTATION: found} if found else {}


def _context(headers: Headers) -> tuple[str, str] | None:
    # More than one of them is none.
    sent = headers.getlist("traceparent")
    text = sent[0].strip() if len(sent) == 1 else ""
    match = _TRACEPARENT.match(text)
    if match is None or match["version"] == "ff" or not int(match["trace"], 16) or not int(match["parent"], 16):
        return None
    rest = text[match.end() :]
    if rest and (match["version"] == "00" or not rest.startswith("-")):
        return None
    return match[0], match["trace"]
