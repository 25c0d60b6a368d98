"""A stand-in for Meta's Graph API, as far as media and messages go.

https://developers.facebook.com/documentation/business-messaging/whatsapp/

Real HTTP; in a test, or on its own: `python graph.py --bind 0.0.0.0 --token TOKEN --media ID=FILE …` says where it is.
"""

import argparse
import base64
import hashlib
import hmac
import json
import mimetypes
import secrets
import ssl
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

VERSION = "v24.0"
#: How long the link of a lookup works, in seconds.
LINK_SECONDS = 300.0
_ATTACHMENTS = "/whatsapp_business/attachments/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """What somebody sent, and how Graph speaks of it: `answer` replaces single fields of the lookup."""

    content: bytes
    mime_type: str = "application/octet-stream"
    answer: dict[str, Any] = field(default_factory=dict)

    @property
    def hex(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def base64(self) -> str:
        return base64.b64encode(hashlib.sha256(self.content).digest()).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """An answer that is given instead of the right one; an error of Graph where there is a code, in its own form."""

    status: int
    code: int | None = None
    subcode: int | None = None
    message: str = "It failed."
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, Any]:
        if self.code is None:
            return {}
        error = {"message": self.message, "type": "OAuthException", "code": self.code, "fbtrace_id": "AbCdEf"}
        return {"error": error | ({"error_subcode": self.subcode} if self.subcode else {})}


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploaded:
    """A file that was handed over for sending."""

    number: str
    mime_type: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request: `step` is lookup, download, upload, message or read, token is what it carried."""

    step: str
    path: str
    token: str | None


