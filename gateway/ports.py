"""The few things the gateway needs from the world, as small protocols.

The comments are the contract; one suite per port holds every adapter to it. Adapters translate
foreign exceptions at their boundary: what is not named here does not come out.
"""

from __future__ import annotations

from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar

from gateway.core.accounts import Account, AccountKey
from gateway.core.addresses import Address
from gateway.core.admission import Denial
from gateway.core.catalog import Mode
from gateway.core.events import Event, PollEvent, SubmitEvent
from gateway.core.history import Refusal, Step
from gateway.core.invariants import Violation
from gateway.core.model import (
    Delivery,
    DeliveryState,
    Job,
    KeptPicture,
    Picture,
    Run,
    RunState,
    Upload,
    Usage,
    Verdict,
)
from gateway.core.outbox import Outcome
from gateway.core.pictures import Origin, SetAside
from gateway.core.roster import Change, ManagedTeam, TeamKey
from gateway.core.transaction import Decide, Keys
from gateway.core.turns import ANY

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Old:
    """What may be pruned: rows from before these times (Unix seconds)."""

    jobs_before: float
    claims_before: float
    accounts_before: float
    uploads_before: float
    refusals_before: float = 0.0


Mark = tuple[float, str]
"""Where a list goes on, newest first: the time and the id of the last row that was shown."""


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs; None and empty mean any. Times are of their creation: [since, until)."""

    team: str | None = None
    model: str | None = None
    states: tuple[RunState, ...] = ()
    route: tuple[str, str] | None = None
    verdict: Verdict | None = None
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class RefusalFilter:
    team: str | None = None
    verdict: str | None = None
    reason: str | None = None
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class PictureFilter:
    """Which pictures; `text` is part of the prompt, whatever its case."""

    team: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    text: str | None = None
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    team: str | None = None
    job_id: str | None = None
    state: DeliveryState | None = None


@dataclass(frozen=True, slots=True)
class ChangeFilter:
    """Which changes; a subject also means what belongs to it, as a key to its team (`team/id`)."""

    subject: str | None = None
    action: str | None = None
    actor: str | None = None


class UsagePart(StrEnum):
    """What a usage report keeps apart."""

    DAY = "day"
    TEAM = "team"
    MODEL = "model"


Clock = Callable[[], float]
"""Unix seconds, UTC. Injected everywhere, so that tests own time."""


class Ledger(Protocol):
    """Runs, jobs, accounts and usage: never lost, never wrong (ACID).

    Every method raises `gateway.errors.Unavailable` when the store cannot be reached or is
    full, and nothing else but what `transact` says; after that error nothing was written.
    """

    async def open(self) -> None:
        """Makes or migrates the store and takes hold of it. Called once, before all else.

        A store that only one process may use is locked here, and the leases of its former
        holder are void from then on.
        """

    async def close(self) -> None:
        """Finishes what is under way and lets go. Safe to call twice."""

    async def transact(self, keys: Keys, decide: Decide[T]) -> T:
        """Loads what `keys` name (locked), calls `decide`, writes what it returns, commits.

        Durable when it returns. `decide` is pure and may be called more than once. When it
        raises, nothing is written and its exception comes out unchanged; so it is when its
        writes break a constraint (`gateway.core.transaction.ConstraintViolation`). Cancelling
        the caller does not cancel the transaction.
        """

    async def job(self, job_id: str) -> tuple[Job, Run] | None:
        """The job and the run it points to; None when there is no such job."""

    async def tasks(
        self,
        team: str,
        *,
        states: Sequence[RunState],
        page: int,
        page_size: int,
        model: str | None = None,
    ) -> tuple[Sequence[tuple[Job, Run]], int]:
        """One page (from 1) of the team's jobs whose runs are in these states, newest first.

        With `model` only those of that model. The number is that of all of them.
        """

    async def jobs(self, team: str, job_ids: Sequence[str]) -> Sequence[tuple[Job, Run]]:
        """Those of these jobs that are the team's, in the order asked; the others are absent."""

    async def lease(self, owner: str, *, now: float, until: float, limit: int) -> Sequence[Run]:
        """Takes up to `limit` live runs that are due (`due_at` ≤ now) and not leased beyond `now`.

        The longest due first; each comes back with its new lease, which no one else gets
        before `until`.
        """

    async def next_due(self, now: float) -> float | None:
        """When the next live run can be leased: the smallest of max(due_at, lease_until)."""

    async def lease_deliveries(
        self, owner: str, *, now: float, until: float, limit: int, share: int = ANY
    ) -> Sequence[Delivery]:
        """As `lease`, for pending callbacks of the outbox: the longest due first.

        Its parties are the teams and, for alerts, the operator: none has more than `share` in
        hand.
        """

    async def next_delivery_due(self) -> float | None:
        """When the next pending callback can be leased."""

    async def delivery(self, delivery_id: str) -> Delivery | None: ...

    async def deliveries(
        self, asked: DeliveryFilter, *, after: Mark | None, limit: int
    ) -> Sequence[Delivery]:
        """Callbacks and alerts, newest first, from behind `after`."""

    async def uploads(
        self, team: str, *, now: float, page: int, page_size: int
    ) -> tuple[Sequence[Upload], int]:
        """One page (from 1) of the team's files that upstream still has, and how many there are.

        The newest come first.
        """

    async def upload(self, team: str, upload_id: str) -> Upload | None:
        """The team's file, whether upstream still has it or not."""

    async def digests(self, team: str, urls: Sequence[str]) -> Mapping[str, str]:
        """URL → digest for those URLs that name a file the team has uploaded."""

    async def forget_upload(self, team: str, upload_id: str) -> None:
        """Deletes the record; one that is not there is no error."""

    async def accounts(self, keys: Iterable[AccountKey]) -> Mapping[AccountKey, Account]:
        """The accounts as last committed, each with what its runs have."""

    async def usage(
        self, *, since_day: int | None = None, until_day: int | None = None
    ) -> Sequence[Usage]:
        """Totals by team and model over the days in [since, until); `day` is 0 in them."""

    async def usage_by_day(
        self,
        *,
        since_day: int,
        until_day: int,
        team: str | None = None,
        model: str | None = None,
        by: Collection[UsagePart] = frozenset(UsagePart),
    ) -> Sequence[Usage]:
        """The roll-up for the days in [since, until), ordered by day, team, model.

        What is not in `by` is summed over, and empty (0 for the day) in the answer. Without any
        of them it is one row, or none when there was no usage.
        """

    async def run_counts(self) -> Mapping[RunState, int]:
        """How many runs are in each state; every state is there."""

    async def oldest_unkept(self) -> float | None:
        """When upstream finished the oldest run whose pictures are not kept yet."""

    async def picture_totals(self) -> tuple[int, int]:
        """How many pictures the finished runs own, and their bytes."""

    async def pictures(self, *, after: str, limit: int) -> Sequence[Picture]:
        """The pictures that the finished runs own, by digest, each once: up to `limit` of them.

        They begin behind the digest `after`; the first page is behind the empty one. Erased ones
        are absent, here and in the totals.
        """

    async def roster(self) -> tuple[Sequence[ManagedTeam], Sequence[TeamKey]]:
        """All teams made at run time, deleted ones too, by name; and every key of them, oldest
        first."""

    async def changes(
        self, asked: ChangeFilter, *, after: Mark | None, limit: int
    ) -> Sequence[Change]:
        """What operators did, newest first, from behind `after`."""

    async def run(self, run_id: str) -> Run | None: ...

    async def runs(self, asked: RunFilter, *, after: Mark | None, limit: int) -> Sequence[Run]:
        """Runs, the newest by creation first, from behind `after`.

        With a verdict: those that have, or had, a task with it.
        """

    async def steps(self, run_id: str) -> Sequence[Step]:
        """The life of a run, in order; empty for one from before steps were written."""

    async def jobs_of_run(self, run_id: str, *, limit: int) -> tuple[Sequence[Job], int]:
        """The first jobs of the run, oldest first, and how many there are."""

    async def refusals_named(self, name: str, *, limit: int) -> Sequence[Refusal]:
        """Those with this id, or whose request was called so: each team's newest first, so that
        no team's names hide those of another."""

    async def refusals(
        self, asked: RefusalFilter, *, after: Mark | None, limit: int
    ) -> Sequence[Refusal]:
        """Refused orders, newest first, from behind `after`."""

    async def find_pictures(
        self, asked: PictureFilter, *, after: Mark | None, limit: int
    ) -> Sequence[KeptPicture]:
        """Pictures on record, newest first, from behind `after` (time and key).

        The same bytes are there once for each run that made them.
        """

    async def gallery(
        self, team: str, asked: PictureFilter, *, after: Mark | None, limit: int
    ) -> Sequence[KeptPicture]:
        """The pictures that the team's own tasks show, each run's once, newest first.

        Also those that another team's run made, where the team was answered with them. `created_at`
        is when the team first asked for them, `task_id` that task. Erased ones are absent.
        """

    async def unremoved(self, *, limit: int) -> Sequence[KeptPicture]:
        """Pictures that are erased and whose bytes may still be there."""

    async def retire(self, *, team: str | None, limit: int) -> Sequence[str]:
        """Takes up to `limit` finished runs out of the cache for good, and returns their
        fingerprints: from now on nobody is answered from them. Their pictures and numbers stay."""

    async def scrub(self) -> None:
        """What was deleted or overwritten up to now is in none of the store's files any more.

        Raises `Unavailable` while somebody still reads an older state: then it may be tried again.
        """

    async def store_id(self) -> str | None:
        """The id of the picture store that belongs to this ledger; None before there is one."""

    async def note_store(self, store_id: str) -> None:
        """That picture store belongs to this ledger, and no other one."""

    async def violations(self) -> Sequence[Violation]:
        """Every invariant that is broken, with where; empty when the ledger adds up."""

    async def prune(self, old: Old, *, limit: int) -> int:
        """Deletes old narrow rows, at most `limit` of each kind, and returns how many.

        Jobs whose run is final, with their ended callbacks; claims; uploads that upstream has
        forgotten; accounts of minute and hour windows that hold nothing; refusals; ended alerts
        from before `jobs_before`. Runs stay for ever.
        """

    async def credits(self, upstream: str) -> tuple[float, int]:
        """What this upstream reported for all its runs so far, in credits, and how many of its
        runs are live."""


