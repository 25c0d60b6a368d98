"""One public URL, fetched as a browser without history or a crawler does: no cookies, no referrer, no account."""

import re
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

import httpx2

from media_cli.doctor.network import trust
from media_cli.doctor.registry import Finding, Findings, error, ok, warning
from mediaasset.media import Kind, MediaType, by_file_name, by_mime, sniff

#: What channels take of an image: the profiles `meta-catalog` and `whatsapp` hold their renditions to it.
CHANNEL_BYTES = 8_000_000
_REDIRECTS = 5
_TIMEOUT = httpx2.Timeout(15)
#: Meta's crawler, which fetches the images of a catalogue.
_CRAWLER = "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)"
_LOGIN = re.compile(r"(?:^|[/._-])(?:log-?in|sign-?in|auth|oauth2?|sso|saml)(?:[/._?-]|$)", re.IGNORECASE)


@dataclass(slots=True)
class Answer:
    """What a URL answered: the last of its redirects, its body as far as it was read, and how much there was."""

    url: str
    status: int
    headers: httpx2.Headers
    head: bytes
    size: int
    hops: list[str] = field(default_factory=list)
    set_cookie: bool = False


class FetchError(Exception):
    """There is no answer; the text says why."""


def client() -> httpx2.AsyncClient:
    """Return a client that follows no redirect by itself."""
    return httpx2.AsyncClient(timeout=_TIMEOUT, verify=trust(), follow_redirects=False)


async def look(http: httpx2.AsyncClient, url: str, *, expected: int | None = None, is_given: bool = True) -> Findings:
    """Fetch a URL and judge the answer; `expected` is how many bytes the file has.

    A URL that is given as a public one must be https; one of this machine's own server need not.
    """
    plain = [] if not is_given or url.startswith("https:") else [await _http_only(http, url)]
    try:
        answer = await _fetch(http, url)
    except FetchError as problem:
        cause = "The server is down, its name or certificate is wrong, or a firewall is in between."
        return [
            *plain,
            error("unreachable", url, f"No answer: {problem}", cause, "See the findings of dns and tls for this host."),
        ]
    except _CookieError:
        return [*plain, _cookies(url, "It redirects to itself until a cookie is sent back.")]
    found = [*plain, *_redirected(url, answer)]
    if any(each.fault == "login" for each in found):
        return found
    if answer.status not in (200, 206):
        return [*found, await _refused(http, url, answer)]
    found += _judged(url, answer, expected)
    return found or [ok(url, f"{answer.headers.get('Content-Type')}, {answer.size} bytes, may be cached.")]


class _CookieError(Exception):
    """A redirect led back to where it came from, with a cookie."""


async def _fetch(http: httpx2.AsyncClient, url: str, **headers: str) -> Answer:
    hops: list[str] = []
    for _ in range(_REDIRECTS + 1):
        http.cookies.clear()
        try:
            async with http.stream("GET", url, headers={"Accept": "*/*", **headers}) as response:
                has_cookie = "Set-Cookie" in response.headers
                if response.is_redirect:
                    hops.append(url)
                    url = urljoin(url, response.headers["Location"])
                    if url in hops and has_cookie:
                        raise _CookieError
                    continue
                head, size = b"", 0
                async for chunk in response.aiter_bytes():
                    head += chunk[: 4096 - len(head)] if len(head) < 4096 else b""  # noqa: PLR2004 - what sniff wants
                    size += len(chunk)
                    # Enough to know that it is too large.
                    if size > 2 * CHANNEL_BYTES:
                        size = max(size, int(response.headers.get("Content-Length", 0)))
                        break
                return Answer(url, response.status_code, response.headers, head, size, hops, set_cookie=has_cookie)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as problem:
            raise FetchError(str(problem) or type(problem).__name__) from problem
    message = f"more than {_REDIRECTS} redirects"
    raise FetchError(message)


