"""What goes out, and may be changed while the gateway runs: upstreams, and who is called back.

A client whose settings have changed is retired: its calls end by themselves, and it is closed
with all others at the stop. Names are looked up apart: each upstream's own, those of its result
links, those that teams choose, and the operator's.
"""

from __future__ import annotations

import os
import ssl
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import httpx2 as httpx

from gateway.adapters.evolink.client import EvolinkClient, Timeouts, Transports, VendorAccount
from gateway.adapters.evolink.files import EvolinkFiles
from gateway.adapters.outbound.egress import NamedTransport
from gateway.adapters.outbound.fetching import Fetcher
from gateway.adapters.outbound.late import LateLine
from gateway.adapters.outbound.pinned import Way, pinned_client
from gateway.adapters.outbound.resolver import (
    CALLERS,
    LINKS,
    OURS,
    Ask,
    Lookups,
    ResolverBounds,
    system,
)
from gateway.adapters.result_links import ResultLinks
from gateway.adapters.webhook_sender import AlertSender, CallbackSender
from gateway.config import Settings, convert, schema
from gateway.config.notices import proxy_notices
from gateway.config.schema import UpstreamEntry
from gateway.core.model import Run
from gateway.ports.calls import LineBounds, VendorLine
from gateway.ports.clock import Clock
from gateway.ports.outbound import Callbacks

