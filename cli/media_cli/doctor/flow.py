"""The way of media through the whole: the API, the route to the gateway, what is served, one upload."""

import asyncio
import struct
import zlib
from http import HTTPStatus
from typing import Any
from urllib.parse import urljoin

import httpx2

from media_cli.doctor import web
from media_cli.doctor.registry import Finding, Findings, Severity, error, ok, skipped, warning
from media_cli.doctor.site import Site, UnknownError, not_known
from media_cli.doctor.store import asked, listed, listing
from media_cli.doctor.store import client as store_client
from mediaasset import keys
from mediaasset.media import served_mime

#: How many media are fetched to see whether they are served, and how many at once.
SAMPLES, TOGETHER = 12, 4
#: Seconds that a picture of a few bytes may take, with a pod to be scheduled for it and its image pulled.
UPLOAD_SECONDS = 120
#: The side of that picture in pixels.
_SIDE = 64

_SHAPE = "media/doctor/00000000-0000-4000-8000-000000000000/probe-0000000000000000.jpg"


async def urls(site: Site) -> Findings:
    """Fetch the given URLs."""
    if not site.urls:
        not_known("No URL was given: --url https://….")
    async with web.client() as http:
        return [finding for url in site.urls for finding in await web.look(http, url)]


async def server(site: Site) -> Findings:
    """Ask the API who it is, whether it is ready, and whether it knows the token."""
    if site.server is None:
        site.lacks("server", "No server is known: give --server.")
    url = site.server.url
    async with web.client() as http:
        try:
            described = await http.get(f"{url}/api/openapi.json")
            if not _is_ours(described):
                return [_foreign(url, described)]
            found = [await _ready(http, url)]
            headers = {"Authorization": f"Bearer {site.server.token}"} if site.server.token else {}
            answer = await http.get(f"{url}/api/media/?page_size=1", headers=headers)
        except (httpx2.HTTPError, OSError) as problem:
            cause = "It does not run, listens elsewhere, or a firewall is in between."
            cure = "Start it (`media standalone`, or see the check pods), or name it by --server."
            return [error("unreachable", url, f"No answer: {str(problem) or type(problem).__name__}", cause, cure)]
    return [*(each for each in found if each), _token(url, site.server.token, answer.status_code)]


def _is_ours(answer: httpx2.Response) -> bool:
    try:
        return "/api/media/upload/" in answer.json().get("paths", {})
    except (ValueError, AttributeError):
        return False


def _foreign(url: str, answer: httpx2.Response) -> Finding:
    kind = answer.headers.get("Content-Type", "nothing")
    cause = "/api/ leads to another backend, or an authentication stands before it."
    cure = "Lead /api/ and /webhooks/ to the Service of ingest; API calls authenticate by their token."
    return error("route-api", url, f"/api/openapi.json answers {answer.status_code} with {kind}.", cause, cure)


async def _ready(http: httpx2.AsyncClient, url: str) -> Finding | None:
    answer = await http.get(f"{url}/readyz")
    if answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE and "assets" in answer.text:
        cause = "Ingest cannot reach the API server of the cluster, or the store."
        detail = answer.json().get("detail", "It is not ready.")
        return error("not-ready", url, detail, cause, "See the findings of api and store, and the log of ingest.")
    # An Ingress leads /api/ only.
    return ok(url, "It is ready.") if answer.status_code == HTTPStatus.OK else None


def _token(url: str, token: str | None, status: int) -> Finding:
    if status == HTTPStatus.OK:
        return ok(url, "It knows the token.")
    if status == HTTPStatus.UNAUTHORIZED:
        if token is None:
            return skipped(url, "No token was given: MEDIA_TOKEN or --token-file.")
        cause = "The token is not in tokens.yaml, was withdrawn, or has a line break at its end."
        return error("token", url, "It does not know the token (401).", cause, "Add its SHA-256: docs/install.md.")
    if status == HTTPStatus.FORBIDDEN:
        cause = "It lacks the scope `read`."
        return warning("token", url, "The token may not list (403).", cause, "Add the scope, or use another token.")
    cause = "The API server or the store is gone for ingest."
    return error("server-error", url, f"A list answers {status}.", cause, "Look at the log of ingest.")


