"""What the POST of an order that was admitted is answered with: its run, or the error to raise."""

from __future__ import annotations

from gateway.core.catalog import Team
from gateway.core.instants import rfc3339
from gateway.core.model import Run
from gateway.core.orders.denials import knowingly
from gateway.core.runs.answered import Reply, is_sent_again, reply
from gateway.core.runs.failures import submit_error
from gateway.errors import OutcomeUnknown


def answered(run: Run, team: Team) -> Run:
    """The run, if its POST is answered with a task; raises the error that is its answer."""
    match reply(run):
        case Reply.FAILURE if run.failure:
            raise submit_error(run.failure, charged=bool(run.spent.usd_micros))
        case Reply.LATER | Reply.DOUBT:  # its time is over: whatever comes, nobody knows it yet
            raise outcome_unknown(run, team)
        case _:
            return run


def outcome_unknown(run: Run, team: Team) -> OutcomeUnknown:
    if is_sent_again(run):
        return OutcomeUnknown(
            "The request was sent upstream and its answer was lost. It is sent again under the "
            "same idempotency key, so that it is paid once at most. Send yours again later: it "
            "joins that one."
        )
    return OutcomeUnknown(
        "The request was sent upstream and its answer was lost, so it may or may not have been "
        f"paid. Nothing was sent again. Until {rfc3339(run.deadline_at)} at least the same "
        f"request gets this answer; {knowingly(team)}"
    )
