"""What goes out, and may be changed while the gateway runs: upstreams, and who is called back.

A client whose settings have changed is retired: its calls end by themselves, and it is closed
with all others at the stop.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import httpx2 as httpx

from gateway.callbacks import AlertSender, CallbackSender
from gateway.config import Settings, schema
from gateway.config.schema import UpstreamEntry
from gateway.core.model import Run
from gateway.outbound import Fetcher, pinned_client
from gateway.ports import Callbacks, Clock
from gateway.result_links import ResultLinks
from gateway.upstream.client import Account, EvolinkClient, Timeouts
from gateway.upstream.files import EvolinkFiles

S = TypeVar("S", bound=CallbackSender)


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose certificates are good: upstream's and those of links, and the receivers'."""

    upstreams: ssl.SSLContext
    receivers: ssl.SSLContext


class Connections:
    """The clients of the settings in force; `upstreams` and `links` are by upstream's name.

    One that the settings no longer name stays, for the runs that are with it. `hint_url` gives
    the address at which upstream may call about a run.
    """

    def __init__(
        self, settings: Settings, trust: Trust, *, clock: Clock, hint_url: Callable[[Run], str]
    ) -> None:
        self.upstreams: dict[str, EvolinkClient] = {}
        self.links: dict[str, ResultLinks] = {}
        self._files: dict[str, EvolinkFiles] = {}
        self._retired: list[EvolinkClient | EvolinkFiles | ResultLinks | Callbacks] = []
        self._settings = settings
        self._trust = trust
        self._clock = clock
        self._hint_url = hint_url
        self._connect(settings.upstreams)

    def reload(self, settings: Settings) -> bool:
        """Makes the clients anew whose settings have changed; tells whether there were any."""
        old = self._settings.upstreams
        changed = {n: e for n, e in settings.upstreams.items() if old.get(n) != e}
        self._connect(changed)
        self._settings = settings
        return bool(changed)

    def stores(self) -> Mapping[str, EvolinkFiles]:
        """The file stores of the settings, in their order."""
        return {name: self._files[name] for name in self._settings.upstreams if name in self._files}

    def first_links(self) -> ResultLinks:
        """References are fetched under the rules of the first upstream."""
        return self.links[next(iter(self._settings.upstreams))]

    def callbacks(self) -> CallbackSender:
        """A new sender to the receivers that teams name."""
        return self._sender(CallbackSender, self._settings.callbacks)

    def alerts(self) -> AlertSender:
        """A new sender to the operator's own receiver."""
        return self._sender(AlertSender, self._settings.alerts)

    def retire(self, *senders: Callbacks) -> None:
        """These have a successor."""
        self._retired += senders

    async def aclose(self) -> None:
        for client in (
            *self.upstreams.values(),
            *self.links.values(),
            *self._files.values(),
            *self._retired,
        ):
            await client.aclose()

    def _connect(self, upstreams: Mapping[str, UpstreamEntry]) -> None:
        tls = self._trust.upstreams
        for name, entry in upstreams.items():
            if name in self.upstreams:
                self._retired += [self.upstreams[name], self.links[name]]
            self.upstreams[name] = _client(entry, tls, self._hint_url if entry.callbacks else None)
            self.links[name] = ResultLinks(_fetcher(entry, tls), base_url=entry.base_url)
            if name in self._files:
                self._retired.append(self._files.pop(name))
            if entry.files_url is not None:
                self._files[name] = _file_store(entry, entry.files_url, tls)

    def _sender(self, kind: type[S], entry: schema.Callbacks | schema.Alerts) -> S:
        shared = self._settings.callbacks
        client = pinned_client(
            timeout=httpx.Timeout(shared.timeout_seconds),
            allow_private=entry.allow_private_addresses,
            verify=self._trust.receivers,
            max_connections=shared.concurrency,
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
    entry: UpstreamEntry, tls: ssl.SSLContext, callback_url: Callable[[Run], str] | None
) -> EvolinkClient:
    account = Account(
        base_url=entry.base_url,
        api_key=entry.api_key.get_secret_value(),
        user_agent=entry.user_agent,
        max_connections=entry.max_connections,
    )
    timeout = entry.timeout
    return EvolinkClient(
        account,
        Timeouts(timeout.connect_seconds, timeout.submit_seconds, timeout.poll_seconds),
        tls=tls,
        callback_url=callback_url,
    )


def _file_store(entry: UpstreamEntry, files_url: str, tls: ssl.SSLContext) -> EvolinkFiles:
    account = Account(files_url, entry.api_key.get_secret_value(), entry.user_agent)
    return EvolinkFiles(account, connect_seconds=entry.timeout.connect_seconds, tls=tls)


def _fetcher(entry: UpstreamEntry, tls: ssl.SSLContext) -> Fetcher:
    return Fetcher(
        allow_private=entry.allow_private_addresses,
        verify=tls,
        connect_seconds=entry.timeout.connect_seconds,
    )
