"""The JSON answers of the operator's and the team's pages, as types.

The code that makes an answer is checked against them, and `/openapi.json` is made from them. US
dollars are numbers, times RFC 3339 in UTC, days those of the operator's time zone.
"""

from __future__ import annotations

from typing import Any, NotRequired

from typing_extensions import TypedDict


class StandingShape(TypedDict):
    """How a team stands with one limit: dollars for `usd`, else counts."""

    rule: str
    measure: str
    window: str
    limit: float
    spent: float
    held: float
    left: float
    resets_at: str | None


class TeamShape(TypedDict):
    """A team. `provisioned`: it comes from the settings file and is changed there."""

    name: str
    provisioned: bool
    description: str | None
    settings: dict[str, Any]
    standing: list[StandingShape]
    keys: int
    spent_usd: float
    spent_month_usd: float
    created_at: str | None
    changed_at: str | None


class TeamsShape(TypedDict):
    data: list[TeamShape]
    next: str | None


class DeletedShape(TypedDict):
    name: str
    deleted: bool


class KeyShape(TypedDict):
    """A team's key, without its secret. `state`: active, expiring, expired or revoked."""

    id: str
    team: str
    label: str
    provisioned: bool
    state: str
    created_at: str | None
    expires_at: str | None
    revoked_at: str | None
    replaces: str | None


class KeysShape(TypedDict):
    data: list[KeyShape]
    next: str | None


class IssuedShape(KeyShape):
    """A new key. `key` is the whole of it, shown this once."""

    key: str


class RotatedShape(IssuedShape):
    replaced: KeyShape


class CountersShape(TypedDict):
    hits: int
    joined: int
    started: int
    failed: int
    images_generated: int
    images_cache: int
    spent_usd: float
    saved_usd: float
    saved_hit_usd: float
    saved_joined_usd: float
    bypassed: int
    bypassed_usd: float


class UsageRowShape(CountersShape):
    """One row of the report; of `day`, `team`, `model` those that it was asked by."""

    day: NotRequired[str]
    team: NotRequired[str]
    model: NotRequired[str]


UsageShape = TypedDict(
    "UsageShape",
    {
        "from": str,
        "to": str,
        "timezone": str,
        "by": list[str],
        "data": list[UsageRowShape],
        "totals": CountersShape,
    },
)


class RunShape(TypedDict):
    id: str
    team: str
    model: str
    quality: str
    n: int
    state: str
    route: str
    prompt: str
    created_at: str
    finished_at: str | None
    seconds: float | None
    price_usd: float
    held_usd: float
    spent_usd: float
    joins: int
    attempts: int
    failure: str | None


class RunsShape(TypedDict):
    data: list[RunShape]
    next: str | None


class FailureShape(TypedDict):
    kind: str
    code: str
    message: str
    status: int | None


class WholeRunShape(TypedDict):
    """Everything about a run; `failure` in full."""

    id: str
    team: str
    model: str
    quality: str
    size: str | None
    n: int
    state: str
    route: str
    prompt: str
    request: dict[str, Any]
    created_at: str
    accepted_at: str | None
    upstream_finished_at: str | None
    finished_at: str | None
    deadline_at: str
    seconds: float | None
    price_usd: float
    held_usd: float
    spent_usd: float
    joins: int
    attempts: int
    tried: list[str]
    upstream_task_id: str | None
    credits_used: float | None
    shared: bool
    failure: FailureShape | None


class TimingsShape(TypedDict):
    """Seconds; None where the run has not come so far."""

    waiting_seconds: float | None
    upstream_seconds: float | None
    keeping_seconds: float | None
    total_seconds: float | None


class StepShape(TypedDict):
    at: str
    event: str
    before: str
    after: str
    route: str
    detail: str


class RunTaskShape(TypedDict):
    """`labels` are the order's `user`, `safety_identifier` and `metadata`, where it had them."""

    id: str
    team: str
    verdict: str
    created_at: str
    labels: dict[str, object]


class PictureShape(TypedDict):
    """A kept picture. An erased one has no prompt any more, and its URL answers 404."""

    digest: str
    url: str
    team: str
    model: str
    prompt: str
    run: str
    task: str
    size_bytes: int
    width: int
    height: int
    created_at: str
    erased_at: str | None


class PicturesShape(TypedDict):
    data: list[PictureShape]
    next: str | None


