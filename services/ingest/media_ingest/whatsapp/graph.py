"""Meta's Graph API, as far as messages are sent through it.

https://developers.facebook.com/documentation/business-messaging/whatsapp/business-phone-numbers/media/
"""

import re
import secrets
import ssl
from collections.abc import AsyncIterator, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any

import httpx2

from media_ingest.errors import Problem, Slug
from media_ingest.whatsapp.accounts import Account
from mediaasset.reasons import MediaError, Reason

#: What a code of Graph's errors means for who wanted to send; whatever is not here is refused for what was sent.
#: https://developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes
_MEANING: Mapping[int, Slug] = {
    # The token is not valid, or lacks a permission: 200 to 299 are single ones.
    **dict.fromkeys((0, 190, 3, 10, *range(200, 300), 131005), Slug.WHATSAPP_ACCOUNT),
    # The number or its business: gone, blocked for a policy, locked, unpaid, its name, certificate or registration.
    **dict.fromkeys((33, 368, 131031, 131042, 131037, 131045, 133010), Slug.WHATSAPP_ACCOUNT),
    # Limits of rate: of the app, the business, the number (its throughput, complaints about it), and a pair of numbers.
    **dict.fromkeys((4, 80007, 130429, 131048, 131056), Slug.WHATSAPP_BUSY),
    # Meta itself: unknown, unavailable, in maintenance.
    **dict.fromkeys((1, 2, 131000, 131016, 131057, 133004), Slug.WHATSAPP_UNAVAILABLE),
}
_INVALID_TOKEN = {0, 190}
#: What Graph's own words leave out.
_ADVICE = {
    131047: "Their last message is more than 24 hours old: send a template.",
    131026: "The number may not be on WhatsApp.",
}
#: The media: their id is not known (any more), or they could not be read.
MEDIA_CODES = frozenset({100, 131009, 131052, 131053})

#: Seconds after which it makes sense to try again where Graph does not say; a pair of numbers has 6 s between messages.
_BUSY_SECONDS, _PAIR_SECONDS, _PAIR_CODE = 60, 6, 131056
#: Seconds. Graph answers an upload once it has looked at the file.
_TIMEOUT = httpx2.Timeout(30, read=60)
_WORDS = 300
#: With these errors no request has left.
_UNSENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.UnsupportedProtocol,
    httpx2.InvalidURL,
    UnicodeEncodeError,
)
_SECRET = re.compile(r"(access_token=|Bearer |appsecret_proof=)\S+|\bEAA[A-Za-z0-9]+")


class GraphError(Exception):
    """Graph refused, or did not answer (status 0); the text holds its own words, without tokens.

    is_open: Graph got the request, or may have, and did not say what became of it.
    """

    def __init__(
        self,
        text: str,
        *,
        status: int = 0,
        code: int | None = None,
        retry_after: int | None = None,
        is_open: bool = False,
    ) -> None:
        """Take what the answer says."""
        super().__init__(text)
        self.status, self.code, self.retry_after, self.is_open = status, code, retry_after, is_open

    def to_problem(self, account: str) -> Problem:
        """Return what it means for who wanted to send. Codes go before the status, which is 400 for nearly all."""
        slug = self._slug()
        known: dict[str, Any] = {} if self.code is None else {"code": self.code}
        text, headers = str(self), {}
        if slug is Slug.WHATSAPP_ACCOUNT:
            what = "Put a valid token into the Secret of" if self._is_of_token() else "Meta's dashboard says more of"
            text = f"{text} {what} the account {account}: media whatsapp check {account}"
        elif slug is Slug.WHATSAPP_BUSY:
            seconds = self.retry_after or (_PAIR_SECONDS if self.code == _PAIR_CODE else _BUSY_SECONDS)
            headers["Retry-After"] = str(seconds)
        elif self.code in _ADVICE:
            text = f"{text} {_ADVICE[self.code]}"
        return Problem(slug, text, headers=headers, **known)

    def _is_of_token(self) -> bool:
        return self.code in _INVALID_TOKEN or (self.code is None and self.status == HTTPStatus.UNAUTHORIZED)

    def _slug(self) -> Slug:
        if self.code is not None and self.code in _MEANING:
            return _MEANING[self.code]
        if not self.status or self.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return Slug.WHATSAPP_UNAVAILABLE
        if self.status == HTTPStatus.TOO_MANY_REQUESTS:
            return Slug.WHATSAPP_BUSY
        if self.code is None and self.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return Slug.WHATSAPP_ACCOUNT
        return Slug.WHATSAPP_REFUSED