async def route(site: Site) -> Findings:
    """See whether `media/` below publicBaseURL leads to the gateway."""
    if not site.public_url:
        site.lacks("public_url", "publicBaseURL is not known: give --public-url.")
    url = f"{site.public_url.rstrip('/')}/{_SHAPE}"
    async with web.client() as http:
        try:
            answer = await http.get(url)
        except (httpx2.HTTPError, OSError) as problem:
            cause = "The Ingress or Gateway is down, or the name leads elsewhere."
            return [error("unreachable", url, f"No answer: {problem}", cause, "See the findings of dns and tls.")]
    if answer.is_redirect:
        text = f"It redirects to {answer.headers.get('Location')}."
        cause = "Another scheme or host is in front, or an authentication."
        return [error("login", url, text, cause, "Take /media/ out of it, and set publicBaseURL to where it ends.")]
    if answer.status_code == HTTPStatus.NOT_FOUND and "problem+json" in answer.headers.get("Content-Type", ""):
        return [ok(url, "A file that does not exist is 404, by the gateway.")]
    text = f"What does not exist answers {answer.status_code} with {answer.headers.get('Content-Type', 'no type')}."
    if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        cause = "The gateway runs and cannot reach the store, or does not run."
        return [error("gateway", url, text, cause, "See the checks pods and store, and the log of the gateway.")]
    cause = "/media/ leads to another backend than the gateway: the host has no such path, or a rule before it wins."
    return [error("route-media", url, text, cause, "Lead /media/ to the Service of the gateway.")]


async def media(site: Site) -> Findings:
    """Fetch some media that exist, by their public URLs."""
    known, empty = await _from_store(site)
    known = known or await _from_api(site)
    if not known and not empty:
        not_known("There are no public media yet.")
    turn = asyncio.Semaphore(TOGETHER)

    async def one(http: httpx2.AsyncClient, url: str, size: int | None) -> Findings:
        async with turn:
            return await web.look(http, url, expected=size, is_given=False)

    async with web.client() as http:
        looked = await asyncio.gather(*(one(http, url, size) for url, size in known))
    # One that is large is meant to be: `original` is no rendition for a channel.
    bad = [each for found in looked for each in found if each.severity is not Severity.OK and each.fault != "too-large"]
    return [*empty, *bad] or [ok("public media", f"{len(known)} URLs answer with their files.")]


async def _from_store(site: Site) -> tuple[list[tuple[str, int | None]], Findings]:
    """Return URLs and sizes of the latest public objects, and findings about those that are empty themselves."""
    try:
        environment = listing(site)
        s3 = await asked(lambda: store_client(environment))
        bucket, prefix = keys.place(environment["MEDIA_STORE_URL"])
        found = await listed(s3, bucket, f"{prefix}{keys.PUBLIC}/")
    except UnknownError:
        return [], []
    ours = [each for each in found if served_mime(each["Key"])]
    latest = sorted(ours, key=lambda each: each["LastModified"], reverse=True)
    cause = "What wrote it broke off in a way that the store took for an end, or it was replaced by hand."
    empty = [
        error("empty-object", f"s3://{bucket}/{each['Key']}", "It has 0 bytes.", cause, "Reprocess the asset.")
        for each in latest
        if not each["Size"]
    ]
    if not site.public_url:
        return [], empty
    base = site.public_url.rstrip("/")
    full = [each for each in latest if each["Size"]][:SAMPLES]
    return [(f"{base}/{each['Key'].removeprefix(prefix)}", each["Size"]) for each in full], empty


