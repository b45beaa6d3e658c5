"""Which proxy an outgoing call takes: one that the settings name, else what the environment says.

The environment is read as curl and most languages do: `HTTPS_PROXY`, `HTTP_PROXY` and
`ALL_PROXY` by the scheme of the target, without those that `NO_PROXY` lists; lower-case
spellings win, and an empty one switches off. Calls to this machine never take a proxy of the
environment. A proxy of the settings takes every call that it is named for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from gateway.core.addresses import is_loopback

_MASK: Final = "********"
_SCHEMES: Final = ("http", "https")
_PORTS: Final = {"http": 80, "https": 443}
_SEPARATORS: Final = re.compile(r"[,\s]+")
_WITH_PORT: Final = re.compile(r"(?P<host>\[[^\]]*\]|[^:]*)(?::(?P<port>[0-9]+))?")


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxies for targets with http and with https, and who is reached without one.

    `problems` are sentences about variables that cannot be used, and so are not.
    """

    http: str | None = None
    https: str | None = None
    exempt: tuple[str, ...] = ()
    spares_loopback: bool = False
    problems: tuple[str, ...] = ()

    def for_url(self, url: str) -> str | None:
        """The proxy's own URL, with its credentials; None when the call goes straight there."""
        target = urlsplit(url)
        proxy = {"http": self.http, "https": self.https}.get(target.scheme)
        if proxy is None:
            return None
        host = (target.hostname or "").removesuffix(".")
        if self.spares_loopback and (is_loopback(host) or host.endswith(".localhost")):
            return None
        port = target.port or _PORTS[target.scheme]
        return None if any(_fits(one, host, port) for one in self.exempt) else proxy


DIRECT: Final = Proxies()


def always(url: str) -> Proxies:
    """Every call goes through this one."""
    return Proxies(http=url, https=url)


def of_environment(environ: Mapping[str, str]) -> Proxies:
    found = {name: _variable(environ, f"{name}_proxy") for name in (*_SCHEMES, "all")}
    urls = {name: _with_scheme(value) for name, value in found.items() if value}
    problems = {name: problem for name, url in urls.items() if (problem := proxy_problem(url))}
    usable = {name: url for name, url in urls.items() if name not in problems}
    return Proxies(
        http=usable.get("http", usable.get("all")),
        https=usable.get("https", usable.get("all")),
        exempt=tuple(one for one in _SEPARATORS.split(_variable(environ, "no_proxy")) if one),
        spares_loopback=True,
        problems=tuple(f"{name.upper()}_PROXY {problem}" for name, problem in problems.items()),
    )


def proxy_problem(url: str) -> str | None:
    """Why this cannot be a proxy's URL; None when it can. The words never repeat it."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna")  # raises for what no name can be
        usable = bool(host) and parts.port != 0
    except ValueError:
        return "must be an address such as http://proxy.example:3128"
    if parts.scheme.startswith("socks"):
        return "names a SOCKS proxy, and only http:// and https:// proxies are supported"
    if parts.scheme not in _SCHEMES or not usable or re.search(r"[\s\\]", url):
        return "must be an address such as http://proxy.example:3128"
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        return "must have nothing behind the proxy's host and port"
    return None


def masked(url: str) -> str:
    """The proxy's URL as it may be shown: a password is masked, and so is a name without one,
    which is a token then."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    name, colon, password = user.partition(":")
    shown = f"{name}{colon}{_MASK}" if password else _MASK
    return f"{parts.scheme}://{shown if at else ''}{at}{host}"


def _variable(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name, environ.get(name.upper(), "")).strip()


def _with_scheme(value: str) -> str:
    return value if "://" in value else f"http://{value}"


# --- who is reached without one ----------------------------------------------------------------


def _fits(entry: str, host: str, port: int) -> bool:
    """Whether an entry of `NO_PROXY` means this host: a name with all below it, an address or
    network in any of its spellings, either with a port; or `*`."""
    if entry == "*":
        return True
    if "/" in entry or (entry.count(":") > 1 and not entry.startswith("[")):
        return _within(entry, host)
    parts = _WITH_PORT.fullmatch(entry.lower())
    if parts is None or (parts["port"] and int(parts["port"]) != port):
        return False
    name = parts["host"].removesuffix(".")
    if name.startswith("["):
        return _within(name, host)
    name = name.removeprefix("*").removeprefix(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _within(network: str, host: str) -> bool:
    try:
        return ip_address(host) in ip_network(re.sub(r"[\[\]]", "", network), strict=False)
    except ValueError:
        return False
