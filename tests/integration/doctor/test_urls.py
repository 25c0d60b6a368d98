"""`media doctor --url`: each fault of a public URL, on a real web server, is named rightly."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import webserver
from mediacommand import answer, media
from served import JPEG
from servers import free_port

LOCATIONS = """
root {root}; types {{ image/jpeg jpg; }} default_type application/octet-stream;
set $year "public, max-age=31536000, immutable";
location / {{ add_header Cache-Control $year; }}
location = /no-cache.jpg {{ }}
location = /no-store.jpg {{ add_header Cache-Control "no-store"; }}
location = /forbidden.jpg {{ return 403; }}
location = /server-error.jpg {{ return 502; }}
location = /octets.jpg {{ types {{ }} add_header Cache-Control $year; }}
location = /page.jpg {{ types {{ }} default_type text/html; add_header Cache-Control $year;
  return 200 "<html><body>Welcome</body></html>"; }}
location = /lie.jpg {{ add_header Cache-Control $year; return 200 "<html>Not here</html>"; }}
location = /login.jpg {{ return 302 /accounts/login/?next=/login.jpg; }}
location = /sso.jpg {{ return 302 /page.jpg; }}
location = /moved.jpg {{ return 301 /good.jpg; }}
location = /loop.jpg {{ return 302 /loop.jpg; }}
location = /cookie.jpg {{
  if ($cookie_seen = "") {{ add_header Set-Cookie "seen=1; Path=/"; return 302 /cookie.jpg; }}
  add_header Cache-Control $year; }}
location = /gate.jpg {{
  error_page 403 = @gate; if ($cookie_seen = "") {{ return 403; }}
  add_header Cache-Control $year; }}
location @gate {{ add_header Set-Cookie "seen=1; Path=/" always; return 403; }}
location = /hotlink.jpg {{ valid_referers server_names; if ($invalid_referer) {{ return 403; }} }}
location = /agent.jpg {{ if ($http_user_agent !~ Mozilla) {{ return 403; }} }}
location = /signed.jpg {{ default_type application/xml;
  return 403 "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"; }}
