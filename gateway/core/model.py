"""The records everything else speaks of: orders, runs, jobs, accounts, pictures, teams, models.

All are frozen values; changing one means making another. Money is integer micro-dollars
(1 USD = 1,000,000), times are Unix seconds (UTC, float), durations are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

USD_MICROS = 1_000_000


# --- what is asked for ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Order:
    """A valid, canonical request for pictures.

    `body` is what upstream will get except for `model`, which each route names in its own
    way; callback, idempotency and trace fields are not in it. `digests` tells of reference
    pictures whose bytes are known: URL → SHA-256 (hex); they count by their bytes.
    """

    model: str
    prompt: str
    n: int
    size: str | None
    quality: str | None
    body: Mapping[str, object]
    callback_url: str | None = None
    digests: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Freshness:
    """What the caller's `Cache-Control` asks of the cache (RFC 9111, section 5.2.1)."""

    no_cache: bool = False
    no_store: bool = False
    only_if_cached: bool = False
    max_age_seconds: float | None = None


# --- money and counts ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Amounts:
    """What a run holds or has spent: money, pictures and run slots together."""

    usd_micros: int = 0
    images: int = 0
    runs: int = 0

    def __add__(self, other: Amounts) -> Amounts:
        return Amounts(
            self.usd_micros + other.usd_micros, self.images + other.images, self.runs + other.runs
        )

    def __sub__(self, other: Amounts) -> Amounts:
        return Amounts(
            self.usd_micros - other.usd_micros, self.images - other.images, self.runs - other.runs
        )

    def __bool__(self) -> bool:
        return bool(self.usd_micros or self.images or self.runs)


NOTHING = Amounts()


class Window(StrEnum):
    """A calendar window of the operator's time zone. `total` has one window, for ever."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    TOTAL = "total"


@dataclass(frozen=True, slots=True)
class Windows:
    """The start (Unix seconds) of each calendar window that one instant lies in."""

    minute: int
    hour: int
    day: int
    week: int
    month: int

    def start(self, window: Window) -> int:
        return 0 if window is Window.TOTAL else int(getattr(self, window.value))

    def account_keys(self, team: str) -> tuple[AccountKey, ...]:
        """The team's accounts in all these windows."""
        return tuple(AccountKey(team, window, self.start(window)) for window in Window)


@dataclass(frozen=True, slots=True)
class AccountKey:
    team: str
    window: Window
    start: int


@dataclass(frozen=True, slots=True)
class Account:
    """One team's spent and held amounts in one budget window.

    `held` is the sum of the holds of the runs created in that window, `spent` the sum of what
    they really cost; both change only together with those runs.
    """

    key: AccountKey
    spent: Amounts = NOTHING
    held: Amounts = NOTHING


class Measure(StrEnum):
    """What a cap counts. `live` is runs going on at this moment; the others accumulate."""

    USD = "usd"
    IMAGES = "images"
    RUNS = "runs"
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class Cap:
    """A limit on one measure in one window. `limit` is micro-dollars for `usd`, else a count."""

    measure: Measure
    window: Window
    limit: int

    @property
    def rule(self) -> str:
        """The rule's name in denials, logs and metrics, such as `usd_per_day`."""
        if self.measure is Measure.LIVE:
            return "concurrent_runs"
        if self.window is Window.TOTAL:
            return f"{self.measure}_total"
        return f"{self.measure}_per_{self.window}"


# --- who and what: the settings as the core sees them ----------------------------------------


class Mode(StrEnum):
    ENFORCE = "enforce"
    SHADOW = "shadow"


class CacheScope(StrEnum):
    TEAM = "team"
    ORGANIZATION = "organization"


class ReferenceMode(StrEnum):
    """Whether a link to a reference picture is trusted to name one picture, or looked behind."""

    TRUST = "trust"
    FETCH = "fetch"