async def _http_only(http: httpx2.AsyncClient, url: str) -> Finding:
    secure = url.replace("http:", "https:", 1)
    cause = "The server has no TLS: pages on https may not load from it, and catalogues refuse it."
    cure = "Give the Ingress or the Gateway a certificate, and set publicBaseURL to https://…."
    try:
        if (await _fetch(http, secure)).status in (200, 206):
            cause = "TLS is there, but the URL was made without: publicBaseURL says http."
            cure = "Set publicBaseURL to https://…; the URLs of finished assets follow."
    except (FetchError, _CookieError):
        pass
    return error("http-only", url, "It is plain http.", cause, cure)


def _redirected(url: str, answer: Answer) -> Findings:
    if not answer.hops:
        return []
    target = urlsplit(answer.url)
    is_page = answer.headers.get("Content-Type", "").startswith("text/html")
    if _LOGIN.search(target.path) or _LOGIN.search(target.hostname or "") or is_page:
        return [
            error(
                "login",
                url,
                f"It redirects to {answer.url}.",
                "An authentication (proxy, Ingress annotation, Access of a CDN) stands before the media.",
                "Take /media/ out of it: public media are for those who have no account.",
            )
        ]
    return [
        warning(
            "redirect",
            url,
            f"It redirects to {answer.url}.",
            "The URL is not the one that media are served at: another host, scheme or path is in front.",
            "Set publicBaseURL to where it ends: crawlers and players may not follow.",
        )
    ]


async def _refused(http: httpx2.AsyncClient, url: str, answer: Answer) -> Finding:
    found = f"It answers {answer.status}."
    if answer.status in (404, 410):
        return error(
            "not-found",
            url,
            found,
            "The asset was deleted, expired or made private, the URL is cut, or the host does not lead to the gateway.",
            "Take the URL from the API anew; if that one is 404 too, see the check `route`.",
        )
    if answer.status in (401, 403):
        return await _forbidden(http, url, answer, found)
    if answer.status == 429:  # noqa: PLR2004 - Too Many Requests
        cause = "A limit of the gateway, the Ingress or the CDN is reached."
        return warning("limited", url, found, cause, "Raise gateway.limits, or see who asks so often.")
    cause = "The gateway or what is before it cannot reach the store."
    return error("server-error", url, found, cause, "Look at the log of the gateway, and at the findings of the store.")


async def _forbidden(http: httpx2.AsyncClient, url: str, answer: Answer, found: str) -> Finding:
    text = answer.head.decode("utf-8", "replace")
    if "has expired" in text or "ExpiredToken" in text or "problem:url-expired" in text:
        cause = "It is a signed URL of private media, and its time is over."
        return error("expired-url", url, found, cause, "Ask the API for a new one; never store such a URL.")
    if "problem:signature-invalid" in text:
        cause = "It is a URL of private media whose signature is missing, cut or changed, or whose secret was replaced."
        return error("unsigned-url", url, found, cause, "Ask the API for a new one; take all of it over as it is.")
    if answer.set_cookie and await _works(http, url, Cookie=_cookie(answer)):
        return _cookies(url, "It answers 403 until a cookie is sent back.")
    origin = f"{urlsplit(url).scheme}://{urlsplit(url).netloc}/"
    if await _works(http, url, Referer=origin):
        cause = "A protection against hot links asks for a referrer, which crawlers and mail programs do not send."
        return error("referrer", url, found, cause, "Turn it off for /media/.")
    if await _works(http, url, **{"User-Agent": _CRAWLER}) or await _works(http, url, **{"User-Agent": "Mozilla/5.0"}):
        cause = "A firewall judges by the User-Agent."
        return error("user-agent", url, found, cause, "Let every User-Agent read /media/.")
    return error(
        "forbidden",
        url,
        found,
        "The bucket lets nobody read media/* without an account, or a firewall refuses.",
        "Run `media bucket check`: its policy must be there, and public access blocks off, unless the gateway signs.",
    )


async def _works(http: httpx2.AsyncClient, url: str, **headers: str) -> bool:
    try:
        return (await _fetch(http, url, **headers)).status in (200, 206)
    except (FetchError, _CookieError):
        return False


