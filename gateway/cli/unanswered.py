"""Where a gateway is, and in plain words why nobody answered as one does."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Final
from urllib.parse import urljoin, urlsplit

from gateway.cli.formats import plain
from gateway.core.addresses import is_loopback

DEFAULT_URL: Final = "http://127.0.0.1:8080"
URL_VARIABLE: Final = "GATEWAY_URL"

PAGES: Final = re.compile(
    r"/(?:console(?:/.*)?|docs|openapi\.json|metrics|healthz|readyz"
    r"|(?:(?:admin|team|openai|api)/)?v1"
    r"|(?:admin|team|openai)/v1/.*|(?:api/)?v1/(?:images|tasks|models|files|credits)(?:/.*)?)$"
)
"""What people and clients have behind a gateway's address."""

START: Final = "Start a gateway there with 'image-gateway serve', or say where it is with --url or"
TLS_WANTED: Final = re.compile("HTTP request (?:was sent )?to (?:an )?HTTPS (?:port|server)")
"""What servers of TLS say in plain http."""

TLS_ALERT: Final = re.compile(r"\\x15\\x03|\x15\x03")
"""How an answer begins that speaks TLS to who does not."""


def base_of(url: str) -> str:
    """A gateway's address without the pages and API paths behind it. Raises `ValueError`."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        usable = usable and "@" not in parts.netloc
    except ValueError:
        usable = False
    behind = "" if not usable else f"{parts.query}{parts.fragment}"
    if behind and not re.search(r"/console(/|$)", parts.path):  # what a browser's address shows
        usable = False
    if not usable or not url.isprintable() or re.search(r"[\s\\]", url):
        raise ValueError(
            f"--url (or {URL_VARIABLE}) must be an address such as {DEFAULT_URL}, without user"
            f" name, query or fragment.{_with_scheme(url)}"
        )
    base = re.split(r"[?#]", url, maxsplit=1)[0].rstrip("/")
    root = len(f"{parts.scheme}://{parts.netloc}")
    while page := PAGES.search(base, root):
        base = base[: page.start()].rstrip("/")
    return base


def _with_scheme(url: str) -> str:
    """`Did you mean http://localhost:8080?` for an address that lacks no more than that."""
    if not re.fullmatch(r"(?:[\w.-]+|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?(?:/[\w./-]*)?", url):
        return ""
    host = urlsplit(f"//{url}").hostname or ""
    scheme = "http" if is_loopback(host) else "https"
    return f" Did you mean {scheme}://{url}?"


def unreachable(url: str, error: Exception) -> str:
    """Why no connection came about, and what to do."""
    reason = plain(str(error))
    if re.search("WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|HTTP_REQUEST", reason):
        return (
            f"{url} does not speak TLS, which https:// asks for: say"
            f" {url.replace('https://', 'http://', 1)}, or the port on which TLS is."
        )
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        return (
            f"the certificate of {url} is not trusted here: {_why_not_trusted(reason)}. If it is"
            " of an authority of your own, name that one's certificate: SSL_CERT_FILE=ca.pem"
        )
    if re.search("Name or service not known|nodename nor servname|name resolution", reason):
        host = urlsplit(url).hostname
        return f"there is no host {host!r} for this machine: is --url or {URL_VARIABLE} right?"
    return f"cannot reach {url}: {reason or 'no connection'}. {START} {URL_VARIABLE}."


def broken(url: str, error: Exception) -> str:
    """Why a connection broke off."""
    reason = str(error)
    if TLS_ALERT.search(reason) and url.startswith("http://"):
        return speaks_tls(url)
    told = f"the connection to {url} failed: {plain(reason).rstrip('.') or 'it was cut'}."
    if url.startswith("http://") and "without sending a response" in reason:
        return f"{told} If TLS is spoken there, say {_with_tls(url)}."
    return told


def speaks_tls(url: str) -> str:
    return f"{url} speaks TLS: say {_with_tls(url)}."


def _with_tls(url: str) -> str:
    return url.replace("http://", "https://", 1)


def redirected(url: str, path: str, status: int, location: str) -> str:
    """A redirect is told and not followed: the key is for the address that was given."""
    said = f"{url} answered {status}, which leads to {plain(location)[:200]}"
    with suppress(ValueError):
        target = re.split(r"[?#]", urljoin(f"{url}{path}", location), maxsplit=1)[0]
        if target.endswith(path):
            return f"{said}. If the gateway is there, say so: --url {base_of(target[: -len(path)])}"
    return f"{said}, not as a gateway does: is something else there, or a proxy in between?"


def _why_not_trusted(reason: str) -> str:
    found = re.search(r"certificate verify failed: ([^(\]]+)", reason)
    return found[1].strip() if found else reason