S = TypeVar("S", bound=CallbackSender)


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose certificates are good: upstream's and those of links, and the receivers'."""

    upstreams: ssl.SSLContext
    receivers: ssl.SSLContext


@dataclass(frozen=True, slots=True)
class Outside:
    """What the machine says: who answers a look-up, and the variables that name proxies.

    `skewed`: a clock that the gateway is given is one of a machine, and may be wrong as these are;
    else it is taken for the right one.
    """

    ask: Ask = system
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    skewed: bool = False

    def lookups(self, bounds: ResolverBounds) -> Lookups:
        return Lookups(bounds, ask=self.ask)


class Connections:
    """The clients of the settings in force; `upstreams` and `links` are by upstream's name.

    One that the settings no longer name stays, for the runs that are with it. `callback_url` gives
    the address at which upstream may call about a run.
    """

    def __init__(
        self,
        settings: Settings,
        trust: Trust,
        *,
        clock: Clock,
        callback_url: Callable[[Run], str],
        outside: Outside,
    ) -> None:
        self.upstreams: dict[str, EvolinkClient] = {}
        self.links: dict[str, ResultLinks] = {}
        self._files: dict[str, EvolinkFiles] = {}
        self._retired: list[EvolinkClient | EvolinkFiles | ResultLinks | Fetcher | Callbacks] = []
        self._settings = settings
        self._trust = trust
        self._clock = clock
        self._callback_url = callback_url
        self._outside = outside
        self._upstream_names: dict[str, Lookups] = defaultdict(partial(outside.lookups, OURS))
        self._link_names: dict[str, Lookups] = defaultdict(partial(outside.lookups, LINKS))
        self._callers_names = outside.lookups(CALLERS)
        self._operators_names = outside.lookups(OURS)
        self._references = self._reference_fetcher()
        self._connect(settings.upstreams)

    def reload(self, settings: Settings) -> bool:
        """Makes the clients anew whose settings have changed; tells whether there were any."""
        old = self._settings.upstreams
        changed = {n: e for n, e in settings.upstreams.items() if old.get(n) != e}
        self._connect(changed)
        references_changed = settings.references != self._settings.references
        self._settings = settings
        if references_changed:
            self._retired.append(self._references)
            self._references = self._reference_fetcher()
        return bool(changed)

    def stores(self) -> Mapping[str, EvolinkFiles]:
        """The file stores of the settings, in their order."""
        return {name: self._files[name] for name in self._settings.upstreams if name in self._files}

    def references(self, team: str) -> Fetcher:
        """What fetches the pictures that a team's links name, under rules of its own."""
        return self._references.on_behalf_of(team)

    def callbacks(self) -> CallbackSender:
        """A new sender to the receivers that teams name."""
        return self._sender(CallbackSender, self._settings.callbacks, self._callers_names)

    def alerts(self) -> AlertSender:
        """A new sender to the operator's own receiver."""
        return self._sender(AlertSender, self._settings.alerts, self._operators_names)

    def proxies_told(self) -> Sequence[str]:
        """A sentence for everything that goes through a proxy."""
        return proxy_notices(self._settings, self._outside.environ)

    def retire(self, *senders: Callbacks) -> None:
        """These have a successor."""
        self._retired += senders

    async def aclose(self) -> None:
        for client in (
            *self.upstreams.values(),
            *self.links.values(),
            self._references,
            *self._files.values(),
            *self._retired,
        ):
            await client.aclose()

    def _connect(self, upstreams: Mapping[str, UpstreamEntry]) -> None:
        for name, entry in upstreams.items():
            if name in self.upstreams:
                self._retired += [self.upstreams[name], self.links[name]]
            self.upstreams[name] = _client(
                entry,
                self._lines(name, entry),
                self._callback_url if entry.callbacks else None,
            )
            self.links[name] = ResultLinks(self._fetcher(name, entry), base_url=entry.base_url)
            if name in self._files:
                self._retired.append(self._files.pop(name))
            if entry.files_url is not None:
                transports = self._transports(name, entry, entry.files_url)
                self._files[name] = EvolinkFiles(
                    _account(entry, entry.files_url),
                    connect_seconds=entry.timeout.connect_seconds,
                    transports=transports,
                )

    def _lines(self, name: str, entry: UpstreamEntry) -> Callable[[LineBounds], VendorLine]:
        """Ways to an upstream itself."""
        resolver, tls = self._upstream_names[name], self._trust.upstreams
        proxy = convert.proxies(entry.proxy, self._outside.environ).for_url(entry.base_url)

        def make(bounds: LineBounds) -> VendorLine:
            from gateway.adapters.outbound.line import AiohttpLine

            return AiohttpLine(resolver, bounds, tls=tls, proxy=proxy)

        return lambda bounds: LateLine(partial(make, bounds))

    def _transports(self, name: str, entry: UpstreamEntry, url: str) -> Transports:
        """The way to one address of an upstream."""
        proxy = convert.proxies(entry.proxy, self._outside.environ).for_url(url)

        def make(limits: httpx.Limits) -> NamedTransport:
            resolver, tls = self._upstream_names[name], self._trust.upstreams
            return NamedTransport(resolver, tls=tls, limits=limits, proxy=proxy)

        return make

    def _fetcher(self, name: str, entry: UpstreamEntry) -> Fetcher:
        proxies = convert.proxies(entry.proxy, self._outside.environ)
        return Fetcher(
            allow_private=entry.allow_private_addresses,
            verify=self._trust.upstreams,
            resolver=self._link_names[name],
            way=Way(proxies, connect_seconds=entry.timeout.connect_seconds),
        )

    def _reference_fetcher(self) -> Fetcher:
        entry = self._settings.references
        return Fetcher(
            allow_private=entry.allow_private_addresses,
            verify=self._trust.upstreams,
            resolver=self._callers_names,
            way=Way(convert.proxies(entry.proxy, self._outside.environ)),
        )

    def _sender(
        self, kind: type[S], entry: schema.CallbackSettings | schema.Alerts, names: Lookups
    ) -> S:
        shared = self._settings.callbacks
        proxies = convert.proxies(entry.proxy, self._outside.environ)
        client = pinned_client(
            timeout=httpx.Timeout(shared.timeout_seconds),
            allow_private=entry.allow_private_addresses,
            verify=self._trust.receivers,
            resolver=names,
            way=Way(proxies, max_connections=shared.concurrency),
        )
        secret = entry.signing_secret
        return kind(
            client,
            clock=self._clock,
            timeout_seconds=shared.timeout_seconds,
            signing_secret=None if secret is None else secret.get_secret_value(),
            allow_private=entry.allow_private_addresses,
        )


def _client(
    entry: UpstreamEntry,
    lines: Callable[[LineBounds], VendorLine],
    callback_url: Callable[[Run], str] | None,
) -> EvolinkClient:
    timeout = entry.timeout
    return EvolinkClient(
        _account(entry, entry.base_url),
        Timeouts(timeout.connect_seconds, timeout.submit_seconds, timeout.poll_seconds),
        lines=lines,
        callback_url=callback_url,
    )


def _account(entry: UpstreamEntry, url: str) -> VendorAccount:
    return VendorAccount(
        base_url=url,
        api_key=entry.api_key.get_secret_value(),
        user_agent=entry.user_agent,
        max_connections=entry.max_connections,
        not_taken=entry.not_taken,
    )
