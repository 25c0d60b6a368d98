"""What somebody sent by WhatsApp: its bytes from Meta's Graph API, with the token of the account that got it.

Two steps: the id of the media gives a link that works for five minutes, and the link the bytes; both want the token.
https://developers.facebook.com/documentation/business-messaging/whatsapp/business-phone-numbers/media/
"""

import json
import os
import re
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

from media_transcoder.sources.connect import Answer, FetchError, Way, ask
from media_transcoder.sources.download import download
from media_transcoder.sources.incoming import Incoming, digest_of
from mediaasset.names import whatsapp_secret
from mediaasset.reasons import MediaError, Reason
from mediaasset.task import GRAPH_URL, GRAPH_VARIABLE, WHATSAPP_VARIABLE, WhatsAppMedia

#: So many links are asked for: one may have expired before it is used, or while a download that broke off waits.
_LINKS = 3
_LOOKUPS = 3
_ANSWER_BYTES = 64 * 1024
_MESSAGE_CHARACTERS = 300
#: What an expired link answers.
_EXPIRED = {HTTPStatus.NOT_FOUND, HTTPStatus.GONE, HTTPStatus.FORBIDDEN}

# Codes of Graph's errors. https://developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes
_INVALID_TOKEN = {190}
#: Limits of rate (of the app, the business, the number, the pair), and what Meta says of itself: unknown, unavailable.
_BUSY = {1, 2, 4, 80007, 130429, 131000, 131016, 131056}
#: The token lacks a permission; 200 to 299 are those of single permissions.
_DENIED = {3, 10, *range(200, 300), 131005}
#: The id is not known, or not to this account.
_UNKNOWN_ID = (100, 33)

