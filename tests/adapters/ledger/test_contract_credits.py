"""What upstream reported for its runs, in credits, and whether one of them is under way."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ledger_builders import a_run, change, done, failed, start

from gateway.core.model import RunState
from gateway.ports.ledger import Ledger


async def test_credits_are_added_up_for_each_upstream(ledger: Ledger) -> None:
    assert await ledger.credits("evolink") == (0.0, 0)
    for upstream, told in (("evolink", 1.5), ("evolink", 0.25), ("evolink", None), ("other", 7.0)):
        run = await start(ledger, a_run(upstream=upstream))
        await change(ledger, replace(done(run), credits_used=told))
    assert await ledger.credits("evolink") == (pytest.approx(1.75), 0)
    assert await ledger.credits("other") == (pytest.approx(7.0), 0)


async def test_a_run_counts_from_its_report_and_is_live_to_its_end(ledger: Ledger) -> None:
    run = await start(ledger, a_run(upstream="evolink"))
    assert await ledger.credits("evolink") == (0.0, 1)
    run = await change(ledger, replace(run, state=RunState.KEEPING, credits_used=2.5))
    assert await ledger.credits("evolink") == (2.5, 1)
    assert await ledger.credits("other") == (0.0, 0)
    await change(ledger, failed(run))
    assert await ledger.credits("evolink") == (2.5, 0)
