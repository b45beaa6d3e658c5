"""How an upstream of each kind is connected: settings to its client, its links and its record."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from gateway.adapters.evolink.client import EvolinkClient
from gateway.adapters.evolink.files import EvolinkFiles
from gateway.adapters.openai_images.asked import OpenAIDialect
from gateway.adapters.openai_images.client import OpenAIClient, OpenAIClientDeps
from gateway.adapters.openai_images.reconciling import (
    NO_KEY,
    NO_REPORT,
    CountedUsage,
    UsageWitness,
)
from gateway.adapters.openai_images.spool import AnswerSpool
from gateway.adapters.openai_images.usage_report import NoReport, OpenAIReports
from gateway.adapters.outbound.fetching import Fetcher
from gateway.adapters.outbound.vendor import Timeouts, Transports, VendorAccount
from gateway.adapters.result_links import ResultLinks
from gateway.config.upstream_entry import Style, UpstreamEntry
from gateway.core.kinds import Rates
from gateway.core.model import Run
from gateway.core.policy import Current
from gateway.ports.calls import LineBounds, VendorLine
from gateway.ports.evidence import Witness
from gateway.ports.looks import AccountSeen, Look
from gateway.ports.outbound import Links
from gateway.ports.upstream import Upstream

UNAUTHORIZED: Final = 401


class Closing(Protocol):
    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Ways:
    """What leads out of here to one upstream, and what lies here of it.

    `lines` makes ways to the upstream itself, `transports` the way to an address; `fetcher` fetches
    result links, `references` what a team's links name. `callback_url` gives where upstream may
    call about a run.
    """

    lines: Callable[[LineBounds], VendorLine]
    transports: Callable[[str], Transports]
    fetcher: Fetcher
    references: Callable[[str], Links]
    callback_url: Callable[[Run], str]
    spool: AnswerSpool
    current: Current


@dataclass(frozen=True, slots=True)
class Connected:
    """One upstream as everybody asks for it. `files` is its store of files, where it has one."""

    upstream: Upstream
    look: Look
    links: Links
    witness: Witness
    files: EvolinkFiles | None
    closing: Sequence[Closing]


def evolink(entry: UpstreamEntry, ways: Ways) -> Connected:
    client = EvolinkClient(
        _account(entry, entry.base_url),
        _timeouts(entry),
        lines=ways.lines,
        callback_url=ways.callback_url if entry.callbacks else None,
    )
    links = ResultLinks(ways.fetcher, base_url=entry.base_url)
    files = None
    if entry.files_url is not None:
        files = EvolinkFiles(
            _account(entry, entry.files_url),
            connect_seconds=entry.timeout.connect_seconds,
            transports=ways.transports(entry.files_url),
        )
    closing: list[Closing] = [client, *([files] if files else [])]
    return Connected(client, partial(_counted, client), links, client, files, closing)


async def _counted(client: EvolinkClient) -> AccountSeen:
    """Credits are told to whoever has a key; why they are not is told to nobody."""
    told = await client.credits()
    return (
        AccountSeen(None, "its credits could not be read")
        if told is None
        else AccountSeen(takes_key=True)
    )


def openai(entry: UpstreamEntry, ways: Ways) -> Connected:
    dialect = OpenAIDialect(
        style=entry.style,
        references=entry.references,
        image_field=entry.image_field,
        response_format=entry.response_format,
        usage=entry.usage,
        api_version=entry.api_version,
    )
    deps = OpenAIClientDeps(
        spool=ways.spool,
        references=ways.references,
        rates=partial(_rates, ways.current),
        picture_limit_bytes=lambda: ways.current.policy.picture_limit_bytes,
        transports=ways.transports(entry.base_url),
        dialect=dialect,
        headers=_named(entry),
    )
    account = _account(entry, entry.base_url, key_header=dialect.key_header)
    client = OpenAIClient(account, _timeouts(entry), deps=deps)
    links = ResultLinks(ways.fetcher, base_url=entry.base_url)
    witness, reports = _report(entry, ways)
    look = partial(_listed, entry, account, ways)
    return Connected(client, look, links, witness, None, [client, *reports])


async def _listed(entry: UpstreamEntry, account: VendorAccount, ways: Ways) -> AccountSeen:
    """A key that is refused for the list may yet be good for pictures, but for 401. What Azure
    lists are no deployments, and what others do are the names that they take."""
    if entry.style is Style.AZURE:
        return AccountSeen(None, "a deployment's address has no list of models")
    reports = OpenAIReports(account, _timeouts(entry), transports=ways.transports(entry.base_url))
    try:
        listed = {one.id: one.shutdown_date for one in await reports.models()}
    except NoReport as problem:
        return AccountSeen(False if problem.status == UNAUTHORIZED else None, str(problem))
    finally:
        await reports.aclose()
    return AccountSeen(takes_key=True, models=None if entry.style.is_azure else listed)


def _report(entry: UpstreamEntry, ways: Ways) -> tuple[UsageWitness, Sequence[Closing]]:
    """Only OpenAI itself has one, for an admin key."""
    if entry.style is not Style.OPENAI:
        return UsageWitness(None, otherwise=NO_REPORT), ()
    if entry.usage_key is None:
        return UsageWitness(None, otherwise=NO_KEY), ()
    key = entry.usage_key.get_secret_value()
    reports = OpenAIReports(
        _account(entry, entry.base_url, key=key),
        _timeouts(entry),
        transports=ways.transports(entry.base_url),
        project=entry.project,
    )
    return UsageWitness(_told_by(reports)), (reports,)


def _told_by(
    reports: OpenAIReports,
) -> Callable[[float, float], Awaitable[Sequence[CountedUsage] | None]]:
    async def told(since: float, until: float) -> Sequence[CountedUsage] | None:
        try:
            return await reports.usage(since, until)
        except NoReport:
            return None

    return told


def _rates(current: Current, run: Run) -> Rates | None:
    """What tokens cost on the run's route, as the settings are now."""
    model = current.policy.catalog.models.get(run.model)
    routes = model.routes if model is not None else ()
    return next((route.rates for route in routes if route.name == run.route), None)


def _named(entry: UpstreamEntry) -> Mapping[str, str]:
    named = {"OpenAI-Organization": entry.organization, "OpenAI-Project": entry.project}
    return {name: value for name, value in named.items() if value is not None}


def _timeouts(entry: UpstreamEntry) -> Timeouts:
    timeout = entry.timeout
    return Timeouts(timeout.connect_seconds, timeout.submit_seconds, timeout.poll_seconds)


def _account(
    entry: UpstreamEntry, url: str, *, key: str | None = None, key_header: str = "Authorization"
) -> VendorAccount:
    return VendorAccount(
        base_url=url,
        api_key=entry.api_key.get_secret_value() if key is None else key,
        user_agent=entry.user_agent,
        max_connections=entry.max_connections,
        not_taken=entry.not_taken,
        key_header=key_header,
    )