@dataclass(frozen=True, slots=True)
class Allow:
    """What a team may ask for. None means anything the model offers."""

    models: frozenset[str] | None = None
    sizes: frozenset[str] | None = None
    qualities: frozenset[str] | None = None
    max_n: int | None = None


@dataclass(frozen=True, slots=True)
class Team:
    name: str
    caps: tuple[Cap, ...] = ()
    allow: Allow = Allow()
    cache_scope: CacheScope = CacheScope.TEAM
    mode: Mode = Mode.ENFORCE
    references: ReferenceMode = ReferenceMode.TRUST


@dataclass(frozen=True, slots=True)
class PriceRule:
    """A price per picture for orders whose fields equal `match`; an empty match fits all."""

    usd_micros: int
    match: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """One way to have a public model's pictures made: upstream, its model's name, its price."""

    upstream: str
    model: str
    prices: tuple[PriceRule, ...]

    @property
    def name(self) -> str:
        return f"{self.upstream}/{self.model}"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a model accepts. None means that upstream judges."""

    prompt_tokens: int | None = None
    prompt_characters: int | None = None
    max_n: int = 10
    max_image_urls: int = 16
    sizes: frozenset[str] | None = None
    qualities: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class ImageModel:
    """A public model: the name clients send, and what the gateway makes of it."""

    name: str
    routes: tuple[Route, ...]
    limits: Limits = Limits()
    defaults: tuple[tuple[str, object], ...] = ()
    deadline_seconds: float = 900.0


@dataclass(frozen=True, slots=True)
class Catalog:
    """All public models, findable by name and by alias."""

    models: Mapping[str, ImageModel]
    aliases: Mapping[str, str] = field(default_factory=dict)

    def find(self, name: str) -> ImageModel | None:
        return self.models.get(self.aliases.get(name, name))


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a running task is asked after, in seconds."""

    first_seconds: float = 3.0
    every_seconds: float = 4.0
    max_seconds: float = 15.0


# --- what is made --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Picture:
    """A kept picture. `digest` is the SHA-256 of its bytes in hex; it names the picture."""

    digest: str
    extension: str
    size_bytes: int
    width: int
    height: int

    @property
    def name(self) -> str:
        return f"{self.digest}.{self.extension}"


@dataclass(frozen=True, slots=True)
class Kept:
    """A result link of upstream and the picture that was kept from it."""

    link: str
    picture: Picture


class RunState(StrEnum):
    SUBMITTING = "submitting"
    QUEUED = "queued"
    UNSURE = "unsure"
    RUNNING = "running"
    KEEPING = "keeping"
    DONE = "done"
    FAILED = "failed"


FINAL_STATES = frozenset({RunState.DONE, RunState.FAILED})
LIVE_STATES = frozenset(RunState) - FINAL_STATES


class FailureKind(StrEnum):
    """Why a run failed; the wire turns this into a status and a text."""

    REFUSED = "refused"  # upstream refused this request; `status` and `body` are its own
    CREDENTIALS = "credentials"  # upstream refused the organisation's key or balance
    UNAVAILABLE = "unavailable"  # no route was up before the deadline
    OUTCOME_UNKNOWN = "outcome_unknown"  # submitted, and the answer was lost
    TASK_FAILED = "task_failed"  # upstream's task failed; `code` and `message` are its own
    TIMED_OUT = "timed_out"  # accepted, and not finished before the deadline
    RESULT_LOST = "result_lost"  # finished, and a picture could not be kept


