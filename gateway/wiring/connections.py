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

from gateway.adapters.evolink.files import EvolinkFiles
from gateway.adapters.openai_images.links import SpoolLinks, Unnamed
from gateway.adapters.openai_images.spool import AnswerSpool
from gateway.adapters.outbound.egress import NamedTransport
from gateway.adapters.outbound.fetching import Fetcher
from gateway.adapters.outbound.line import HttpLine
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
from gateway.adapters.outbound.vendor import Transports
from gateway.adapters.own_links import OwnLinks
from gateway.adapters.webhook_sender import AlertSender, CallbackSender
from gateway.background.runs import CallBounds
from gateway.config import Settings, convert, schema
from gateway.config.notices import proxy_notices
from gateway.config.upstream_entry import UpstreamEntry
from gateway.core.model import Run
from gateway.core.policy import Current
from gateway.ports.calls import LineBounds, VendorLine
from gateway.ports.clock import Clock
from gateway.ports.evidence import Witness
from gateway.ports.looks import Look
from gateway.ports.outbound import Callbacks, Links
from gateway.ports.pictures import Pictures
from gateway.ports.upstream import Upstream
from gateway.wiring.kinds import connected
from gateway.wiring.upstreams import Closing, Connected, Ways

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


@dataclass(frozen=True, slots=True)
class ConnectionsDeps:
    """What all clients share. `pictures` are those that are kept; in `spool` lies what upstreams
    have answered. `callback_url` gives the address at which upstream may call about a run."""

    trust: Trust
    clock: Clock
    current: Current
    callback_url: Callable[[Run], str]
    spool: AnswerSpool
    pictures: Pictures
    outside: Outside


class Connections:
    """The clients of the settings in force; `upstreams`, `links` and `bounds` are by upstream's
    name.

    One that the settings no longer name stays, for the runs that are with it.
    """

    def __init__(self, settings: Settings, *, deps: ConnectionsDeps) -> None:
        self.upstreams: dict[str, Upstream] = {}
        # What lies here is paid and can be kept, also where a start finds its upstream gone.
        self.links: defaultdict[str, Links] = defaultdict(lambda: SpoolLinks(deps.spool, Unnamed()))
        self.bounds: dict[str, CallBounds] = {}
        self._connected: dict[str, Connected] = {}
        self._retired: list[Closing | Callbacks] = []
        self._settings = settings
        self._deps = deps
        self._trust = deps.trust
        outside = self._outside = deps.outside
        self._upstream_names: dict[str, Lookups] = defaultdict(partial(outside.lookups, OURS))
        self._link_names: dict[str, Lookups] = defaultdict(partial(outside.lookups, LINKS))
        self._callers_names = outside.lookups(CALLERS)
        self._operators_names = outside.lookups(OURS)
        self._references = self._reference_fetcher()
        self._connect(settings.upstreams)

    def reload(self, settings: Settings) -> bool:
        """Makes the clients anew whose settings have changed; tells whether there were any."""
        old = self._settings
        changed = {n: e for n, e in settings.upstreams.items() if old.upstreams.get(n) != e}
        self._connect(changed)
        self._settings = settings  # not before: what fails is to be tried again as a whole
        if settings.references != old.references:
            self._references = self._reference_fetcher()
        return bool(changed)

    def stores(self) -> Mapping[str, EvolinkFiles]:
        """The file stores of the settings, in their order."""
        stores = {name: self._connected[name].files for name in self._settings.upstreams}
        return {name: store for name, store in stores.items() if store is not None}

    def witnesses(self) -> Mapping[str, Witness]:
        """The upstreams of the settings, as those that tell what they have on record."""
        return {name: self._connected[name].witness for name in self._settings.upstreams}

    def looks(self) -> Mapping[str, Look]:
        """The upstreams of the settings, as those that tell whether they take the key."""
        return {name: self._connected[name].look for name in self._settings.upstreams}

    def references(self, team: str) -> Links:
        """What fetches the pictures that a team's links name, under rules of its own; those that
        lie here are not fetched."""
        return OwnLinks(
            self._references.on_behalf_of(team),
            self._deps.pictures,
            lambda: self._deps.current.policy.public_url,
        )

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
            *(client for one in self._connected.values() for client in one.closing),
            *self._retired,
        ):
            await client.aclose()

    def _connect(self, upstreams: Mapping[str, UpstreamEntry]) -> None:
        for name, entry in upstreams.items():
            if name in self._connected:
                self._retired += self._connected[name].closing
            one = connected(entry, self._ways(name, entry))
            self._connected[name] = one
            self.upstreams[name] = one.upstream
            # What was paid lies here also when its upstream is of another kind by now.
            self.links[name] = SpoolLinks(self._deps.spool, one.links)
            self.bounds[name] = CallBounds(entry.max_connections, entry.timeout.submit_seconds)

    def _ways(self, name: str, entry: UpstreamEntry) -> Ways:
        return Ways(
            lines=self._lines(name, entry),
            transports=partial(self._transports, name, entry),
            fetcher=self._fetcher(name, entry),
            references=self.references,
            callback_url=self._deps.callback_url,
            spool=self._deps.spool,
            current=self._deps.current,
        )

    def _lines(self, name: str, entry: UpstreamEntry) -> Callable[[LineBounds], VendorLine]:
        """Ways to an upstream itself."""
        resolver, tls = self._upstream_names[name], self._trust.upstreams
        proxy = convert.proxies(entry.proxy, self._outside.environ).for_url(entry.base_url)

        return lambda bounds: HttpLine(resolver, bounds, tls=tls, proxy=proxy)

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
            clock=self._deps.clock,
            timeout_seconds=shared.timeout_seconds,
            signing_secret=None if secret is None else secret.get_secret_value(),
            allow_private=entry.allow_private_addresses,
        )
