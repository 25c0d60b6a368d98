"""The way to the API server that the adapters share: JSON in, JSON out, and what its errors mean.

Only the core of the client is used (configuration, credentials, TLS, requests). Its generated classes would cost each
start two seconds and 130 MB, to turn the JSON that we send and read into objects and back.
"""

import asyncio
import os
import re
import secrets
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

import yaml
from aiohttp import ClientError, ClientTimeout, StreamReader
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config
from pydantic_core import from_json

Json = dict[str, Any]
#: Told of each request: its verb, as RBAC calls it, the resource with its subresource, the HTTP status or 0 for none.
OnRequest = Callable[[str, str, int], None]

#: How long a request may take before it counts as lost, and how long to wait for a connection; seconds.
REQUEST_TIMEOUT = ClientTimeout(total=30, sock_connect=5)
#: How many items one page of a list holds. kubectl takes 500, which are 17 MiB of memory while assets are read.
PAGE_SIZE = 100

#: What the API server takes for the message of an Event, in bytes.
_MAX_EVENT_MESSAGE = 1024

#: The resource, the name and the subresource in a path.
_PATH = re.compile(r"/(?:api|apis/[^/]+)/[^/]+(?:/namespaces/[^/]+(?=/))?(?:/([^/]+)(/[^/]+)?(/[^/]+)?)?")

_MERGE_PATCH = "application/merge-patch+json"
_JSON_PATCH = "application/json-patch+json"


class KubeError(Exception):
    """The API server refused a request, with this HTTP status and `Status.reason`, or sent no JSON object."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        """Take what the answer says; the text is meant for people."""
        super().__init__(f"{status} {reason}: {message}" if message else f"{status} {reason}")
        self.status = status
        self.reason = reason


@contextmanager
def meaning(reason: str, error: Exception) -> Iterator[None]:
    """Raise `error` where the API server refuses for this reason."""
    try:
        yield
    except KubeError as cause:
        if cause.reason != reason:
            raise
        raise error from cause


@contextmanager
def translated(error: type[Exception], *passing: type[Exception]) -> Iterator[None]:
    """Raise what goes wrong on the way to the API server as the error of a port.

    What a caller can decide on (`AlreadyExists`, `Conflict`, `NotFound`) is his to catch inside; what is in `passing`
    goes through.
    """
    try:
        yield
    except passing:
        raise
    except (KubeError, ApiException, ClientError, OSError) as cause:
        # TimeoutError is an OSError.
        text = str(cause) or type(cause).__name__
        message = f"the API server: {text}"
        raise error(message) from cause


def resource(group_version: str, plural: str, *, namespace: str = "", name: str = "", sub: str = "") -> str:
    """Return the path of a resource or of all of its kind; group_version is `v1` or like `batch/v1`."""
    root = f"/apis/{group_version}" if "/" in group_version else f"/api/{group_version}"
    scope = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    parts = [root + scope, plural, *([quote(name, safe="")] if name else []), *([sub] if sub else [])]
    return "/".join(parts)


def event_of(regarding: Json, reason: str, message: str, *, warning: bool, component: str) -> Json:
    """Return an Event, of now, about the object that `regarding` refers to; a message that is too long is cut."""
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "namespace": regarding["namespace"],
            "name": f"{regarding['name'][:200]}.{secrets.token_hex(8)}",
        },
        "involvedObject": regarding,
        "type": "Warning" if warning else "Normal",
        "reason": reason,
        "message": message.encode()[:_MAX_EVENT_MESSAGE].decode(errors="ignore"),
        "source": {"component": component},
        "reportingComponent": component,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }


def merge_patch(old: object, new: object) -> object:
    """Return the JSON merge patch (RFC 7386) that makes the old value the new one; None for what is to go."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    return {**dict.fromkeys(old), **{member: merge_patch(old.get(member), value) for member, value in new.items()}}


