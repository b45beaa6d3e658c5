"""The books: how a change of a run shows in the accounts and in the usage roll-up.

The only rule is that an account holds what its runs hold and has spent what they have spent; its
runs are those that the team ordered in its time, whatever the time zone was or comes to be.
So nobody writes an account by its own arithmetic: the difference between a run before and
after is carried over here, and the ledger commits run and accounts together.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.core.model import Run, RunState, Usage
from gateway.core.money.accounts import NOTHING, Account, AccountKey, Window
from gateway.core.transaction import Writes


def book(before: Run | None, after: Run, accounts: Mapping[AccountKey, Account]) -> Writes:
    """The writes for a run that changed (or is new: `before` is None).

    `accounts` must hold every account there is that the time of the run lies in.
    """
    held = after.hold - (before.hold if before else NOTHING)
    spent = after.spent - (before.spent if before else NOTHING)
    changed: tuple[Account, ...] = ()
    if held or spent:
        changed = tuple(
            Account(
                one.key,
                spent=one.spent + spent if spent else one.spent,
                held=one.held + held if held else one.held,
            )
            for one in _charged(after, accounts)
        )
    return Writes(runs=(after,), accounts=changed, usage=_usage(before, after))


def _charged(run: Run, accounts: Mapping[AccountKey, Account]) -> list[Account]:
    charged = [one for key, one in accounts.items() if key.covers(run.team, run.created_at)]
    if {one.key.window for one in charged} != set(Window):
        raise KeyError(f"an account of run {run.id} was not asked for")
    return charged


def _usage(before: Run | None, after: Run) -> tuple[Usage, ...]:
    if before is None:
        bypassed = int(after.bypassed)
        day = after.windows.day
        return (Usage(after.team, after.model, day, started=1, bypassed=bypassed),)
    if before.is_final and after.is_final:
        return _given_back(before, after)
    if before.is_final == after.is_final:
        return ()
    done = after.state is RunState.DONE
    if before.is_final:  # a failed one is tried again: what it spent stays spent
        lost = -before.spent.usd_micros
        day = after.windows.day
        return (Usage(after.team, after.model, day, failed=-1, spent_failed_usd_micros=lost),)
    spent = after.spent.usd_micros - before.spent.usd_micros
    own = Usage(
        after.team,
        after.model,
        after.windows.day,
        failed=0 if done else 1,
        images_generated=len(after.kept) if done else 0,
        spent_usd_micros=spent,
        spent_bypassed_usd_micros=spent if after.bypassed else 0,
        done=int(done),
        spent_failed_usd_micros=0 if done else after.spent.usd_micros,
    )
    return (own, *_saved_by_joining(after)) if done else (own,)


def _given_back(before: Run, after: Run) -> tuple[Usage, ...]:
    """A run that had failed costs less than was booked, in the day that it was booked in."""
    spent = after.spent.usd_micros - before.spent.usd_micros
    if not spent:
        return ()
    return (
        Usage(
            after.team,
            after.model,
            after.windows.day,
            spent_usd_micros=spent,
            spent_bypassed_usd_micros=spent if after.bypassed else 0,
            spent_failed_usd_micros=spent,
        ),
    )


def _saved_by_joining(run: Run) -> tuple[Usage, ...]:
    """A joined job has saved what the run cost, once that is known."""
    return tuple(
        Usage(
            team,
            run.model,
            run.windows.day,
            images_cache=count * len(run.kept),
            saved_joined_usd_micros=count * run.spent.usd_micros,
        )
        for team, count in run.joins
    )
