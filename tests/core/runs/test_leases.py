"""What a worker may still record of a run that another one may have by now."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_samples import a_run

from gateway.core.model import Run, RunState
from gateway.core.runs.events import (
    Accepted,
    AnswerLost,
    Begun,
    CredentialsRefused,
    DeadlinePassed,
    Delivered,
    Event,
    Finished,
    KeepFailed,
    NotNow,
    PicturesKept,
    Progressed,
    Refused,
    Retry,
    TaskFailed,
    Unreachable,
)
from gateway.core.runs.leases import (
    RENEW_SECONDS,
    RUN_LEASE_SECONDS,
    SURE_SECONDS,
    may_record,
    stand,
)

ACCEPTED = Accepted("task-unified-1", "{}")
DELIVERED = Delivered("{}", ("spool:run_1-1/0",), 31_000)
OTHERS: tuple[Event, ...] = (
    Begun(),
    Refused(400, "{}", "bad", "no"),
    NotNow("busy"),
    CredentialsRefused(401, "no"),
    AnswerLost("gone"),
    Retry(),
    Progressed("{}", 10),
    Finished("{}", ("https://example.org/1",)),
    TaskFailed("{}", "service_error", "no"),
    Unreachable("away"),
    PicturesKept(()),
    KeepFailed("away", dead=False),
    DeadlinePassed(),
)


def taken(**changes: object) -> Run:
    return replace(a_run(), lease_owner="mine", lease_until=100.0, **changes)


@pytest.mark.parametrize(
    "event", [ACCEPTED, DELIVERED, *OTHERS], ids=lambda event: type(event).__name__
)
def test_whoever_has_the_run_records_what_happened(event: Event) -> None:
    """Also after the lease ran out, as long as nobody has taken the run since."""
    run = taken()
    assert may_record(run, event, replace(run, lease_until=0.0))
    assert may_record(run, event, replace(run, joins=(("green", 1),), due_at=5.0))


@pytest.mark.parametrize("owner", ["another", None])
@pytest.mark.parametrize("event", OTHERS, ids=lambda event: type(event).__name__)
def test_whoever_lost_it_records_nothing(event: Event, owner: str | None) -> None:
    """Neither over another's lease, nor after another one has given it back."""
    run = taken()
    assert not may_record(run, event, replace(run, lease_owner=owner))


@pytest.mark.parametrize("event", [ACCEPTED, DELIVERED], ids=lambda event: type(event).__name__)
@pytest.mark.parametrize("state", RunState)
def test_that_upstream_did_it_is_recorded_by_all_means(state: RunState, event: Event) -> None:
    """What is paid must not be forgotten; the table of transitions says where it is news."""
    run = taken()
    now_is = replace(run, lease_owner="another", state=state)
    assert may_record(run, event, now_is)
    assert not may_record(run, event, replace(now_is, attempts=run.attempts + 1))


def test_each_submit_stands_somewhere_else() -> None:
    run = taken(state=RunState.UNSURE, tries=1)
    assert stand(run) == stand(replace(run, lease_owner="another", due_at=9.0, joins=(("b", 1),)))
    others = [{"tries": 2}, {"attempts": run.attempts + 1}, {"state": RunState.RUNNING}]
    assert stand(run) not in [stand(replace(run, **one)) for one in others]


def test_a_lease_outlives_two_renewals_that_are_lost() -> None:
    assert 3 * RENEW_SECONDS + SURE_SECONDS <= RUN_LEASE_SECONDS <= 20