class Api:
    """Requests to one API server. Raises KubeError, and what aiohttp raises when there is no answer: see translated."""

    def __init__(self, client: ApiClient, on_request: OnRequest = lambda *_: None) -> None:
        """Take the client, which closes with this, and who is told of each request."""
        self._client = client
        self._on_request = on_request

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
        # Their transports end in the next turn of the loop, which may be its last.
        await asyncio.sleep(0)

    async def call(
        self, method: str, path: str, body: Json | list[Json] | None = None, query: Mapping[str, str] | None = None
    ) -> Json:
        """Send one request; a PATCH is a merge patch when its body is an object, a JSON patch when it is a list."""
        response = await self._send(method, path, body, query or {}, REQUEST_TIMEOUT)
        async with response.response:
            return _decoded(response.status, await response.read())

    async def pages(self, path: str, query: Mapping[str, str] | None = None) -> AsyncGenerator[Json, None]:
        """Yield a list of any length page by page, all of one moment; KubeError 410 when that is too long ago."""
        asked = {"limit": str(PAGE_SIZE), **(query or {})}
        while True:
            page = await self.call("GET", path, query=asked)
            yield page
            if not (token := page["metadata"].get("continue")):
                return
            asked["continue"] = token

    @asynccontextmanager
    async def watch(
        self,
        path: str,
        version: str,
        *,
        seconds: int,
        grace: float = 10,
        selectors: Mapping[str, str] = MappingProxyType({}),
    ) -> AsyncGenerator[AsyncGenerator[Json, None], None]:
        """Open a watch of what happens after this version, which the server ends after so many seconds.

        Gives the events {type, object}; one of the type ERROR is raised as KubeError. A connection on which nothing
        arrives any more, not even the end, raises TimeoutError `grace` seconds after that should have come.
        """
        query = {
            **selectors,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
        }
        limit = ClientTimeout(total=seconds + grace, sock_connect=REQUEST_TIMEOUT.sock_connect)
        response = await self._send("GET", path, None, query, limit)
        async with response.response as stream:
            if response.status >= HTTPStatus.BAD_REQUEST:
                _decoded(response.status, await response.read())
            try:
                yield _events(stream.content)
            finally:
                # Whoever leaves before the end would wait for the server to say goodbye too, and `close` knows of
                # no connection that is given up.
                if stream.connection is not None and stream.connection.transport is not None:
                    stream.connection.transport.abort()

    async def _send(
        self, method: str, path: str, body: Json | list[Json] | None, query: Mapping[str, str], limit: ClientTimeout
    ) -> Any:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if method == "PATCH":
            headers["Content-Type"] = _JSON_PATCH if isinstance(body, list) else _MERGE_PATCH
        parameters = await self._client.param_serialize(
            method,
            path,
            query_params=list(query.items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        status = 0
        try:
            response = await self._client.call_api(*parameters, _request_timeout=limit)
            status = response.status
        finally:
            self._on_request(*_asked(method, path, query), status)
        return response


def server_in_cluster() -> str | None:
    """Return the URL of the API server of the cluster that this process is in; None if it is in none, or not to care.

    Raises ConfigException when what a pod is given for it is not there.
    """
    if "KUBECONFIG" in os.environ or "KUBERNETES_SERVICE_HOST" not in os.environ:
        return None
    configuration = Configuration()
    load_incluster_config(configuration, try_refresh_token=False)
    return str(configuration.host)


async def connect(on_request: OnRequest = lambda *_: None) -> Api:
    """Open the API of the cluster that this process is in, or of $KUBECONFIG, or of ~/.kube/config.

    Raises OSError, with a text for people, when none of them is there or sound. Nothing is sent yet.
    """
    configuration = Configuration()
    kubeconfig = os.environ.get("KUBECONFIG")
    try:
        if server_in_cluster():
            # Reads the token anew each minute, as the kubelet replaces it before it expires.
            load_incluster_config(configuration)
        else:
            await load_kube_config(
                config_file=kubeconfig or str(Path.home() / ".kube" / "config"), client_configuration=configuration
            )
        # Since 3.13 Python refuses the certificates of clusters whose own CA leaves out RFC 5280's key identifiers.
        # Chain, name and time are still verified, which is what every other client of the API server does.
        configuration.disable_strict_ssl_verification = True
        # Else ~/.netrc, which knows nothing of this server, is looked for and read in a thread with each request.
        configuration.client_session_kwargs = {"trust_env": _needs_proxy(str(configuration.host))}
        client = ApiClient(configuration)
    except (ConfigException, OSError, ValueError, yaml.YAMLError) as error:
        message = f"no Kubernetes API server is configured: {error}"
        raise OSError(message) from error
    # The server keeps it with each field that we set.
    client.user_agent = "media-operator"
    return Api(client, on_request)


def _needs_proxy(server: str) -> bool:
    """Tell whether the environment names a proxy on the way to a server."""
    url = urlsplit(server)
    return url.scheme in getproxies() and not proxy_bypass(url.hostname or "")


def _asked(method: str, path: str, query: Mapping[str, str]) -> tuple[str, str]:
    """Return the verb and the resource of a request, which say nothing of whom it is about."""
    match = _PATH.fullmatch(path)
    plural, name, sub = match.groups(default="") if match else ("", "", "")
    if method == "GET":
        return ("watch" if "watch" in query else "get" if name else "list"), plural + sub
    return {"POST": "create", "PUT": "update"}.get(method, method.lower()), plural + sub


async def _events(lines: StreamReader) -> AsyncGenerator[Json, None]:
    # The last line of a stream that was cut off is no event.
    while (line := await lines.readline()).endswith(b"\n"):
        event = _decoded(HTTPStatus.OK, line)
        if event["type"] == "ERROR":
            raise _error(0, event["object"])
        yield event


def _decoded(status: int, raw: bytes) -> Json:
    try:
        # Twice as fast as `json`, which took a seventh of an operator's time.
        body = from_json(raw)
    except ValueError:
        body = None
    if status >= HTTPStatus.BAD_REQUEST:
        raise _error(status, body if isinstance(body, dict) else {})
    if not isinstance(body, dict):
        raise KubeError(status, "InvalidAnswer", "the answer is no JSON object")
    return body


def _error(status: int, body: Json) -> KubeError:
    return KubeError(body.get("code") or status, body.get("reason") or "Unknown", body.get("message") or "")
