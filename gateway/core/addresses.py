"""Which addresses an outbound call may reach: one table for callbacks, references and results.

`refusal` judges an address after a name was resolved, and has the last word. `check_url` judges
the text of a URL before anything is resolved, so that a caller hears early what is wrong. Both
are pure: nothing here looks up a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class _Range:
    """A refused network. An operator's own services may live in a `private` one."""

    network: IPv4Network | IPv6Network
    reason: str
    private: bool = False


MAX_URL_CHARACTERS: Final = 2048
"""Upstream's own limit."""

_METADATA: Final = "a cloud's metadata service"
_PRIVATE: Final = "a private network"
_DOCUMENTATION: Final = "reserved for documentation"

# The first range that holds an address gives the reason, so narrow ranges stand before wide ones.
_RANGES: Final = tuple(
    _Range(ip_network(network), reason, reason in {"this machine", _PRIVATE})
    for network, reason in (
        ("169.254.169.254/32", _METADATA),
        ("100.100.100.200/32", _METADATA),
        ("168.63.129.16/32", _METADATA),
        ("192.0.0.192/32", _METADATA),
        ("0.0.0.0/8", "the unspecified network"),
        ("10.0.0.0/8", _PRIVATE),
        ("100.64.0.0/10", _PRIVATE),  # shared by carriers (CGNAT) and by overlay networks
        ("127.0.0.0/8", "this machine"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", _PRIVATE),
        ("192.0.0.0/24", "reserved for protocols"),
        ("192.0.2.0/24", _DOCUMENTATION),
        ("192.88.99.0/24", "a retired 6to4 relay"),
        ("192.168.0.0/16", _PRIVATE),
        ("198.18.0.0/15", "reserved for benchmarks"),
        ("198.51.100.0/24", _DOCUMENTATION),
        ("203.0.113.0/24", _DOCUMENTATION),
        ("224.0.0.0/4", "multicast"),
        ("255.255.255.255/32", "broadcast"),
        ("240.0.0.0/4", "reserved"),
        ("fd00:ec2::254/128", _METADATA),
        ("fd20:ce::254/128", _METADATA),
        ("::/128", "the unspecified address"),
        ("::1/128", "this machine"),
        ("::/96", "an IPv4-compatible address"),
        ("::ffff:0:0/96", "an IPv4-mapped address"),
        ("::ffff:0:0:0/96", "an IPv4-translated address"),
        ("64:ff9b::/96", "a NAT64 address"),
        ("64:ff9b:1::/48", "a NAT64 address"),
        ("100::/64", "a discard address"),
        ("2001::/32", "a Teredo address"),
        ("2001:db8::/32", _DOCUMENTATION),
        ("2001::/23", "reserved for protocols"),
        ("2002::/16", "a 6to4 address"),
        ("3fff::/20", _DOCUMENTATION),
        ("fc00::/7", _PRIVATE),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "a retired site-local address"),
        ("ff00::/8", "multicast"),
        # Global unicast is 2000::/3. These three hold everything else, whatever it becomes.
        ("::/3", "outside the global address space"),
        ("4000::/2", "outside the global address space"),
        ("8000::/1", "outside the global address space"),
    )
)


def refusal(address: Address, *, allow_private: bool = False) -> str | None:
    """Why nothing may be sent to `address`, in words; None when it is allowed.

    `allow_private` lets through this machine and private networks and nothing else: metadata
    services, link-local, multicast and addresses that wrap another one stay refused.
    """
    found = next((row for row in _RANGES if address in row.network), None)
    if found is not None and found.private and allow_private:
        return None
    inner = _embedded(address)
    inside = None if inner is None else refusal(inner)
    if found is None:
        return None if inside is None else f"an address that wraps {inner} ({inside})"
    return found.reason if inside is None else f"{found.reason} that wraps {inner} ({inside})"


_LOW_32_BITS: Final = tuple(
    IPv6Network(text) for text in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")
)
_ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})