location = /over.jpg {{ return 403 '{{"type":"urn:media-operator:problem:url-expired"}}'; }}
location = /cut.jpg {{ return 403 '{{"type":"urn:media-operator:problem:signature-invalid"}}'; }}
location = /accounts/login/ {{ default_type text/html; return 200 "<form></form>"; }}
location = /tracked.jpg {{ add_header Cache-Control $year; add_header Set-Cookie "id=1"; }}
"""

#: By the path of a URL: the fault by its name, and how bad it is.
CASES = {
    "missing.jpg": ("not-found", "error"),
    "forbidden.jpg": ("forbidden", "error"),
    "server-error.jpg": ("server-error", "error"),
    "empty.jpg": ("empty", "error"),
    "octets.jpg": ("wrong-type", "error"),
    "page.jpg": ("wrong-type", "error"),
    "text.jpg": ("wrong-type", "error"),
    "lie.jpg": ("wrong-content", "error"),
    "login.jpg": ("login", "error"),
    "sso.jpg": ("login", "error"),
    "moved.jpg": ("redirect", "warning"),
    "loop.jpg": ("unreachable", "error"),
    "cookie.jpg": ("cookies", "error"),
    "gate.jpg": ("cookies", "error"),
    "hotlink.jpg": ("referrer", "error"),
    "agent.jpg": ("user-agent", "error"),
    "signed.jpg": ("expired-url", "error"),
    "over.jpg": ("expired-url", "error"),
    "cut.jpg": ("unsigned-url", "error"),
    "huge.jpg": ("too-large", "warning"),
    "no-cache.jpg": ("no-cache", "warning"),
    "no-store.jpg": ("no-cache", "warning"),
    "tracked.jpg": ("sets-cookie", "warning"),
}


@dataclass(frozen=True)
class Site:
    """The server: its ports by what they speak, and the authority of its certificates."""

    ports: dict[str, int]
    authority: Path

    def url(self, kind: str, path: str) -> str:
        return f"{'http' if kind == 'plain' else 'https'}://localhost:{self.ports[kind]}/{path}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("nginx")
    root = folder / "root"
    root.mkdir()
    for name in (*CASES, "good.jpg"):
        (root / name).write_bytes(JPEG)
    (root / "missing.jpg").unlink()
    (root / "empty.jpg").write_bytes(b"")
    (root / "huge.jpg").write_bytes(JPEG + bytes(8_000_000))
    # What it says it is, it is not.
    (root / "text.jpg").write_bytes(b"%PDF-1.7\n")
    authority = webserver.authority(folder)
    certificates = {
        "good": authority.issue("localhost"),
        "ending": authority.issue("localhost", days=3),
        "expired": authority.issue("localhost", days=-2),
        "other": authority.issue("other.example"),
    }
    ports = {kind: free_port() for kind in (*certificates, "plain")}
    blocks = [f"server {{ listen 127.0.0.1:{ports['plain']}; {LOCATIONS.format(root=root)} }}"]
    blocks += [
        f"server {{ listen 127.0.0.1:{ports[kind]} ssl; server_name localhost; ssl_certificate {pem};"
        f" ssl_certificate_key {pem}; {LOCATIONS.format(root=root)} }}"
        for kind, pem in certificates.items()
    ]
    with webserver.started(folder, "\n".join(blocks), *ports.values()):
        yield Site(ports, authority.file)


@pytest.fixture(scope="module")
def findings(site: Site, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    urls = [f"--url={site.url('good', path)}" for path in CASES]
    environment = {"SSL_CERT_FILE": str(site.authority)}
    found: list[Any] = answer("doctor", *urls, home=tmp_path_factory.mktemp("home"), code=2, **environment)
    return found


@pytest.mark.parametrize("path", CASES)
def test_a_fault_is_named_and_nothing_else(path: str, findings: list[Any], site: Site) -> None:
    found = [each for each in findings if each["about"] == site.url("good", path)]
    assert [(each["fault"], each["severity"]) for each in found] == [CASES[path]]
    assert found[0]["check"] == "url"
    assert found[0]["cause"]
    assert found[0]["cure"]


def test_a_sound_url_is_well(site: Site, tmp_path: Path) -> None:
    url = site.url("good", "good.jpg")
    found = answer("doctor", "--url", url, home=tmp_path, code=0, SSL_CERT_FILE=str(site.authority))
    assert {each["check"]: each["severity"] for each in found} == {"dns": "ok", "tls": "ok", "url": "ok"}
    assert f"image/jpeg, {len(JPEG)} bytes" in found[-1]["found"]


@pytest.mark.parametrize(
    ("kind", "fault", "severity"),
    [("expired", "tls-expired", "error"), ("other", "tls-name", "error"), ("ending", "tls-expires", "warning")],
)
def test_a_certificate_that_is_wrong(kind: str, fault: str, severity: str, site: Site, tmp_path: Path) -> None:
    code = 2 if severity == "error" else 1
    environment = {"SSL_CERT_FILE": str(site.authority)}
    found = answer("doctor", "--url", site.url(kind, "good.jpg"), home=tmp_path, code=code, **environment)
    [tls] = [each for each in found if each["check"] == "tls"]
    assert (tls["fault"], tls["severity"]) == (fault, severity)


def test_a_certificate_that_nobody_knows(site: Site, tmp_path: Path) -> None:
    found = answer("doctor", "--url", site.url("good", "good.jpg"), home=tmp_path, code=2)
    assert [each["fault"] for each in found if each["check"] == "tls"] == ["tls-untrusted"]


def test_http_only_is_told_apart_from_a_wrong_scheme(site: Site, tmp_path: Path) -> None:
    found = answer("doctor", "--url", site.url("plain", "good.jpg"), home=tmp_path, code=2)
    [finding] = [each for each in found if each["fault"] == "http-only"]
    assert "no TLS" in finding["cause"]


def test_a_name_that_nobody_knows_and_a_port_that_nobody_listens_on(tmp_path: Path) -> None:
    urls = ("https://media.example.invalid/x.jpg", f"https://localhost:{free_port()}/x.jpg")
    found = answer("doctor", *(f"--url={url}" for url in urls), home=tmp_path, code=2)
    by_check = [(each["check"], each["fault"]) for each in found if each["fault"]]
    assert ("dns", "dns") in by_check
    assert by_check.count(("url", "unreachable")) == 2
    assert [each["about"] for each in found if each["fault"] == "dns"] == ["the given URL: media.example.invalid"]


def test_the_table_says_cause_and_cure(site: Site, tmp_path: Path) -> None:
    url = site.url("good", "empty.jpg")
    done = media("doctor", "--url", url, home=tmp_path, SSL_CERT_FILE=str(site.authority))
    assert done.returncode == 2
    assert "0 bytes" in done.stdout
    assert f"empty {url}\n  cause: " in done.stdout
    assert "\n  cure: Purge" in done.stdout


def test_nothing_to_look_at(tmp_path: Path) -> None:
    for arguments in ((), ("--url", "media.example.org")):
        done = media("doctor", *arguments, home=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert "--url" in done.stderr