@dataclass(frozen=True, slots=True)
class Failure:
    kind: FailureKind
    code: str
    message: str
    status: int | None = None
    body: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One paid piece of work upstream; many jobs may wait for one run.

    `request` is the canonical JSON that goes upstream (without `model`), `task` the last task
    object upstream showed (JSON), `links` the result links in it. `shared` says whether others
    may join it while it runs and be answered from it later. `joins` counts the joined jobs per
    team. `tries` counts the failures in a row of the step at hand and sets the back-off;
    `tried` names the routes whose tasks failed for it: they are not asked again.
    `lease_owner` names the worker that may act on it until `lease_until`.
    """

    id: str
    fingerprint: str
    team: str
    model: str
    quality: str
    n: int
    request: str
    upstream: str
    upstream_model: str
    price_usd_micros: int
    windows: Windows
    hold: Amounts
    created_at: float
    deadline_at: float
    due_at: float
    state: RunState = RunState.SUBMITTING
    spent: Amounts = NOTHING
    shared: bool = True
    joins: tuple[tuple[str, int], ...] = ()
    attempts: int = 1
    tries: int = 0
    tried: tuple[str, ...] = ()
    upstream_task_id: str | None = None
    accepted_at: float | None = None
    upstream_finished_at: float | None = None
    finished_at: float | None = None
    task: str = "{}"
    links: tuple[str, ...] = ()
    kept: tuple[Kept, ...] = ()
    credits_used: float | None = None
    failure: Failure | None = None
    lease_owner: str | None = None
    lease_until: float = 0.0

    @property
    def is_final(self) -> bool:
        return self.state in FINAL_STATES

    @property
    def route(self) -> str:
        """The name of the route it is on, as in `Route.name`."""
        return f"{self.upstream}/{self.upstream_model}"

    @property
    def pictures(self) -> tuple[Picture, ...]:
        return tuple(kept.picture for kept in self.kept)

    def account_keys(self) -> tuple[AccountKey, ...]:
        """The accounts this run is charged to: the team's windows it was created in."""
        return self.windows.account_keys(self.team)


class Verdict(StrEnum):
    HIT = "hit"
    JOINED = "joined"
    STARTED = "started"
    DENIED = "denied"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Job:
    """Our promise to one caller; `id` is the public task id."""

    id: str
    run_id: str
    team: str
    verdict: Verdict
    created_at: float
    callback_url: str | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """An `Idempotency-Key` that a team has used: `digest` is of the order it came with."""

    team: str
    key: str
    digest: str
    job_id: str
    created_at: float


class DeliveryState(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One call that is owed to somebody outside: a row of the outbox.

    A callback is owed to a job and says what a poll says when it is made. An alert has no job:
    `body` (JSON) is what it says. `id` is the `webhook-id`, the same at every attempt. `status`
    and `error` tell of the last attempt. A worker may act on it only under its lease.
    """

    id: str
    job_id: str | None
    team: str
    url: str
    created_at: float
    due_at: float
    state: DeliveryState = DeliveryState.PENDING
    attempts: int = 0
    status: int | None = None
    error: str | None = None
    ended_at: float | None = None
    lease_owner: str | None = None
    lease_until: float = 0.0
    body: str | None = None


@dataclass(frozen=True, slots=True)
class KeptPicture:
    """A picture on record: what it is, whose run made it, from which prompt.

    An erased one keeps its row and its numbers; `prompt` is empty then. `removed_at` is when its
    bytes were gone. `task_id` is a task that shows it: in a team's gallery, one of the team's.
    """

    picture: Picture
    run_id: str
    team: str
    model: str
    prompt: str
    created_at: float
    task_id: str = ""
    erased_at: float | None = None
    removed_at: float | None = None


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that a team sent to upstream's file store through us.

    `digest` is the SHA-256 (hex) of its bytes, `urls` every link upstream named for it.
    """

    id: str
    team: str
    upstream: str
    digest: str
    name: str
    size_bytes: int
    urls: tuple[str, ...]
    created_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class Usage:
    """An increment of the roll-up of one team, model and day (day: the window's start)."""

    team: str
    model: str
    day: int
    hits: int = 0
    joined: int = 0
    started: int = 0
    failed: int = 0
    images_generated: int = 0
    images_cache: int = 0
    spent_usd_micros: int = 0
    saved_hit_usd_micros: int = 0
    saved_joined_usd_micros: int = 0