def _embedded(address: Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address carries, by any of the known ways."""
    if isinstance(address, IPv4Address) or int(address) <= 1:
        return None
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    number = int(address)
    wraps = any(address in network for network in _LOW_32_BITS)
    if wraps or (number >> 32 & 0xFFFFFFFF) in _ISATAP:
        return IPv4Address(number & 0xFFFFFFFF)
    return None


# --- the text of a URL -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class UrlProblem:
    """Why a URL is refused; `message` is a sentence that says what to change."""

    message: str

    def __str__(self) -> str:
        return self.message


_URL: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]+)[^#]*(#.*)?")
_AUTHORITY: Final = re.compile(r"(?P<host>\[[^\[\]]*\]|[^\[\]:]+)(:(?P<port>[0-9]{1,5}))?")
_NAME: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
_NUMBER: Final = re.compile(r"0x[0-9a-f]*|0[0-7]*|[1-9][0-9]*")  # C: hexadecimal, octal, decimal
_MAX_NAME_LENGTH: Final = 253  # what DNS can carry

_INTERNAL_NAMES: Final = frozenset(
    {"localhost", "localdomain", "local", "internal", "intranet", "lan", "home", "corp", "private"}
    | {"home.arpa"}
)


def is_loopback(host: str) -> bool:
    """Whether a host's name or literal address says that it is this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return parse_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


def is_host(host: str) -> bool:
    """Whether this is a name or an address that something may be found at: wherever it leads."""
    shown = f"[{host}]" if ":" in host else host
    name = _plain_name(shown)
    if name is None:
        return False
    return _literal(name) is not None or (
        not _ends_in_number(name) and _NAME.fullmatch(name) is not None
    )


def check_url(
    url: str,
    *,
    schemes: frozenset[str],
    max_length: int = MAX_URL_CHARACTERS,
    allow_private: bool = False,
) -> UrlProblem | None:
    """What is wrong with `url` as the target of an outbound call; None when nothing is.

    `schemes` are lower case, `max_length` counts characters. A host that is an address is
    judged by the same table as resolved names, in every spelling that resolvers accept.
    """
    if len(url) > max_length:
        return UrlProblem(f"The URL has more than {max_length} characters.")
    # Odd blanks, invisible marks and lone surrogates are unprintable in Unicode's own words.
    if " " in url or "\\" in url or not url.isprintable():
        return UrlProblem("The URL must not contain spaces, control characters or backslashes.")
    parts = _URL.fullmatch(url)
    if parts is None or parts["scheme"].lower() not in schemes:
        return UrlProblem(f"The URL must start with {_either(schemes)} and a host.")
    if "@" in parts["authority"]:
        return UrlProblem("The URL must not carry a user name or password.")
    authority = _AUTHORITY.fullmatch(parts["authority"])
    if authority is None:
        return UrlProblem("The URL's host or port is malformed.")
    if authority["port"] is not None and not 1 <= int(authority["port"]) <= 65535:
        return UrlProblem("The URL's port must be between 1 and 65535.")
    return _check_host(authority["host"], allow_private=allow_private)


def _either(schemes: Iterable[str]) -> str:
    return " or ".join(f"{scheme}://" for scheme in sorted(schemes, reverse=True))


@lru_cache(1_000)
def _check_host(host: str, *, allow_private: bool) -> UrlProblem | None:
    """Kept for the hosts that come again and again: a judgement takes 20 µs."""
    name = _plain_name(host)
    if name is None:
        return UrlProblem("The URL's host is not a valid name or address.")
    address = _literal(name)
    if address is not None:
        return _check_literal(host, name, address, allow_private=allow_private)
    if name.startswith("[") or _ends_in_number(name) or not _NAME.fullmatch(name):
        return UrlProblem("The URL's host is not a valid name or address.")
    labels = name.split(".")
    suffixes = {labels[-1], ".".join(labels[-2:])}
    if not allow_private and (len(labels) == 1 or suffixes & _INTERNAL_NAMES):
        return UrlProblem(f"The URL's host {name} is an internal name; it must be a public one.")
    return None


def _check_literal(
    host: str, name: str, address: Address, *, allow_private: bool
) -> UrlProblem | None:
    """`name` is the `host` without its final dot, with which an address is nothing to clients."""
    for reading in (address, *_decimal_reading(name)):
        reason = refusal(reading, allow_private=allow_private)
        if reason is not None:
            return UrlProblem(f"The URL's host {reading} is not allowed: it is {reason}.")
    if isinstance(address, IPv4Address) and str(address) != host.encode("idna").decode():
        return UrlProblem(f"The URL's host must be written as {address}.")
    return None


def _plain_name(host: str) -> str | None:
    """The host in lower-case ASCII without its final dot, as a resolver will see it.

    Full-width digits, odd dots and invisible characters become what they stand for. None when
    that is impossible. Percent-encoding is never needed in a host, so it is not decoded.
    """
    if host.startswith("["):
        return host.lower()
    if len(host) > _MAX_NAME_LENGTH + 1:  # the conversion is slow on very long names
        return None
    try:
        plain = host.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return None
    plain = plain.removesuffix(".")
    return plain if 0 < len(plain) <= _MAX_NAME_LENGTH else None


def _literal(name: str) -> Address | None:
    """The address that `name` spells, or None when it is a name (or spells nothing)."""
    if not name.startswith("["):
        return _ipv4(name)
    try:
        return None if "%" in name else IPv6Address(name[1:-1])
    except ValueError:
        return None


def _ipv4(name: str) -> IPv4Address | None:
    """Reads one to four numbers as C's inet_aton does; the last one fills the bytes left over."""
    parts = name.split(".")
    if len(parts) > 4 or not all(_NUMBER.fullmatch(part) for part in parts):
        return None
    *heads, last = (_number(part) for part in parts)
    if any(head > 255 for head in heads) or last >= 256 ** (4 - len(heads)):
        return None
    return IPv4Address(sum(head << (24 - 8 * i) for i, head in enumerate(heads)) + last)


def _number(text: str) -> int:
    if text.startswith("0x"):
        return int(text[2:] or "0", 16)
    return int(text, 8 if text.startswith("0") else 10)


def _decimal_reading(name: str) -> list[IPv4Address]:
    """The other reading of four decimal parts with leading zeros, which some clients prefer."""
    parts = name.split(".")
    if len(parts) != 4 or not all(part.isdecimal() and int(part) < 256 for part in parts):
        return []
    return [IPv4Address(".".join(str(int(part)) for part in parts))]


def _ends_in_number(name: str) -> bool:
    """Whether resolvers may take `name` for an address: its last label is a number."""
    last = name.rpartition(".")[2]
    return last.isdecimal() or re.fullmatch(r"0x[0-9a-f]*", last) is not None


def parse_address(text: str) -> Address:
    """The address in a resolver's answer, whose IPv6 form may carry a zone."""
    return ip_address(text.partition("%")[0])