class ResponseCache(Protocol):
    """Fingerprint → finished run. Disposable: losing it costs a ledger read, never money.

    It fails open: a broken cache answers None, stores nothing, and never raises.
    """

    async def get(self, fingerprint: str) -> Run | None:
        """The finished run stored for it, or None."""

    async def put(self, run: Run, *, ttl_seconds: float) -> None:
        """Stores a finished run under its fingerprint, for at most that long."""

    async def delete(self, fingerprint: str) -> None: ...

    async def forget(self, fingerprints: Sequence[str]) -> None:
        """As `delete`, and nothing of them stays in any file; if need be, nothing of anything."""

    async def clear(self) -> None:
        """Forgets everything."""

    async def size(self) -> tuple[int, int]:
        """Entries and bytes."""

    async def close(self) -> None: ...


class Pictures(Protocol):
    """Image bytes by digest: written once, immutable, permanent."""

    async def keep(
        self, body: AsyncIterator[bytes], *, max_bytes: int, origin: Origin | None = None
    ) -> Picture:
        """Stores a whole, proven picture durably. Keeping the same bytes twice is harmless.

        It is proven in the turn of the `origin`'s team. Raises `NotAPicture`, `PictureTooLarge`
        or `StoreFull` (gateway.core.pictures); what `body` raises comes out unchanged. After any
        of them nothing is left behind, but that of an `origin` what is no picture is set aside.
        """

    async def describe(
        self, picture: Picture, sidecar: Mapping[str, object], *, anew: bool = False
    ) -> None:
        """Writes the picture's provenance beside it, once: the first writer wins, unless `anew`."""

    async def readable(self, pictures: Sequence[Picture]) -> bool:
        """True when every one of them is there in its full size.

        Raises `StoreFull` when the store cannot tell: then a picture that is not found may be
        there all the same, as when the disk is not mounted (`StoreAway`).
        """

    async def require(self) -> None:
        """Raises `StoreAway` when the store is not itself, `StoreFull` when nobody can tell."""

    async def problem(self) -> str | None:
        """Why pictures cannot be kept now, in a few words; None when they can."""

    async def remove(self, picture: Picture) -> None:
        """Takes the bytes and the provenance away for good; none there is no error.

        Raises `StoreFull` when the store cannot be written.
        """

    async def set_aside(self, run_id: str | None = None) -> Sequence[SetAside]:
        """The bytes that are set aside, of one run or of all, newest first; a bounded number.

        Raises `StoreFull` when the store cannot be read, as all do that follow.
        """

    async def set_aside_content(self, name: str) -> AsyncIterator[bytes] | None:
        """What is set aside under this name, in chunks; None when nothing is."""

    async def forget_set_aside(self, run_id: str) -> None:
        """Takes away what is set aside of this run; nothing there is no error."""

    async def free_bytes(self) -> int:
        """The room left for more."""

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class UsedCredits:
    """The credits that a vendor account counts as used so far.

    `account` tells one account from another without giving anything of its key away.
    """

    account: str
    used: float


