"""The gateway's settings: what start.sh refuses, and that it says all of it at once."""

from pathlib import Path

import pytest

import gateway

ENDPOINT = "http://127.0.0.1:9000"


def refused(path: Path, **changed: str) -> list[str]:
    """Start the gateway with settings that are wrong; return the lines it says."""
    environment = gateway.settings(path, ENDPOINT, **changed)
    done = gateway.run(environment)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert not (path / "run/nginx.conf").exists()
    lines = done.stderr.splitlines()
    assert lines[0].startswith("gateway: ")
    return lines


def test_all_that_is_missing_is_said_at_once(tmp_path: Path) -> None:
    endpoint, bucket = refused(tmp_path, GATEWAY_ENDPOINT="", GATEWAY_BUCKET="")
    assert endpoint.startswith("gateway: GATEWAY_ENDPOINT is missing")
    assert bucket.startswith("gateway: GATEWAY_BUCKET is missing")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GATEWAY_ENDPOINT", "s3://bucket"),
        ("GATEWAY_ENDPOINT", "127.0.0.1:9000"),
        ("GATEWAY_ENDPOINT", "http://"),
        ("GATEWAY_ENDPOINT", "http://:9000"),
        ("GATEWAY_ENDPOINT", "http://user:secret@host"),
        ("GATEWAY_ENDPOINT", "http://host/path"),
        ("GATEWAY_ENDPOINT", "http://127.0.0.1;return 200"),
        ("GATEWAY_ENDPOINT", "http://127.0.0.1\n|e"),
        ("GATEWAY_BUCKET", "a/b"),
        ("GATEWAY_BUCKET", "$uri"),
        ("GATEWAY_BUCKET", ".."),
        ("GATEWAY_PREFIX", "../other"),
        ("GATEWAY_PREFIX", "a//b"),
        ("GATEWAY_PREFIX", "a/./b"),
        ("GATEWAY_PREFIX", "a b"),
        ("GATEWAY_PREFIX", "a;b"),
        ("GATEWAY_CACHE_SIZE", "1Gi"),
        ("GATEWAY_CACHE_SIZE", "100"),
        ("GATEWAY_CACHE_SIZE", "0g"),
        ("GATEWAY_CACHE_SIZE", "g"),
        ("GATEWAY_CACHE_SIZE", "1k2g"),
        ("GATEWAY_CACHE_SECONDS", "0"),
        ("GATEWAY_CACHE_SECONDS", "10s"),
        ("GATEWAY_LISTEN", "8080;"),
        ("GATEWAY_RESOLVER", "127.0.0.1; include /etc/passwd"),
        ("GATEWAY_RUN_DIR", "/nowhere"),
        ("GATEWAY_CACHE_DIR", "/nowhere"),
        ("SSL_CERT_FILE", "/nowhere"),
        ("GATEWAY_METRICS_LISTEN", "9113;"),
        ("GATEWAY_METRICS_LISTEN", "unix:/a b"),
        ("GATEWAY_RATE", "100"),
        ("GATEWAY_RATE", "1x/second"),
        ("GATEWAY_RATE", "0/second"),
        ("GATEWAY_RATE", "1/hour"),
        ("GATEWAY_RATE_BURST", "0"),
        ("GATEWAY_TRUSTED_PROXIES", "10.0.0.0/8;"),
        ("GATEWAY_TRUSTED_PROXIES", "proxy.example"),
        ("GATEWAY_STABLE_MAX_AGE", "5m"),
        ("GATEWAY_MAX_AGES", "/media/=week"),
        ("GATEWAY_MAX_AGES", "media/=1"),
        ("GATEWAY_MAX_AGES", "/media/.*=1"),
        ("GATEWAY_MAX_AGES", '/media/"=1'),
        ("GATEWAY_MAX_AGES", "/media/"),
        ("GATEWAY_CORS_ORIGINS", "shop.example"),
        ("GATEWAY_CORS_ORIGINS", "https://shop.example/"),
        ("GATEWAY_CORS_ORIGINS", 'https://"$uri"'),
    ],
)
def test_setting_that_is_wrong_is_named(tmp_path: Path, name: str, value: str) -> None:
    said = refused(tmp_path, **{name: value})
    # A value may span lines, so it is the first that counts.
    assert value.splitlines()[0] in said[0]
    assert name in said[0] or value == "/nowhere"


def test_an_account_needs_a_secret_and_a_region(tmp_path: Path) -> None:
    secret, region = refused(tmp_path, AWS_ACCESS_KEY_ID="account")
    assert "AWS_SECRET_ACCESS_KEY is missing" in secret
    assert "AWS_REGION is missing" in region


def test_secrets_of_signed_urls_are_long_and_need_an_account(tmp_path: Path) -> None:
    short = {"GATEWAY_SIGNING_KEY": "short", "GATEWAY_SIGNING_PREVIOUS_KEY": "too"}
    said = refused(tmp_path, **short)
    assert [line.split()[1] for line in said] == [*short, "AWS_ACCESS_KEY_ID"]
    (alone, _) = refused(tmp_path, GATEWAY_SIGNING_PREVIOUS_KEY="x" * 32)
    assert "GATEWAY_SIGNING_KEY must have" in alone
    assert not any("short" in line or "x" * 32 in line for line in (*said, alone))


@pytest.mark.parametrize("address", ["127.0.0.1", "[::1]:9000"])
def test_certificate_of_an_address_cannot_be_verified(tmp_path: Path, address: str) -> None:
    (said,) = refused(tmp_path, GATEWAY_ENDPOINT=f"https://{address}")
    assert "GATEWAY_ENDPOINT must have a name with https" in said


def test_name_that_dns_does_not_know_ends_the_start_and_is_no_wrong_setting(tmp_path: Path) -> None:
    # RFC 2606 keeps this name from ever being one; a server of DNS that does not answer comes to the same.
    environment = gateway.settings(tmp_path, "http://store.invalid:9000", RES_OPTIONS="timeout:1 attempts:1")
    done = gateway.run(environment)
    assert done.returncode == 1, done.stderr
    (said,) = done.stderr.splitlines()
    assert "not known to DNS" in said
    assert "'store.invalid'" in said
    assert not (tmp_path / "run/nginx.conf").exists()