class SetAsideShape(TypedDict):
    """Paid bytes that are no picture. `kind` is what they begin like, `media_type` what the other
    side calls them; `name` is the place where they are fetched."""

    name: str
    run: str
    index: int
    team: str
    upstream: str
    host: str
    media_type: str
    kind: str
    reason: str
    digest: str
    size_bytes: int
    at: str


class UnprovenShape(TypedDict):
    data: list[SetAsideShape]
    next: str | None


class RefusalShape(TypedDict):
    """A refused order, by the id of its request; what went on all the same did so as `task`."""

    id: str
    request_id: str
    at: str
    team: str
    model: str
    verdict: str
    mode: str
    reason: str
    rule: str
    message: str
    param: str | None
    task: str | None


class RefusalsShape(TypedDict):
    data: list[RefusalShape]
    next: str | None


class ExplanationShape(TypedDict):
    """Why an order went the way it did. `kind`: run or refusal; `summary` says it in words.

    `others` are further refusals whose requests are called alike.
    """

    kind: str
    summary: str
    run: WholeRunShape | None
    timings: TimingsShape | None
    steps: list[StepShape]
    tasks: list[RunTaskShape]
    tasks_total: int
    pictures: list[PictureShape]
    set_aside: list[SetAsideShape]
    refusal: RefusalShape | None
    others: list[RefusalShape]


class CacheRequestsShape(TypedDict):
    hit: int
    miss: int
    stale: int


class CacheShape(TypedDict):
    entries: int
    bytes: int
    size_limit_bytes: int
    ttl_seconds: float
    requests: CacheRequestsShape


class PurgedShape(TypedDict):
    """How many finished runs answer nobody any more."""

    purged: int


class CallbackShape(TypedDict):
    """One call that is owed, or was made; of its URL only the host is told."""

    id: str
    kind: str
    task: str | None
    team: str
    host: str
    state: str
    attempts: int
    status: int | None
    error: str | None
    created_at: str
    due_at: str
    ended_at: str | None


class CallbacksShape(TypedDict):
    data: list[CallbackShape]
    next: str | None


class ChangeShape(TypedDict):
    """One act of an operator; `actor` is the start of the digest of the admin key."""

    id: str
    at: str
    actor: str
    action: str
    subject: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class ChangesShape(TypedDict):
    data: list[ChangeShape]
    next: str | None


class SettingsShape(TypedDict):
    """The effective settings, secrets masked."""

    settings: dict[str, Any]
    notices: list[str]


class ReloadedShape(TypedDict):
    reloaded: bool
    restart_needed: list[str]
    notices: list[str]


class RouteHealthShape(TypedDict):
    route: str
    upstream: str
    model: str
    state: str
    up: bool


class QueueShape(TypedDict):
    due: int
    callbacks_pending: int


class DiskShape(TypedDict):
    free_bytes: int | None
    floor_bytes: int


class PictureTotalsShape(TypedDict):
    count: int
    bytes: int


class CacheTotalsShape(TypedDict):
    entries: int
    bytes: int


class LedgerHealthShape(TypedDict):
    violations: int | None
    checked_at: str | None


class ReloadHealthShape(TypedDict):
    reloaded_at: str | None
    successful: bool


class HealthShape(TypedDict):
    ready: bool
    reasons: list[str]
    version: str
    started_at: str
    now: str
    routes: list[RouteHealthShape]
    runs: dict[str, int]
    oldest_unkept_seconds: float | None
    queue: QueueShape
    disk: DiskShape
    pictures: PictureTotalsShape
    cache: CacheTotalsShape
    ledger: LedgerHealthShape
    settings: ReloadHealthShape


class OverviewShape(TypedDict):
    """The operator's numbers at a glance."""

    spent_today_usd: float
    spent_month_usd: float
    saved_month_usd: float
    teams: int
    models: list[str]
    public_url: str
    timezone: str


class PriceShape(TypedDict):
    """US dollars per picture for these values; the first that fits counts."""

    usd: float
    size: NotRequired[str]
    quality: NotRequired[str]
    resolution: NotRequired[str]


class OfferShape(TypedDict):
    """A model as the team may use it. None: upstream judges."""

    id: str
    sizes: list[str] | None
    qualities: list[str] | None
    max_n: int
    max_image_urls: int
    prompt_tokens: int | None
    prices: list[PriceShape]


class TeamSummaryShape(TypedDict):
    team: str
    mode: str
    standing: list[StandingShape]
    spent_usd: float
    spent_month_usd: float
    saved_usd: float
    models: list[OfferShape]
    timezone: str
    public_url: str
