"""What every client of a vendor has in common: the account, its connections, the way to it, and the
moment at which a request leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final

import httpx2 as httpx

from gateway.core.runs.events import AnswerLost, NotNow, Why
from gateway.ports.upstream import Sure

MAX_ANSWER_BYTES: Final = 1_048_576
"""What a vendor says of an order is a few kilobytes; whatever is larger is not about it."""

KEEPALIVE_SECONDS: Final = 20.0

PROXY_WANTS_CREDENTIALS: Final = 407
"""Never upstream's own: a proxy has passed nothing on."""

BEARER: Final = "Authorization"

Transports = Callable[[httpx.Limits], httpx.AsyncBaseTransport]
"""Makes the way to the vendor, directly or through a proxy, with so many connections."""


def straight(limits: httpx.Limits) -> httpx.AsyncBaseTransport:
    return httpx.AsyncHTTPTransport(trust_env=False, limits=limits)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: to connect, for a whole submit, for a whole poll."""

    connect_seconds: float
    submit_seconds: float
    poll_seconds: float


@dataclass(frozen=True, slots=True)
class VendorAccount:
    """Where the vendor is and who we are there.

    `not_taken` are codes of its own that say that nobody took an order, beyond the known ones. The
    key goes out in the header `key_header`, as it is, or as a bearer's in `Authorization`.
    """

    base_url: str
    api_key: str
    user_agent: str
    max_connections: int
    not_taken: Collection[str] = ()
    key_header: str = BEARER

    @property
    def credentials(self) -> Mapping[str, str]:
        bearer = "Bearer " if self.key_header == BEARER else ""
        return {self.key_header: f"{bearer}{self.api_key}"}


class Departure:
    """Tells whether a request has begun to leave, which decides what its failure means.

    A proxy is asked to connect first: that is not the request yet, and carries no order. `sure` is
    awaited right before it leaves, and what it raises comes out.
    """

    def __init__(self, sure: Sure) -> None:
        self._sure = sure
        self._left = False

    async def note(self, event: str, facts: Mapping[str, Any]) -> None:
        """What a request's `trace` calls."""
        if event != "http11.send_request_headers.started" or self._left:
            return
        if facts["request"].method != b"CONNECT":
            await self._sure()
            self._left = True

    @property
    def has_left(self) -> bool:
        return self._left

    def broken_off(self, error: Exception) -> AnswerLost | NotNow:
        if self._left:
            return AnswerLost(f"no answer: {type(error).__name__}")
        said = f" ({error})" if isinstance(error, httpx.ProxyError) else ""
        return NotNow(f"could not connect: {type(error).__name__}{said}", why=Why.NEVER_SENT)


def pooled_client(
    account: VendorAccount, timeouts: Timeouts, transports: Transports, *, keepalive: int
) -> httpx.AsyncClient:
    """A client with so many connections at once, of which it keeps `keepalive` open."""
    limits = httpx.Limits(
        max_connections=account.max_connections,
        max_keepalive_connections=keepalive,
        keepalive_expiry=KEEPALIVE_SECONDS,
    )
    longest_seconds = max(timeouts.submit_seconds, timeouts.poll_seconds)
    timeout = httpx.Timeout(longest_seconds, connect=timeouts.connect_seconds)
    return vendor_client(account, transports(limits), timeout)


def vendor_client(
    account: VendorAccount, transport: httpx.AsyncBaseTransport, timeout: httpx.Timeout
) -> httpx.AsyncClient:
    """What calls the vendor under the organisation's key."""
    return httpx.AsyncClient(
        transport=transport,
        headers=vendor_headers(account),
        timeout=timeout,
        follow_redirects=False,  # a redirect would carry the organisation's key elsewhere
        cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),  # calls share nothing
        trust_env=False,
    )


def vendor_headers(account: VendorAccount) -> dict[str, str]:
    """What goes with every call."""
    return {
        **account.credentials,
        "User-Agent": account.user_agent,
        "Accept": "application/json",
    }