_URL = re.compile(r"\S+://\S+")
_TOKEN = re.compile(r"(access_token=|Bearer )\S+|\bEAA[A-Za-z0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Link:
    """Where the bytes are for five minutes, and what Graph says of them; sha256 is in hexadecimal."""

    url: str
    sha256: str | None
    size_bytes: int | None


def fetch(media: WhatsAppMedia, namespace: str, into: Incoming, way: Way) -> None:
    """Fetch what was sent, and compare it with what Graph and the webhook announced.

    `way` comes without a token. Raises MediaError: SourceUnauthorized for a token that is missing or not valid,
    SourceForbidden for an account of another namespace, SourceNotFound, SourceMismatch, SourceTooLarge,
    SourceUnavailable.
    """
    graph = os.environ.get(GRAPH_VARIABLE) or GRAPH_URL
    # Only a stand-in for Graph is spoken to in the clear.
    way = replace(way, token=token_of(media.account_name, namespace), https_only=not graph.startswith("http://"))
    for links_left in reversed(range(_LINKS)):
        link = _look_up(f"{graph.rstrip('/')}/{quote(media.media_id, safe='')}", way)
        into.check(link.size_bytes or 0)
        try:
            download(link.url, into, way)
            break
        except FetchError as error:
            if error.status == HTTPStatus.UNAUTHORIZED:
                raise MediaError(Reason.SOURCE_UNAUTHORIZED, "The link that Graph gave does not take it.") from error
            if error.status not in _EXPIRED or not links_left:
                raise _without_the_link(error) from error
    if link.size_bytes is not None and link.size_bytes != into.size:
        message = f"Graph announced {link.size_bytes} bytes, and {into.size} came."
        raise MediaError(Reason.SOURCE_MISMATCH, message)
    for announced, by in ((link.sha256, "Graph"), (digest_of(media.sha256), "The message")):
        if announced is not None and announced != into.sha256:
            raise MediaError(Reason.SOURCE_MISMATCH, f"{by} announced another sha256 than that of what came.")


def token_of(account: str, namespace: str) -> str:
    """Return the token of an account; raises SourceUnauthorized when there is none, SourceForbidden for another's."""
    directory = os.environ.get(WHATSAPP_VARIABLE)
    if not directory or Path(account).name != account:
        raise _no_token(account)
    try:
        token = Path(directory, account, "token").read_text(encoding="ascii").strip()
        owner = Path(directory, account, "namespace").read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise _no_token(account) from error
    if owner != namespace:
        message = f"The WhatsApp account {account} does not belong to the namespace {namespace}."
        raise MediaError(Reason.SOURCE_FORBIDDEN, message)
    # It becomes a header: nothing that could end one.
    if not re.fullmatch(r"[!-~]+", token):
        raise _no_token(account)
    return token


def _look_up(url: str, way: Way) -> _Link:
    """Ask Graph for the link; a short Retry-After is waited for."""
    for lookups_left in reversed(range(_LOOKUPS)):
        with ask(url, way) as answer:
            body = _json(answer)
            if answer.status == HTTPStatus.OK:
                return _link(body)
        error = _refused(answer, body, way.token or "")
        if error.wait_seconds is None or not lookups_left:
            break
        way.wait(error.wait_seconds)
    raise error


def _json(answer: Answer) -> dict[str, Any]:
    text = b""
    for chunk in answer.chunks():
        text += chunk
        if len(text) > _ANSWER_BYTES:
            break
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _link(body: dict[str, Any]) -> _Link:
    url, sha256, size = body.get("url"), body.get("sha256"), body.get("file_size")
    # The size is a number in some answers and a text in others.
    size = str(size) if isinstance(size, (int, str)) else ""
    if not isinstance(url, str) or not isinstance(sha256, str | None):
        raise MediaError(Reason.SOURCE_UNAVAILABLE, "Graph gave no link.")
    size_bytes = int(size) if re.fullmatch(r"[0-9]{1,15}", size) else None
    return _Link(url=url, sha256=digest_of(sha256), size_bytes=size_bytes)


def _refused(answer: Answer, body: dict[str, Any], token: str) -> FetchError:
    """Return what an error of Graph means. Codes go before the status: limits of rate come with 400 and 403 too."""
    found = body.get("error")
    error: dict[str, Any] = found if isinstance(found, dict) else {}
    code, subcode = (value if type(value := error.get(name)) is int else None for name in ("code", "error_subcode"))
    reason, hint = _meaning(answer.status, code, subcode)
    known = ", ".join(f"{name} {value}" for name, value in (("code", code), ("subcode", subcode)) if value is not None)
    text = f"Graph answered {answer.status}{f' ({known})' if known else ''}{_said(error, token)}.{hint}"
    wait_seconds = answer.wait_seconds if reason is Reason.SOURCE_UNAVAILABLE else None
    return FetchError(reason, text, status=answer.status, wait_seconds=wait_seconds)


def _meaning(status: int, code: int | None, subcode: int | None) -> tuple[Reason, str]:
    """Return the reason, and what more there is to say to a person."""
    if code in _INVALID_TOKEN:
        return Reason.SOURCE_UNAUTHORIZED, ""
    if code in _BUSY or status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Reason.SOURCE_UNAVAILABLE, ""
    if (code, subcode) == _UNKNOWN_ID or status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        return Reason.SOURCE_NOT_FOUND, " The id of media lives for 7 days, and only its own account sees it."
    if status == HTTPStatus.UNAUTHORIZED:
        return Reason.SOURCE_UNAUTHORIZED, ""
    if code in _DENIED or status == HTTPStatus.FORBIDDEN:
        return Reason.SOURCE_FORBIDDEN, " The account's token lacks a permission."
    # What is not understood may pass: after its attempts the asset is Stalled all the same.
    return Reason.SOURCE_UNAVAILABLE, ""


def _said(error: dict[str, Any], token: str) -> str:
    """Return Graph's own words, without addresses and tokens."""
    words = error.get("message")
    if not isinstance(words, str):
        return ""
    words = _TOKEN.sub("…", _URL.sub("…", words.replace(token, "…") if token else words))
    return ": " + " ".join(words.split())[:_MESSAGE_CHARACTERS].rstrip(".")


def _without_the_link(error: FetchError) -> FetchError:
    """Return what it means for a person that a link did not work: Graph knows the media, so they are not gone."""
    if error.status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        return FetchError(Reason.SOURCE_UNAVAILABLE, f"{_LINKS} links of Graph led nowhere.", status=error.status)
    return error


def _no_token(account: str) -> MediaError:
    message = (
        f"There is no token for the WhatsApp account {account}: the Secret {whatsapp_secret(account)} in the namespace"
        " of the transcoders (a directory of standalone) needs the keys token and namespace."
    )
    return MediaError(Reason.SOURCE_UNAUTHORIZED, message)
