import pytest

from media_transcoder.sources.addresses import is_allowed

FORBIDDEN = {
    "loopback": "127.0.0.1",
    "loopback, any": "127.255.0.9",
    "private 10": "10.1.2.3",
    "private 172": "172.16.0.1",
    "private 192": "192.168.1.1",
    "link-local, cloud metadata": "169.254.169.254",
    "carrier-grade NAT": "100.64.0.1",
    "carrier-grade NAT, end": "100.127.255.254",
    "unspecified": "0.0.0.0",  # noqa: S104 - an address to refuse
    "this network": "0.1.2.3",
    "multicast": "224.0.0.1",
    "reserved": "240.0.0.1",
    "broadcast": "255.255.255.255",
    "documentation": "192.0.2.1",
    "benchmark": "198.18.0.1",
    "loopback 6": "::1",
    "unspecified 6": "::",
    "link-local 6": "fe80::1",
    "link-local 6 with a scope": "fe80::1%1",
    "unique local": "fd00::1",
    "site-local": "fec0::1",
    "multicast 6": "ff02::1",
    "documentation 6": "2001:db8::1",
    "mapped loopback": "::ffff:127.0.0.1",
    "mapped private": "::ffff:10.0.0.1",
    "compatible loopback": "::127.0.0.1",
    "translated loopback": "::ffff:0:127.0.0.1",
    "6to4 of private": "2002:0a00:0001::1",
    "6to4 of loopback": "2002:7f00:0001::1",
    "NAT64 of metadata": "64:ff9b::169.254.169.254",
    "NAT64 for local use": "64:ff9b:1::808:808",
    "Teredo": "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "IETF assignments": "192.0.0.8",
    "IETF assignments, end": "192.0.0.192",
    "IETF assignments that are public": "192.0.0.9",
    "6to4 relay": "192.88.99.1",
    "Azure's WireServer": "168.63.129.16",
    "documentation 6, later": "3fff::1",
    "segment routing": "5f00::1",
    "mapped WireServer": "::ffff:168.63.129.16",
    "NAT64 of WireServer": "64:ff9b::168.63.129.16",
    "NAT64 of IETF assignments": "64:ff9b::192.0.0.192",
    "NAT64 of a 6to4 relay": "64:ff9b::192.88.99.1",
    "6to4 of WireServer": "2002:a83f:8110::1",
    "ISATAP of WireServer": "2600:1f00::5efe:168.63.129.16",
    "ISATAP inside NAT64 for local use": "64:ff9b:1::5efe:8.8.8.8",
    "ISATAP of private": "2600:1f00::5efe:10.0.0.1",
    "ISATAP of loopback, universal": "2600:1f00::200:5efe:7f00:1",
}

PUBLIC = {
    "IPv4": "8.8.8.8",
    "beside WireServer": "168.63.129.17",
    "above IETF assignments and tests": "192.0.3.1",
    "beside a 6to4 relay": "192.88.98.1",
    "below carrier-grade NAT": "100.63.255.255",
    "above carrier-grade NAT": "100.128.0.1",
    "IPv6": "2606:4700:4700::1111",
    "mapped": "::ffff:8.8.8.8",
    "NAT64": "64:ff9b::8.8.8.8",
    "6to4": "2002:808:808::1",
    "ISATAP": "2600:1f00::5efe:8.8.8.8",
}


@pytest.mark.parametrize("address", FORBIDDEN.values(), ids=FORBIDDEN)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not is_allowed(address)


@pytest.mark.parametrize("address", PUBLIC.values(), ids=PUBLIC)
def test_a_public_address_is_allowed(address: str) -> None:
    assert is_allowed(address)


@pytest.mark.parametrize(
    ("address", "ranges", "allowed"),
    [
        ("10.1.2.3", ["10.1.0.0/16"], True),
        ("10.2.2.3", ["10.1.0.0/16"], False),
        ("::ffff:10.1.2.3", ["10.1.0.0/16"], True),
        ("64:ff9b::10.1.2.3", ["10.1.0.0/16"], True),
        ("192.0.0.192", ["192.0.0.0/24"], True),
        ("fd00::7", ["fd00::/8"], True),
        ("fd00::7", ["10.0.0.0/8"], False),
        ("127.0.0.1", ["127.0.0.1/8"], True),
        ("8.8.8.8", ["10.0.0.0/8"], True),
    ],
)
def test_a_range_opens_exactly_itself(address: str, ranges: list[str], *, allowed: bool) -> None:
    assert is_allowed(address, ranges) is allowed