class Graph:
    """Requests to the Graph API at one base URL, with the token of one account each. Raises GraphError."""

    def __init__(self, url: str) -> None:
        """Take the base URL with its version."""
        self._url = url.rstrip("/")

    async def get(self, account: Account, path: str, **query: str) -> dict[str, Any]:
        """Read something."""
        return await self._ask(account, "GET", path, params=query)

    async def send(self, account: Account, message: Mapping[str, Any]) -> dict[str, Any]:
        """Send a message; return the answer, whose messages[0].id is that of the message."""
        body = {"messaging_product": "whatsapp", "recipient_type": "individual", **message}
        return await self._ask(account, "POST", f"{account.phone_number_id}/messages", json=body)

    async def upload(self, account: Account, *, mime_type: str, size: int, chunks: AsyncIterator[bytes]) -> str:
        """Hand over a file of so many bytes as it streams; return the id by which messages of this number name it.

        Raises MediaError when it has another number of bytes.
        """
        boundary = secrets.token_hex(16)
        fields = {"messaging_product": "whatsapp", "type": mime_type}
        head = "".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        )
        # The name that the receiver sees goes with the message.
        head += (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n'
            f"Content-Type: {mime_type}\r\n\r\n"
        )
        tail = f"\r\n--{boundary}--\r\n"

        async def body() -> AsyncIterator[bytes]:
            yield head.encode()
            count = 0
            async for chunk in chunks:
                count += len(chunk)
                yield chunk
            if count != size:
                # Ended here, the request breaks off, and Graph keeps nothing.
                raise MediaError(Reason.STORE_UNAVAILABLE)
            yield tail.encode()

        answer = await self._ask(
            account,
            "POST",
            f"{account.phone_number_id}/media",
            content=body(),
            headers={
                "Content-Type": f"multipart/form-data; boundary={boundary}",
                "Content-Length": str(len(head) + size + len(tail)),
            },
        )
        media_id = answer.get("id")
        if not isinstance(media_id, str) or not media_id:
            message = "Graph gave no id for the media."
            raise GraphError(message)
        return media_id

    async def _ask(self, account: Account, method: str, path: str, **request: Any) -> dict[str, Any]:
        token = account.token.get_secret_value()
        headers = {**request.pop("headers", {}), "Authorization": f"Bearer {token}"}
        try:
            async with httpx2.AsyncClient(verify=_trust(), timeout=_TIMEOUT) as client:
                answer = await client.request(method, f"{self._url}/{path}", headers=headers, **request)
        except (httpx2.HTTPError, httpx2.InvalidURL, UnicodeEncodeError) as error:
            message = f"Graph cannot be reached: {type(error).__name__}."
            raise GraphError(message, is_open=not isinstance(error, _UNSENT)) from error
        try:
            body = answer.json()
        except ValueError:
            body = None
        found = body if isinstance(body, dict) else {}
        if answer.is_success and found:
            return found
        raise _error(answer, found)


def _error(answer: httpx2.Response, body: Mapping[str, Any]) -> GraphError:
    found = body.get("error")
    error: Mapping[str, Any] = found if isinstance(found, dict) else {}
    code = error.get("code") if type(error.get("code")) is int else None
    data = error.get("error_data")
    details = data.get("details") if isinstance(data, dict) else None
    words = ": ".join(text for text in (error.get("message"), details) if isinstance(text, str))
    words = " ".join(_SECRET.sub("…", words).split())[:_WORDS].rstrip(".")
    text = f"Graph answered {answer.status_code}" + (f" (code {code})" if code is not None else "")
    retry = answer.headers.get("Retry-After", "")
    # An error without a code is that of somebody between us and Graph.
    is_open = code is None and (answer.is_success or answer.is_server_error)
    return GraphError(
        f"{text}: {words}." if words else f"{text}.",
        status=answer.status_code,
        code=code,
        retry_after=int(retry) if re.fullmatch(r"[0-9]{1,5}", retry) else None,
        is_open=is_open,
    )


@cache
def _trust() -> ssl.SSLContext:
    # Made once: reading the authorities takes longer than a request.
    return httpx2.create_ssl_context()