class Graph(ThreadingHTTPServer):
    """Media by their ids, who may fetch them, what goes wrong next, and what was asked."""

    def __init__(
        self, bind: str = "127.0.0.1", port: int = 0, *, name: str | None = None, certificate: Path | None = None
    ) -> None:
        """Listen; name is the host in the links, by default the bound address. A certificate, with its key, is TLS."""
        super().__init__((bind, port), _Handler)
        self.scheme = "http"
        if certificate is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)
            self.scheme = "https"
        self.name = name or bind
        self.tokens: set[str] = set()
        self.media: dict[str, Media] = {}
        #: Taken from the front, one for each request of the step, until there are none.
        self.faults: dict[str, list[Fault]] = {step: [] for step in ("lookup", "download", "upload", "message", "read")}
        #: Phone numbers by their ids, the apps that get the webhooks of a business account, the secret of the app.
        self.numbers: dict[str, str] = {}
        self.businesses: dict[str, list[str]] = {}
        self.app_secret: str | None = None
        #: What was handed over for sending, by id, and the messages that went out.
        self.uploaded: dict[str, Uploaded] = {}
        self.sent: list[dict[str, Any]] = []
        self.link_seconds = LINK_SECONDS
        #: Where the next links lead instead of here; empty for nowhere else.
        self.links: list[str] = []
        self.asked: list[Asked] = []
        self.given: dict[str, tuple[Media, float]] = {}

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.name}:{self.server_port}"

    @property
    def url(self) -> str:
        """The base that MEDIA_GRAPH_URL names."""
        return f"{self.origin}/{VERSION}"

    def steps(self) -> list[str]:
        """Return the steps that were asked for, in order."""
        return [asked.step for asked in self.asked]

    def link(self, media: Media) -> str:
        """Make a link that works for a while."""
        key = secrets.token_urlsafe(16)
        self.given[key] = media, time.monotonic() + self.link_seconds
        return f"{self.origin}{_ATTACHMENTS}?mid={key}&ext=1&hash=AbC"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Graph

    def do_GET(self) -> None:
        path = urlsplit(self.path)
        name = path.path.removeprefix(f"/{VERSION}/")
        is_read = name == "me" or name in self.server.numbers or name.endswith("/subscribed_apps")
        step = "download" if path.path == _ATTACHMENTS else "read" if is_read else "lookup"
        if not self._admits(step):
            return
        if step == "lookup":
            self._look_up(path.path)
        elif step == "read":
            self._read(name, parse_qs(path.query))
        else:
            self._download(parse_qs(path.query)["mid"][0])

    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"])
        body = self.rfile.read(size)
        if len(body) < size:
            # The sender broke off.
            self.close_connection = True
            return
        version, _, name = urlsplit(self.path).path.removeprefix("/").partition("/")
        number, _, step = name.partition("/")
        step = {"media": "upload", "messages": "message"}[step]
        if not self._admits(step):
            return
        if version != VERSION or number not in self.server.numbers:
            self._fail(Fault(status=400, code=100, subcode=33, message="Unsupported post request."))
        elif step == "upload":
            self._take(number, body)
        else:
            self._send(number, json.loads(body))

    def _admits(self, step: str) -> bool:
        scheme, _, token = (self.headers["Authorization"] or "").partition(" ")
        self.server.asked.append(Asked(step=step, path=self.path, token=token if scheme == "Bearer" else None))
        if self.server.faults[step]:
            self._fail(self.server.faults[step].pop(0))
        elif token not in self.server.tokens:
            # Who has no token is told nothing else.
            self._fail(Fault(status=401, code=190, message="Invalid OAuth access token - Cannot parse access token"))
        else:
            return True
        return False

    def _read(self, name: str, query: dict[str, list[str]]) -> None:
        token, secret = self.headers["Authorization"].partition(" ")[2], self.server.app_secret
        proof = query.get("appsecret_proof")
        if proof and secret and proof != [hmac.new(secret.encode(), token.encode(), hashlib.sha256).hexdigest()]:
            self._fail(Fault(status=400, code=100, message="Invalid appsecret_proof provided in the API argument"))
            return
        number = {"id": name, "display_phone_number": self.server.numbers.get(name), "verified_name": "Shop"}
        answer: dict[str, Any] = {"id": "7", "name": "media"} if name == "me" else number
        if name.endswith("/subscribed_apps"):
            apps = self.server.businesses.get(name.partition("/")[0])
            if apps is None:
                self._fail(Fault(status=400, code=100, subcode=33, message="Unsupported get request."))
                return
            answer = {"data": [{"whatsapp_business_api_data": {"name": app, "id": "1"}} for app in apps]}
        self._answer(200, json.dumps(answer).encode(), "application/json")

    def _take(self, number: str, body: bytes) -> None:
        # The parser of e-mail knows multipart, and none of our own code.
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        form = BytesParser(policy=HTTP).parsebytes(head + body)
        parts = {part.get_param("name", header="Content-Disposition"): part for part in form.iter_parts()}
        fields = {name: part.get_payload(decode=True) for name, part in parts.items()}
        file = parts["file"]
        if fields["messaging_product"] != b"whatsapp" or fields["type"] != file.get_content_type().encode():
            self._fail(Fault(status=400, code=100, message="(#100) Invalid parameter"))
            return
        key = str(10**15 + len(self.server.uploaded))
        content = fields["file"]
        assert isinstance(content, bytes)
        self.server.uploaded[key] = Uploaded(number=number, mime_type=file.get_content_type(), content=content)
        self._answer(200, json.dumps({"id": key}).encode(), "application/json")

    def _send(self, number: str, message: dict[str, Any]) -> None:
        kind = message["type"]
        said = message
        if kind == "template":
            # Meta looks at the header that was approved; here whatever media are in it count.
            ((said,),) = [
                component["parameters"]
                for component in message["template"]["components"]
                if component["type"] == "header"
            ]
            kind = said["type"]
        media = self.server.uploaded.get(said[kind]["id"])
        if message["messaging_product"] != "whatsapp" or media is None or media.number != number:
            words = f"(#100) Param {kind}['id'] is not a valid whatsapp business account media attachment ID"
            self._fail(Fault(status=400, code=100, message=words))
            return
        if (kind == "sticker") != (media.mime_type == "image/webp"):
            self._fail(Fault(status=400, code=131053, message="Media upload error"))
            return
        self.server.sent.append(message)
        answer = {
            "messaging_product": "whatsapp",
            "contacts": [{"input": message["to"], "wa_id": message["to"].lstrip("+")}],
            "messages": [{"id": f"wamid.sent{len(self.server.sent)}"}],
        }
        self._answer(200, json.dumps(answer).encode(), "application/json")

    def _look_up(self, path: str) -> None:
        version, _, name = path.removeprefix("/").partition("/")
        media = self.server.media.get(name)
        if media is None or version != VERSION:
            words = (
                f"Unsupported get request. Object with ID '{name}' does not exist, cannot be loaded due to missing"
                " permissions, or does not support this operation. Please read the Graph API documentation at"
                " https://developers.facebook.com/docs/graph-api"
            )
            self._fail(Fault(status=400, code=100, subcode=33, message=words))
            return
        answer = {
            "messaging_product": "whatsapp",
            "url": self.server.links.pop(0) if self.server.links else self.server.link(media),
            "mime_type": media.mime_type,
            "sha256": media.hex,
            "file_size": len(media.content),
            "id": name,
        }
        body = {key: value for key, value in (answer | media.answer).items() if value is not None}
        self._answer(200, json.dumps(body).encode(), "application/json")

    def _download(self, key: str) -> None:
        media, expires = self.server.given.get(key, (None, 0.0))
        if media is None or time.monotonic() >= expires:
            self._fail(Fault(status=404))
        else:
            self._answer(200, media.content, media.mime_type)

    def _fail(self, fault: Fault) -> None:
        self._answer(fault.status, json.dumps(fault.body).encode(), "application/json", **fault.headers)

    def _answer(self, status: int, body: bytes, mime_type: str, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": mime_type, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving(bind: str = "127.0.0.1", *, name: str | None = None, certificate: Path | None = None) -> Iterator[Graph]:
    """Run one on a free port."""
    with Graph(bind, name=name, certificate=certificate) as graph:
        thread = threading.Thread(target=graph.serve_forever)
        thread.start()
        try:
            yield graph
        finally:
            graph.shutdown()
            thread.join()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bind", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--name", help="the host in the links, where it is not the bound address")
    parser.add_argument("--token", action="append", default=[])
    parser.add_argument("--media", action="append", default=[], metavar="ID=FILE")
    given = parser.parse_args(arguments)
    with Graph(given.bind, given.port, name=given.name) as graph:
        graph.tokens.update(given.token)
        for each in given.media:
            name, _, path = each.partition("=")
            guessed = mimetypes.guess_type(path)[0] or "application/octet-stream"
            graph.media[name] = Media(content=Path(path).read_bytes(), mime_type=guessed)
        sys.stdout.write(f"Serving {graph.url}\n")
        sys.stdout.flush()
        graph.serve_forever()


if __name__ == "__main__":
    main()
