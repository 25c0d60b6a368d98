"""The address guard: which IP addresses a source may be fetched from. Pure."""

import ipaddress
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address

# Prefixes of IPv6 whose last 32 bits are an IPv4 address that the packets reach in the end.
_CARRIERS = (
    IPv6Network("::/96"),  # IPv4-compatible, RFC 4291 2.5.5.1
    IPv6Network("::ffff:0:0/96"),  # IPv4-mapped, RFC 4291 2.5.5.2
    IPv6Network("::ffff:0:0:0/96"),  # IPv4-translated, RFC 2765
    IPv6Network("64:ff9b::/96"),  # NAT64, RFC 6052: what DNS64 answers in a cluster without IPv4
)
# What `is_global` does not know, or knows from some patch level of Python on: the answer must not depend on that.
_DENIED = (
    IPv4Network("192.0.0.0/24"),  # IETF protocol assignments, RFC 6890: the near end of NAT64 and DS-Lite
    IPv4Network("192.88.99.0/24"),  # 6to4 relay anycast, withdrawn by RFC 7526: whoever is nearest answers
    IPv4Network("168.63.129.16/32"),  # Azure's WireServer: a public address that gives a machine its own secrets
    IPv6Network("64:ff9b:1::/48"),  # NAT64 for local use, RFC 8215: leads into private networks by its purpose
    IPv6Network("fec0::/10"),  # site-local, RFC 3879: private, though no longer assigned
    IPv6Network("3fff::/20"),  # documentation, RFC 9637: routed nowhere, so used in private
    IPv6Network("5f00::/16"),  # identifiers of segment routing, RFC 9602: inside one operator's network only
)
#: The interface identifiers of ISATAP (RFC 5214 6.1), local and universal.
_ISATAP = (0x00005EFE, 0x02005EFE)


def is_allowed(address: str, allowed_cidrs: Sequence[str] = ()) -> bool:
    """Tell whether a connection to an address may be made.

    Public unicast addresses may; any other only inside `allowed_cidrs`. An IPv6 address that carries an IPv4 address
    (mapped, compatible, translated, NAT64, 6to4, Teredo, ISATAP) is judged by what it carries as well. Raises
    ValueError for what is no address, or for a range that is none.
    """
    networks = [ipaddress.ip_network(cidr, strict=False) for cidr in allowed_cidrs]

    def allowed(one: Address) -> bool:
        if any(one.version == network.version and one in network for network in networks):
            return True
        if isinstance(one, IPv4Address):
            return _is_public(one)
        if any(one in network for network in _CARRIERS):
            return allowed(_low(one))
        if one.sixtofour is not None:
            return allowed(one.sixtofour)
        if _low(one) != IPv4Address(0) and int(one) >> 32 & 0xFFFFFFFF in _ISATAP:
            return _is_public(one) and allowed(_low(one))
        # Teredo (2001::/32) is not global, so it ends here.
        return _is_public(one)

    return allowed(ipaddress.ip_address(address))


def _is_public(address: Address) -> bool:
    if any(address in network for network in _DENIED):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _low(address: IPv6Address) -> IPv4Address:
    return IPv4Address(int(address) & 0xFFFFFFFF)
