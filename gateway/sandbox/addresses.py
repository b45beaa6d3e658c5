"""Which addresses the sandbox may call: for callbacks and for files fetched from a URL.

The real service reaches public addresses only; so does the sandbox, unless its options say
otherwise. A name is resolved and checked first, and the request then goes to that very address.
"""

import asyncio
import ipaddress
import socket

import httpx2 as httpx

_LOCAL_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost")
_AGENT = {"User-Agent": "EvoLink-Sandbox"}


class AddressError(ValueError):
    """An address that the service does not call; the message says which."""


def is_internal_literal(host: str) -> bool:
    """Whether `host` is an internal address, or a name that always means this machine."""
    return host.rstrip(".").lower() in _LOCAL_NAMES or not _public(host, of_name=True)


async def public_address(host: str, port: int) -> str:
    """An address of `host`. Raises AddressError when any of its addresses is internal."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found]
    if not addresses or not all(_public(address, of_name=False) for address in addresses):
        raise AddressError(f"{host} is an internal address")
    return addresses[0]


async def outbound_request(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    content: bytes | None = None,
    allow_private: bool,
) -> httpx.Request:
    """A request that can only reach the address that was checked. Raises AddressError, OSError."""
    headers = dict(_AGENT)
    if content is not None:
        headers["Content-Type"] = "application/json"
    if allow_private:
        return client.build_request(method, url, content=content, headers=headers)
    target = httpx.URL(url)
    address = await public_address(target.host, target.port or _usual_port(target))
    headers["Host"] = target.netloc.decode("ascii")
    return client.build_request(
        method,
        target.copy_with(host=address),
        content=content,
        headers=headers,
        extensions={"sni_hostname": target.host},
    )


def _usual_port(target: httpx.URL) -> int:
    return 443 if target.scheme == "https" else 80


def _public(host: str, *, of_name: bool) -> bool:
    """Whether an address literal is public; `of_name` is the answer for a name."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return of_name
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_global and not address.is_multicast
