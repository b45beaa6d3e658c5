"""The books: how a change of a run shows in the accounts and in the usage roll-up.

The only rule is that an account holds what its runs hold and has spent what they have spent.
So nobody writes an account by its own arithmetic: the difference between a run before and
after is carried over here, and the ledger commits run and accounts together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gateway.core.accounts import NOTHING, Account, AccountKey
from gateway.core.model import Run, RunState, Usage
from gateway.core.transaction import Writes


def book(before: Run | None, after: Run, accounts: Mapping[AccountKey, Account]) -> Writes:
    """The writes for a run that changed (or is new: `before` is None).

    `accounts` must hold every account the run is charged to.
    """
    held = after.hold - (before.hold if before else NOTHING)
    spent = after.spent - (before.spent if before else NOTHING)
    changed: tuple[Account, ...] = ()
    if held or spent:
        changed = tuple(
            replace(account, held=account.held + held, spent=account.spent + spent)
            for account in (accounts[key] for key in after.account_keys())
        )
    return Writes(runs=(after,), accounts=changed, usage=_usage(before, after))


def _usage(before: Run | None, after: Run) -> tuple[Usage, ...]:
    if before is None:
        return (
            Usage(
                after.team, after.model, after.windows.day, started=1, bypassed=int(after.bypassed)
            ),
        )
    if not after.is_final or before.is_final:
        return ()
    done = after.state is RunState.DONE
    own = Usage(
        after.team,
        after.model,
        after.windows.day,
        failed=0 if done else 1,
        images_generated=len(after.kept) if done else 0,
        spent_usd_micros=after.spent.usd_micros,
        spent_bypassed_usd_micros=after.spent.usd_micros if after.bypassed else 0,
    )
    return (own, *_saved_by_joining(after)) if done else (own,)


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