async def _from_api(site: Site) -> list[tuple[str, int | None]]:
    if site.server is None or site.server.token is None:
        return []
    headers = {"Authorization": f"Bearer {site.server.token}"}
    query = "status=ready&is_public=true&page_size=6"
    async with web.client() as http:
        try:
            answer = await http.get(f"{site.server.url}/api/media/?{query}", headers=headers)
            results = answer.json()["results"] if answer.status_code == HTTPStatus.OK else []
        except (httpx2.HTTPError, OSError, ValueError, KeyError):
            return []
    made = [each for asset in results for each in asset.get("renditions", ()) if each.get("url")]
    # A directory (HLS) is as large as all its files; only its index is fetched.
    return [(each["url"], None if each["url"].endswith(".m3u8") else each.get("file_size")) for each in made][:SAMPLES]


async def upload(site: Site) -> Findings:
    """Upload a picture, wait for it, fetch each of its URLs, and delete it."""
    if not site.upload:
        not_known("Not asked for: --upload.")
    if site.server is None or site.server.token is None:
        not_known("An upload needs a server and a token.")
    headers = {"Authorization": f"Bearer {site.server.token}"}
    began = asyncio.get_running_loop().time()
    async with httpx2.AsyncClient(base_url=site.server.url, headers=headers, timeout=60) as api, web.client() as http:
        try:
            answer = await api.post("/api/media/upload/", files={"file": ("media-doctor.png", picture(), "image/png")})
            if answer.status_code != HTTPStatus.CREATED:
                return [_not_taken(site.server.url, answer)]
            asset = answer.json()["id"]
            try:
                return await _followed(api, http, asset, began)
            finally:
                await api.delete(f"/api/media/{asset}/")
        except (httpx2.HTTPError, OSError) as problem:
            cause = "The connection broke off: a limit of time or size on the way, or the server ended."
            text = str(problem) or type(problem).__name__
            return [error("unreachable", site.server.url, text, cause, "Look at the Ingress' limits and ingest's log.")]


def _not_taken(url: str, answer: httpx2.Response) -> Finding:
    try:
        detail = str(answer.json().get("detail", ""))
    except (ValueError, AttributeError):
        detail = answer.text[:200]
    if answer.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        cause = "The Ingress limits the size of bodies."
        return error("upload", url, "A picture of a few bytes is too large (413).", cause, "Lift it: docs/install.md.")
    text = f"An upload answers {answer.status_code}: {detail}"
    return error("upload", url, text, "The detail says it.", "See the table of problems in docs/api/http.md.")


async def _followed(api: httpx2.AsyncClient, http: httpx2.AsyncClient, asset: str, began: float) -> Findings:
    loop = asyncio.get_running_loop()
    body: dict[str, Any] = {}
    while loop.time() - began < UPLOAD_SECONDS:
        body = (await api.get(f"/api/media/{asset}/")).json()
        if body.get("status") in ("ready", "failed"):
            break
        await asyncio.sleep(0.5)
    if body.get("status") == "failed":
        reason = body.get("error") or {}
        text = f"The picture failed: {reason.get('reason')}: {reason.get('message')}"
        return [error("transcode", asset, text, "The reason says it.", "See docs/operations/failures.md.")]
    if body.get("status") != "ready":
        text = f"The picture is not ready after {UPLOAD_SECONDS} s."
        cause = "The operator does not run, no node has room for the pod, its image cannot be pulled, or others wait."
        return [
            error("transcode", asset, text, cause, "kubectl describe mediaasset, and the Jobs of the work namespace.")
        ]
    seconds = loop.time() - began
    found: Findings = []
    for url in body["urls"].values():
        if url:
            looked = await web.look(http, urljoin(str(api.base_url), url), is_given=False)
            found += [each for each in looked if each.severity is not Severity.OK]
    return found or [ok(asset, f"Uploaded, ready and fetched after {seconds:.1f} s, and deleted again.")]


def picture() -> bytes:
    """Return a PNG of 64 x 64 pixels, a gradient (PNG specification, third edition)."""
    rows = b"".join(b"\0" + bytes(v for x in range(_SIDE) for v in (4 * x, 4 * y, 128)) for y in range(_SIDE))
    header = struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts
    )