def _cookie(answer: Answer) -> str:
    return "; ".join(each.partition(";")[0] for each in answer.headers.get_list("Set-Cookie"))


def _cookies(url: str, found: str) -> Finding:
    return error(
        "cookies",
        url,
        found,
        "A check for browsers (bot protection, stickiness, consent) stands before the media.",
        "Take /media/ out of it: crawlers keep no cookies.",
    )


def _judged(url: str, answer: Answer, expected: int | None) -> Findings:
    found: Findings = []
    if not answer.size:
        size = f", and the file has {expected}" if expected else ""
        found.append(
            error(
                "empty",
                url,
                f"It answers {answer.status} with 0 bytes{size}.",
                "Something on the way has kept an answer that broke off, or the object itself is empty.",
                "Purge the URL from the caches; if it stays empty, reprocess the asset.",
            )
        )
        return found
    if expected is not None and answer.size != expected:
        cause = "A cache keeps a part of the file, or something on the way changes it (compression, image optimisers)."
        text = f"It has {answer.size} bytes, and the file has {expected}."
        found.append(error("wrong-size", url, text, cause, "Purge it, and turn such changes off for /media/."))
    found += _typed(url, answer)
    content = by_mime(answer.headers.get("Content-Type", ""))
    if content and content.kind is Kind.IMAGE and answer.size > CHANNEL_BYTES:
        found.append(
            warning(
                "too-large",
                url,
                f"The image has {answer.size} bytes, more than {CHANNEL_BYTES}.",
                "It is a rendition that is not made for a channel, such as `original`.",
                "Hand out `large` or `medium`, or use the profile meta-catalog or whatsapp.",
            )
        )
    return found + _cached(url, answer)


def _typed(url: str, answer: Answer) -> Findings:
    said = answer.headers.get("Content-Type", "")
    content = sniff(answer.head, declared_text=said.startswith("text/plain"))
    declared, named = by_mime(said), by_file_name(urlsplit(answer.url).path)
    wanted = content or named
    if declared and not content:
        text = f"Content-Type is {said}, and the bytes are nothing of the kind."
        cause = "A page or an error message is answered under the type of the file, or the object is damaged."
        return [error("wrong-content", url, text, cause, "Look at what the URL gives; purge caches, or reprocess.")]
    if _fits(declared, wanted) if wanted else bool(said) and not said.startswith("text/html"):
        return []
    cause = "The object was written without its type, or something on the way replaces it."
    if not content:
        cause = "A page is answered in place of the file: the path leads to another backend."
    known = f", the file is {wanted.mime}" if wanted else ""
    text = f"Content-Type is {said or 'absent'}{known}."
    cure = "Lead /media/ to the gateway, which takes the type from the name of the file."
    return [error("wrong-type", url, text, cause, cure)]


def _fits(declared: MediaType | None, wanted: MediaType) -> bool:
    """Tell whether a type is right: of images exactly; of other files the first bytes tell too little."""
    if declared is None or wanted.kind is Kind.IMAGE:
        return declared is wanted
    return declared.kind is wanted.kind or {declared.kind, wanted.kind} == {Kind.VIDEO, Kind.AUDIO}


def _cached(url: str, answer: Answer) -> Findings:
    found: Findings = []
    control = answer.headers.get("Cache-Control", "").lower()
    no_store = re.search(r"no-store|private|max-age=0(?!\d)", control)
    if no_store or not (control or "Expires" in answer.headers):
        found.append(
            warning(
                "no-cache",
                url,
                f"Cache-Control is {control or 'absent'}: every view loads it again.",
                "The bucket answers directly, or something on the way removes or replaces the header.",
                "Serve /media/ by the gateway, and let the CDN pass Cache-Control on.",
            )
        )
    if answer.set_cookie:
        cause = "A load balancer or a bot protection adds it; CDNs do not cache answers with cookies."
        found.append(warning("sets-cookie", url, "It sets a cookie.", cause, "Turn it off for /media/."))
    return found