class Upstream(Protocol):
    """One vendor account. Its answers are read here and come out as events of the lifecycle."""

    async def submit(self, run: Run) -> SubmitEvent:
        """Sends the run's request once. Never raises: what happened is the event."""

    async def poll(self, upstream_task_id: str) -> PollEvent:
        """Asks after a task once. Never raises."""

    async def credits(self) -> UsedCredits | None:
        """Asks what the account has used, once; None when it did not tell. Never raises."""

    async def aclose(self) -> None: ...


class Resolver(Protocol):
    """Looks up the addresses of a name."""

    async def __call__(self, name: str, port: int, *, team: str = "") -> Sequence[Address]:
        """The name's addresses in the order to try; `team` is whose call it is for, if any's.

        Raises OSError when there are none.
        """


class Links(Protocol):
    """Result links, read without credentials and only from allowed addresses."""

    def stream(
        self, url: str, *, max_bytes: int, timeout_seconds: float
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The bytes behind a link, in chunks. They may have a `media_type`: what the other side
        calls them.

        Raises, on entering or while reading, `LinkDead` (asking again is no use) or
        `LinkBroken` (it may work later), both in gateway.core.pictures.
        """

    async def aclose(self) -> None: ...


class Proof(Protocol):
    """Proves pictures that are not kept."""

    async def prove(self, body: AsyncIterator[bytes], *, max_bytes: int, team: str = "") -> Picture:
        """What the bytes are: one whole picture. Nothing of it stays behind.

        Raises as `Pictures.keep` does.
        """


class FormField(StrEnum):
    """What a caller may say about a file that goes up."""

    FOLDER = "folder"
    NAME = "name"


@dataclass(frozen=True, slots=True)
class FormFile:
    """The head of the file in a form; the bytes that follow are its content."""

    name: str
    media_type: str


FormPiece = tuple[FormField, str] | FormFile | bytes
"""A form while it comes in: its fields, the head of its file, pieces of that file's content."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that upstream has taken. `urls` is every link that it named for the file.

    `answer` is the whole answer, in upstream's shape, without the folder that we put in front.
    """

    id: str
    name: str
    size_bytes: int
    urls: tuple[str, ...]
    expires_at: float | None
    answer: Mapping[str, object]


class FileStore(Protocol):
    """The file store of one vendor account, used with the organisation's key.

    `folder` is where a file goes: the caller's own wish lies inside it, whatever that says, and
    no answer shows it. Every method raises `UpstreamRefusal` with the store's own words when the
    request is at fault and `UpstreamError` when the store is, both in gateway.errors.
    """

    async def upload_form(self, form: AsyncIterator[FormPiece], *, folder: str) -> StoredFile:
        """Sends the form on while it comes in. What `form` raises comes out unchanged."""

    async def upload_content(
        self,
        content: AsyncIterator[bytes],
        fields: Mapping[FormField, str],
        *,
        media_type: str,
        folder: str,
    ) -> StoredFile:
        """Sends one file as base64, while it is read. An empty media type is not told."""

    async def upload_link(
        self, url: str, fields: Mapping[FormField, str], *, folder: str
    ) -> StoredFile:
        """Has the store fetch the file from there."""

    async def quota(self) -> Mapping[str, object]:
        """The store's answer about the account's numbers."""

    async def delete(self, file_id: str) -> Mapping[str, object]:
        """The store's answer to the deletion of one file."""

    async def aclose(self) -> None: ...


class Observer(Protocol):
    """Told of verdicts and events after they are facts; never decides anything."""

    def order(self, team: str, model: str, verdict: Verdict) -> None:
        """An order was judged. `model` is a public name of the settings, or empty."""

    def denied(self, team: str, denial: Denial, mode: Mode) -> None: ...

    def overhead(self, route: str, seconds: float) -> None:
        """Our own time on a request, upstream's excluded."""

    def called(self, upstream: str, operation: str, outcome: str, seconds: float) -> None:
        """One call upstream: operation is submit, poll or download."""

    def advanced(self, before: Run, event: Event, after: Run) -> None:
        """A run went on, and that is committed."""

    def route_turned(self, upstream: str, model: str, *, up: bool) -> None:
        """A route has stopped serving, or serves again."""

    def cache_looked_up(self, result: str) -> None:
        """One look into the response cache: hit, miss or stale."""

    def called_back(self, delivery: Delivery) -> None:
        """One attempt at a callback was made; the delivery as it is after it."""


class TokenCounter(Protocol):
    async def count(self, text: str, *, team: str = "") -> int:
        """How many tokens the text has for the model family."""


class Callbacks(Protocol):
    """Calls receivers back: https only, allowed addresses only, no redirects, bounded."""

    async def deliver(self, delivery: Delivery, body: bytes) -> Outcome:
        """One attempt, under `delivery.id` as its `webhook-id`. Never raises."""

    async def aclose(self) -> None: ...
