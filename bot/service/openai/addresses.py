"""Whether an IP address is one of the public internet.

``ipaddress.is_global`` alone does not answer that: it is true for multicast, for NAT64 and 6to4
addresses of a private host, and its lists differ between Python versions. So the special ranges are
written down here, after IANA's registries (RFC 6890) and RFC 4291, and ``is_global`` must agree.
Knows nothing of names, URLs or connections. What it cannot know is a NAT64 prefix that a network
chose for itself out of its public addresses.
"""

from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
)

_SPECIAL_4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",
            "100.64.0.0/10",  # shared by a provider's customers
            "127.0.0.0/8",
            "169.254.0.0/16",  # link-local, and the metadata of clouds
            "172.16.0.0/12",
            "192.0.0.0/24",  # protocols
            "192.0.2.0/24",  # documentation
            "192.31.196.0/24",  # AS112
            "192.52.193.0/24",  # AMT relays
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",
            "192.175.48.0/24",  # AS112
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
            "168.63.129.16/32",  # Azure's metadata and DNS, reached only from inside
        ),
    )
)
_UNICAST_6 = IPv6Network("2000::/3")  # all that is public in IPv6 lies in it
_SPECIAL_6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocols: Teredo, ORCHID, benchmarks
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4, which holds an IPv4 address
            "2620:4f:8000::/48",  # AS112
            "3ffe::/16",  # the former 6bone
            "3fff::/20",  # documentation
        ),
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")
_ISATAP = (b"\x00\x00\x5e\xfe", b"\x02\x00\x5e\xfe")


def is_public(text: str) -> bool:
    """Tell whether ``text`` is an address of the public internet; what is no address is not.

    An IPv4 address within an IPv4-mapped or NAT64 one decides. Other forms that hold one
    (compatible, 6to4, Teredo, ISATAP) and addresses with a scope are never public.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv4Address):
        return _is_public_4(address)
    if address.scope_id is not None:
        return False
    if address.ipv4_mapped is not None:
        return _is_public_4(address.ipv4_mapped)
    if address in _NAT64:
        return _is_public_4(IPv4Address(address.packed[12:]))
    return _is_public_6(address)


def _is_public_4(address: IPv4Address) -> bool:
    return address.is_global and not any(address in special for special in _SPECIAL_4)


def _is_public_6(address: IPv6Address) -> bool:
    if address not in _UNICAST_6 or not address.is_global:
        return False
    isatap = address.packed[8:12] in _ISATAP
    return not isatap and not any(address in special for special in _SPECIAL_6)
