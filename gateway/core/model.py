"""The records of the work: orders, runs, jobs, pictures, what is owed for them.

All are frozen values; changing one means making another. Money is integer micro-dollars
(1 USD = 1,000,000), times are Unix seconds (UTC, float), durations are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from gateway.core.money.accounts import NOTHING, Amounts, Windows


@dataclass(frozen=True, slots=True)
class Order:
    """A valid, canonical request for pictures.

    `body` is what upstream will get except for `model`, which each route names in its own
    way; callback, idempotency and trace fields are not in it, nor `labels`: whom or what it is
    for. `digests` tells of reference pictures whose bytes are known: URL → SHA-256 (hex); they
    count by their bytes. `filled` names the fields that the caller left out and a default gave: the
    order is the same one without it.
    """

    model: str
    prompt: str
    n: int
    size: str | None
    quality: str | None
    body: Mapping[str, object]
    callback_url: str | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, object] = field(default_factory=dict)
    filled: frozenset[str] = field(default=frozenset(), compare=False)


@dataclass(frozen=True, slots=True)
class Freshness:
    """What the caller's `Cache-Control` asks of the cache (RFC 9111, section 5.2.1)."""

    no_cache: bool = False
    no_store: bool = False
    only_if_cached: bool = False
    max_age_seconds: float | None = None


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


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a run's links have given in a row instead of its pictures.

    `since` is when that began, `body` a digest (hex) of the bytes that came last, empty when none
    came, `times` how often in a row it was those.
    """

    since: float
    body: str
    times: int


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

    `request` is the canonical JSON that goes upstream (without `model`), `task` what upstream has
    told of it last (`docket`), `links` the result links in that. `windows` are those that were in
    force when it was ordered; it is charged to every account of the time of its `created_at`.
    `shared` says whether others may join it while it runs and be answered from it later,
    `superseded` that it would be but for a newer run (`sharing`), `bypassed` that its client passed
    by the cache to have it. `joins` counts the joined jobs per team. `tries` counts the failures in
    a row of the step at hand and sets the back-off; `tried` names the routes whose tasks failed for
    it, or that declined it again and again: they are not asked again. `besides_usd_micros` is what
    it costs at most on its route beside the price of its pictures; `billed_usd_micros` is what
    upstream itself says it costs, where it says so with the pictures. `told_at`: since when whoever
    orders it is answered with a task (`answered`), for good. `trouble` tells of links that are dead
    so far. A live run that has `spent` failed once, and is tried again.
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
    superseded: bool = False
    bypassed: bool = False
    joins: tuple[tuple[str, int], ...] = ()
    attempts: int = 1
    tries: int = 0
    tried: tuple[str, ...] = ()
    upstream_task_id: str | None = None
    accepted_at: float | None = None
    told_at: float | None = None
    upstream_finished_at: float | None = None
    finished_at: float | None = None
    task: str = "{}"
    links: tuple[str, ...] = ()
    kept: tuple[Kept, ...] = ()
    credits_used: float | None = None
    besides_usd_micros: int = 0
    billed_usd_micros: int | None = None
    failure: Failure | None = None
    trouble: Trouble | None = None
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
    def ceiling_usd_micros(self) -> int:
        """What is held for it on its route: the most that it can cost by the settings."""
        return self.price_usd_micros * self.n + self.besides_usd_micros

    @property
    def over_hold_usd_micros(self) -> int:
        """By how much upstream's bill is more than that."""
        return max(0, (self.billed_usd_micros or 0) - self.ceiling_usd_micros)

    @property
    def is_paid_in_vain(self) -> bool:
        """Whether it ended without pictures and counts as spent all the same."""
        return self.state is RunState.FAILED and bool(self.spent.usd_micros or self.spent.images)

    @property
    def pictures(self) -> tuple[Picture, ...]:
        return tuple(kept.picture for kept in self.kept)


class Verdict(StrEnum):
    HIT = "hit"
    JOINED = "joined"
    STARTED = "started"
    DENIED = "denied"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Job:
    """Our promise to one caller; `id` is the public task id, `labels` the order's own (JSON)."""

    id: str
    run_id: str
    team: str
    verdict: Verdict
    created_at: float
    callback_url: str | None = None
    labels: str = "{}"


class Task(NamedTuple):
    """What a client knows as its task: the job, and the run that it waits for or that answers."""

    job: Job
    run: Run


@dataclass(frozen=True, slots=True)
class Claim:
    """An `Idempotency-Key` that a team has used: `digest` is of the order it came with, in one or
    two parts (`fingerprint.claim_name`)."""

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

    The same bytes have a record for each run that made them. An erased one keeps its row and its
    numbers; `prompt` is empty then. `removed_at` is when its bytes were gone. `task_id` is a task
    that shows it: in a team's gallery, one of the team's.
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

    @property
    def key(self) -> str:
        """Names the record among all; in the order of the digests."""
        return f"{self.picture.digest}/{self.run_id}"


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
    """An increment of the roll-up of one team, model and day (day: the window's start).

    `bypassed` are those of `started` whose clients passed by the cache, `spent_bypassed` what
    they cost. `done` got their pictures, `spent_failed` is what failed ones cost all the same; what
    is neither done nor failed is under way. What is told of failed ones may be negative: one is
    tried again.
    """

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
    bypassed: int = 0
    spent_bypassed_usd_micros: int = 0
    done: int = 0
    spent_failed_usd_micros: int = 0
