"""Names and certificates of the servers on the way."""

import asyncio
import ipaddress
import socket
import ssl
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from media_cli.doctor.registry import Finding, Findings, error, ok, skipped, warning
from media_cli.doctor.site import Site, is_in_cluster_only, is_in_pod

#: Who renews certificates by himself does it a month before, as cert-manager and the ACME clients do.
RENEWED_BEFORE = timedelta(days=14)
_CONNECT_SECONDS = 8
#: OpenSSL's numbers of what is wrong with a chain: x509_vfy.h.
_EXPIRED, _NOT_YET, _NAME, _ADDRESS = 10, 9, 62, 64


def trust() -> ssl.SSLContext:
    """Return the authorities that are trusted here: those of SSL_CERT_FILE, else the system's.

    Since 3.13 Python also refuses chains that leave out RFC 5280's key identifiers; no browser does.
    """
    context = ssl.create_default_context()
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


async def dns(site: Site) -> Findings:
    """Resolve the host name of every server."""
    hosts: dict[str, str] = {}
    for url, what in site.origins().items():
        hosts.setdefault(urlsplit(url).hostname or "", what)
    if not hosts:
        site.lacks("origins", "No server is known.")
    return list(await asyncio.gather(*(_resolve(host, what) for host, what in hosts.items())))


async def tls(site: Site) -> Findings:
    """Look at the certificate of every server that speaks TLS."""
    urls = {url: what for url, what in site.origins().items() if url.startswith("https:")}
    plain = [_plain(url, what) for url, what in site.origins().items() if what == "publicBaseURL"]
    found = [each for each in plain if each]
    return [*found, *await asyncio.gather(*(_certificate(url, what) for url, what in urls.items()))] or [
        skipped("", "No server that speaks TLS is known.")
    ]


async def _resolve(host: str, what: str) -> Finding:
    about = f"{what}: {host}"
    if _is_address(host):
        return ok(about, "It is an address: no name has to be looked up.")
    if is_in_cluster_only(host) and not is_in_pod():
        return skipped(about, f"Only pods know this name: {_INSIDE}")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except socket.gaierror as problem:
        return error(
            "dns",
            about,
            f"The name does not resolve: {problem.strerror}.",
            "The name is misspelt, its DNS record is missing, or the resolver here does not know its zone.",
            "Correct the name in the values or the command, or make an A, AAAA or CNAME record for it.",
        )
    addresses = sorted({str(each[4][0]) for each in found})
    return ok(about, f"It resolves to {', '.join(addresses)}.")


_INSIDE = "run the doctor in the cluster (docs/operations/doctor.md)."


def _plain(url: str, what: str) -> Finding | None:
    host = urlsplit(url).hostname or ""
    if url.startswith("https:") or is_loopback(host):
        return None
    return warning(
        "http-only",
        f"{what}: {url}",
        "It is plain http.",
        "No TLS is set up, or publicBaseURL names the wrong scheme.",
        "Give the Ingress or the Gateway a certificate, and set publicBaseURL to https://….",
    )


async def _certificate(url: str, what: str) -> Finding:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 443
    about = f"{what}: {host}:{port}"
    if is_in_cluster_only(host) and not is_in_pod():
        return skipped(about, f"Only pods reach it: {_INSIDE}")
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(host, port, ssl=trust())
    except ssl.SSLCertVerificationError as problem:
        return _refused(about, host, problem)
    except (OSError, TimeoutError) as problem:
        return _unreachable(about, problem)
    certificate = writer.get_extra_info("peercert")
    writer.close()
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)
    left = ends - datetime.now(UTC)
    if left < RENEWED_BEFORE:
        return warning(
            "tls-expires",
            about,
            f"The certificate expires in {left.days} days, at {ends:%Y-%m-%d %H:%M} UTC.",
            "Nobody has renewed it: cert-manager and ACME clients do so a month before.",
            "Look at the Certificate resource or the client that renews it, or renew it by hand.",
        )
    return ok(about, f"The certificate is valid for {left.days} days more.")


def _refused(about: str, host: str, problem: ssl.SSLCertVerificationError) -> Finding:
    code = problem.verify_code
    if code == _EXPIRED:
        return error(
            "tls-expired",
            about,
            "The certificate has expired.",
            "It was not renewed, or the server was not told of the new one.",
            "Renew it, and see that the Ingress, Gateway or load balancer takes the new Secret.",
        )
    if code == _NOT_YET:
        return error(
            "tls-not-yet-valid",
            about,
            "The certificate is not valid yet.",
            "The clock of this machine is slow, or that of the authority is fast.",
            "Set the clock of this machine by NTP.",
        )
    if code in (_NAME, _ADDRESS):
        return error(
            "tls-name",
            about,
            f"The certificate is not for {host}.",
            "The server knows another certificate than the one for this name, often its default one.",
            "Name the host under tls.hosts of the Ingress, or in the listener of the Gateway.",
        )
    return error(
        "tls-untrusted",
        about,
        f"The certificate is not trusted: {problem.verify_message}.",
        "It is self-signed, of an authority of your own, or the server does not send the intermediate certificate.",
        "Send the whole chain; for an authority of your own set SSL_CERT_FILE here and s3.caBundle in the values.",
    )


def _unreachable(about: str, problem: Exception) -> Finding:
    return error(
        "unreachable",
        about,
        f"No TLS connection: {str(problem) or 'no answer in time'}.",
        "Nothing listens there, a firewall is in between, or the port does not speak TLS.",
        "See that the server runs and that its port is open from here.",
    )


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine, whose traffic nobody else sees."""
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
