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

# Codes of Graph's errors. https://developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes
_INVALID_TOKEN = {0, 190}
#: The token lacks a permission; 200 to 299 are those of single permissions.
_DENIED = {3, 10, *range(200, 300), 131005}
#: Limits of rate: of the app, the business, the number, and of one pair of numbers.
_BUSY = {4, 80007, 130429, 131048, 131056}
#: What Meta says of itself: unknown, unavailable.
_DOWN = {1, 2, 131000, 131016}
#: The media: their id is not known (any more), or they could not be read.
MEDIA_CODES = frozenset({100, 131009, 131052, 131053})

#: Seconds after which it makes sense to try again where Graph does not say; a pair of numbers has 6 s between messages.
_BUSY_SECONDS, _PAIR_SECONDS, _PAIR_CODE = 60, 6, 131056
#: Seconds. Graph answers an upload once it has looked at the file.
_TIMEOUT = httpx2.Timeout(30, read=60)
_WORDS = 300
_SECRET = re.compile(r"(access_token=|Bearer |appsecret_proof=)\S+|\bEAA[A-Za-z0-9]+")


class GraphError(Exception):
    """Graph refused, or did not answer (status 0); the text holds its own words, without tokens."""

    def __init__(self, text: str, *, status: int = 0, code: int | None = None, retry_after: int | None = None) -> None:
        """Take what the answer says."""
        super().__init__(text)
        self.status, self.code, self.retry_after = status, code, retry_after

    @property
    def is_of_token(self) -> bool:
        """Tell whether the token is not valid."""
        return self.code in _INVALID_TOKEN or (self.code is None and self.status == HTTPStatus.UNAUTHORIZED)

    def to_problem(self, account: str) -> Problem:
        """Return what it means for who wanted to send. Codes go before the status, which is 400 for nearly all."""
        known: dict[str, Any] = {} if self.code is None else {"code": self.code}
        if self.is_of_token:
            text = f"{self} Put a valid token into the Secret of the account {account}: media whatsapp check {account}"
            return Problem(Slug.WHATSAPP_ACCOUNT, text, **known)
        if self.code in _BUSY or self.status == HTTPStatus.TOO_MANY_REQUESTS:
            seconds = self.retry_after or (_PAIR_SECONDS if self.code == _PAIR_CODE else _BUSY_SECONDS)
            return Problem(Slug.WHATSAPP_BUSY, str(self), headers={"Retry-After": str(seconds)}, **known)
        if self.code in _DOWN or not self.status or self.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return Problem(Slug.WHATSAPP_UNAVAILABLE, str(self), **known)
        if self.code in _DENIED or (self.code is None and self.status == HTTPStatus.FORBIDDEN):
            return Problem(Slug.WHATSAPP_ACCOUNT, f"{self} The token of the account lacks a permission.", **known)
        return Problem(Slug.WHATSAPP_REFUSED, str(self), **known)


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
            raise GraphError(message) from error
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
    return GraphError(
        f"{text}: {words}." if words else f"{text}.",
        status=answer.status_code,
        code=code,
        retry_after=int(retry) if re.fullmatch(r"[0-9]{1,5}", retry) else None,
    )


@cache
def _trust() -> ssl.SSLContext:
    # Made once: reading the authorities takes longer than a request.
    return httpx2.create_ssl_context()
