"""The HTTP API as the command line needs it: upload, get, list. Errors come out as ServerError, ready to be shown."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Any, BinaryIO, Self
from urllib.parse import quote

import httpx2

from media_cli.target import Target

#: The body of an answer: one asset, or one page of them.
Json = dict[str, Any]

#: Seconds. An answer to an upload comes once the bytes are durable, which a slow disk may take its time for.
TIMEOUT = httpx2.Timeout(30, read=120, write=120)

#: What a person can do about an answer, by status; the server's own detail says what was wrong.
ADVICE: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "Give the server's token in MEDIA_TOKEN or with --token-file.",
    HTTPStatus.FORBIDDEN: "The token does not allow this: ask for the scope or the path, or choose another --path.",
    HTTPStatus.NOT_FOUND: "Check the id and --url; what belongs to another namespace is not found either.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "Send an image, video, sound or document whose name fits its content.",
    HTTPStatus.TOO_MANY_REQUESTS: "Wait a little and try again.",
}


class ServerError(Exception):
    """The server cannot be reached or did not do what was asked.

    title, detail and advice are sentences to show; `problem` is the server's own RFC 9457 object, empty when it gave
    none; `status` is that of HTTP, None without an answer; `transient` says that asking again may help, after
    `pause` seconds if the server named a time.
    """

    def __init__(
        self,
        title: str,
        detail: str = "",
        advice: str = "",
        *,
        problem: Json | None = None,
        status: int | None = None,
        transient: bool = False,
        pause: int | None = None,
    ) -> None:
        super().__init__(" ".join(part for part in (title, detail, advice) if part))
        self.title, self.detail, self.advice = title, detail, advice
        self.problem = problem or {}
        self.status, self.transient, self.pause = status, transient, pause


class Client:
    """A connection to one server. Every method raises ServerError."""

    def __init__(self, target: Target) -> None:
        headers = {"Authorization": f"Bearer {target.token}"} if target.token else {}
        self._url = target.url
        self._api = httpx2.Client(base_url=target.url, headers=headers, timeout=TIMEOUT)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._api.close()

    def upload(self, name: str, body: BinaryIO, fields: Mapping[str, str]) -> Json:
        """Send a file, read in pieces as it goes out, and return the new asset."""
        # A name that is no valid Unicode is still a file; the server only shows the name.
        readable = name.encode("utf-8", "replace").decode("utf-8")
        return self._asset("POST", "/api/media/upload/", data=fields, files={"file": (readable, body)})

    def upload_once(self, name: str, body: BinaryIO, fields: Mapping[str, str], key: str) -> tuple[Json, bool]:
        """Send a file under an idempotency key; return its asset, and whether the server had it already."""
        answer = self._answer(
            "POST",
            "/api/media/upload/",
            data=fields,
            files={"file": (name.encode("utf-8", "replace").decode("utf-8"), body)},
            headers={"Idempotency-Key": f'"{key}"'},
        )
        return self._checked(_json(answer)), answer.headers.get("Idempotency-Replayed") == "true"

    def get(self, asset: str) -> Json:
        """Return an asset by its id."""
        # An id is one segment of a path whatever it holds.
        return self._asset("GET", f"/api/media/{quote(asset, safe='')}/")

    def reprocess(self, asset: str, renditions: Sequence[str] = ()) -> Json:
        """Have an asset made once more, all of it or the renditions of these names; return it as it is then."""
        wanted = {"renditions": ",".join(renditions)} if renditions else {}
        return self._asset("POST", f"/api/media/{quote(asset, safe='')}/reprocess/", params=wanted)

    def page(self, number: int, size: int) -> Json:
        """Return one page, from 1: {count, next, previous, results}, newest first."""
        body = self._ask("GET", "/api/media/", params={"page": number, "page_size": size})
        if not isinstance(body.get("results"), list):
            raise self._foreign()
        return body

    def check_whatsapp(self, account: str) -> Json:
        """Return what the server finds out about a WhatsApp account: {account, ok, checks}."""
        body = self._ask("GET", f"/api/whatsapp/{quote(account, safe='')}/check/")
        if not isinstance(body.get("checks"), list):
            raise self._foreign()
        return body

    def _asset(self, method: str, path: str, **request: Any) -> Json:
        return self._checked(self._ask(method, path, **request))

    def _checked(self, body: Json) -> Json:
        if "id" not in body or "status" not in body:
            raise self._foreign()
        return body

    def _ask(self, method: str, path: str, **request: Any) -> Json:
        body = _json(self._answer(method, path, **request))
        if not body:
            raise self._foreign()
        return body

    def _answer(self, method: str, path: str, **request: Any) -> httpx2.Response:
        try:
            answer = self._api.request(method, path, **request)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise self._broken(error) from error
        except OSError as error:
            # The network's errors are httpx2's own, so this is the file's.
            raise ServerError(f"The file cannot be read: {error.strerror}.") from error  # noqa: EM102, TRY003 - a title
        if not answer.is_success:
            raise self._refusal(answer)
        return answer

    def _broken(self, error: Exception) -> ServerError:
        detail = f"{str(error) or type(error).__name__}."
        if isinstance(error, httpx2.TimeoutException):
            return ServerError(f"{self._url} does not answer in time.", detail, "Try again later.", transient=True)
        if isinstance(error, httpx2.ConnectError):
            advice = "Start a server with `media standalone`, or name one with --url or MEDIA_URL."
            return ServerError(f"Cannot reach {self._url}.", detail, advice, transient=True)
        return ServerError(f"The connection to {self._url} broke.", detail, "Try again.", transient=True)

    def _refusal(self, answer: httpx2.Response) -> ServerError:
        status = answer.status_code
        problem = _json(answer)
        if answer.is_redirect:
            where = answer.headers.get("Location", "elsewhere")
            return ServerError(f"{self._url} points to {where}.", "", "Name the server itself with --url.")
        advice = ADVICE.get(status, "")
        if answer.is_server_error:
            advice = "Try again later; the server's log says more."
        wait = answer.headers.get("Retry-After", "")
        if wait.isdecimal():
            advice = f"Try again in {wait} s."
        return ServerError(
            f"{problem.get('title') or answer.reason_phrase or 'Refused'} ({status})",
            str(problem.get("detail") or ""),
            advice,
            problem=problem,
            status=status,
            # 409 with a key: another request with the same one has not ended yet.
            transient=answer.is_server_error
            or status == HTTPStatus.TOO_MANY_REQUESTS
            or str(problem.get("type", "")).endswith(":in-progress"),
            pause=int(wait) if wait.isdecimal() else None,
        )

    def _foreign(self) -> ServerError:
        return ServerError(
            f"{self._url} answered with something else than media-operator's JSON.", "", "Check --url or MEDIA_URL."
        )


def _json(answer: httpx2.Response) -> Json:
    """Return the JSON object of an answer, empty when there is none."""
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
