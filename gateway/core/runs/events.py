"""What can happen to a run. The driver finds these out; the lifecycle eats them.

`words` are the first of what upstream said about it, in one line and without our key or the
prompt: for people who look into it, never for a decision.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, StrEnum

from gateway.core.model import Kept


@dataclass(frozen=True, slots=True)
class Accepted:
    """Upstream took the submit. `task` is its task object as JSON text."""

    task_id: str
    task: str


@dataclass(frozen=True, slots=True)
class Begun:
    """The request has left, and upstream is at work on all of it: the answer is awaited, for
    as long as pictures take. Nothing says yet that it was taken."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """Upstream has done the whole work within the submit.

    `links` lead to what it brought (one at least, without doubles), `cost_usd_micros` is what it
    says that was worth, None where it does not say.
    """

    task: str
    links: tuple[str, ...]
    cost_usd_micros: int | None


@dataclass(frozen=True, slots=True)
class Refused:
    """Upstream refused this request before accepting it; status and body are its own.

    `replayed`: it is upstream's own error and says that it is the answer to the same key's first
    submit, so that nothing of that can have been taken.
    """

    status: int
    body: str
    code: str
    message: str
    replayed: bool = False
    words: str = field(default="", compare=False)


class Why(StrEnum):
    """Why a submit was not taken, and so whom it concerns."""

    NEVER_SENT = "never sent"  # nobody answered: it would be the same for every request
    PASSING = "passing"  # too much at once, or nobody behind a proxy, whatever was asked for
    DECLINED = "declined"  # it was looked at: it may be so for this request alone
    MISFIT = "misfit"  # it cannot be made there, now or later: that says nothing of other requests
    FULL = "full"  # of our own: as many as may be are under way there, and its turn comes


@dataclass(frozen=True, slots=True)
class NotNow:
    """Upstream certainly did not take the submit and may take it later.

    `its_own`: it is this run that the route does not take: it cannot make it at all, or has
    declined it as often as it is asked (`trials`).
    """

    reason: str
    retry_after_seconds: float | None = None
    why: Why = Why.DECLINED
    its_own: bool = False
    words: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class CredentialsRefused:
    """Upstream refused the organisation's key or balance: no caller can mend that."""

    status: int
    reason: str
    words: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class AnswerLost:
    """The submit may have been taken; its answer never arrived or cannot be read.

    `heard`: somebody answered, so that the way to upstream is open. `unread`: whether its whole
    answer lies here could not be told now, and may be later.
    """

    reason: str
    words: str = field(default="", compare=False)
    heard: bool = False
    unread: bool = False


@dataclass(frozen=True, slots=True)
class Retry:
    """A queued run is about to be submitted: the intention, written before the effect."""


@dataclass(frozen=True, slots=True)
class Progressed:
    """The task goes on."""

    task: str
    progress: int = 0
    estimated_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """The task is completed; `links` are its result links, one at least, without doubles."""

    task: str
    links: tuple[str, ...]
    credits_used: float | None = None


@dataclass(frozen=True, slots=True)
class TaskFailed:
    """The work failed or was cancelled upstream; it costs nothing unless it says so itself.

    `charged`: it says that it was paid, or may have been, also where it does not count credits that
    can be read. `is_providers`: the fault says nothing about the request, so that another route may
    succeed; any other (content, parameters, references, one that is not known) would most likely be
    the same elsewhere.
    """

    task: str
    code: str
    message: str
    credits_used: float | None = None
    charged: bool = False
    is_providers: bool = False

    @property
    def is_free(self) -> bool:
        return not (self.charged or self.credits_used)


@dataclass(frozen=True, slots=True)
class Unreachable:
    """The task could not be asked after, or the answer made no sense.

    `gone`: upstream answered clearly that it has no such task.
    """

    reason: str
    retry_after_seconds: float | None = None
    gone: bool = False


@dataclass(frozen=True, slots=True)
class PicturesKept:
    """These links are kept now (some or all)."""

    kept: tuple[Kept, ...]


class Loss(Enum):
    """What dead links give instead of pictures, from the mildest to the surest."""

    GONE = 1  # nothing is there
    REFUSED = 2  # our own rules forbid to go there
    TOO_LARGE = 3
    FOREIGN = 4  # something that is no picture
    UNDECODABLE = 5  # something that begins like a picture


@dataclass(frozen=True, slots=True)
class KeepFailed:
    """Some pictures could not be kept this time. `dead`: the links or their bytes say so.

    `loss` tells how they say it, `body` is a digest of the bytes that came (empty: none did), and
    `set_aside` whether these lie where the operator can fetch them.
    """

    reason: str
    dead: bool
    kept: tuple[Kept, ...] = ()
    loss: Loss = Loss.GONE
    body: str = ""
    set_aside: bool = False


@dataclass(frozen=True, slots=True)
class TriedAgain:
    """An operator wants it tried now: what waits, or the keeping of what was paid and lost."""


@dataclass(frozen=True, slots=True)
class Hinted:
    """Upstream has called: its task may have ended. Nothing else it said is believed."""


@dataclass(frozen=True, slots=True)
class Freed:
    """Upstream's own record has no room for a run whose outcome was unknown: it cost nothing.

    `reason` is a clause of our own that says why, as with `FoundPaid`.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class FoundPaid:
    """Upstream's own record has the run whose outcome was unknown: it is paid.

    `task_id` is its task there, None where upstream only counts.
    """

    reason: str
    task_id: str | None = None


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """The run's time is over."""


SubmitEvent = Accepted | Delivered | Refused | NotNow | CredentialsRefused | AnswerLost | TaskFailed
PollEvent = Progressed | Finished | TaskFailed | Unreachable
KeepEvent = PicturesKept | KeepFailed
ReconcileEvent = Freed | FoundPaid
Event = (
    Begun
    | SubmitEvent
    | Retry
    | PollEvent
    | KeepEvent
    | Hinted
    | TriedAgain
    | ReconcileEvent
    | DeadlinePassed
)
