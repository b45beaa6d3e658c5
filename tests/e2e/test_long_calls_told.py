"""Whatever becomes of a call that is the whole work: who is called back, and what the metrics say.

One gateway has an order of each kind, so that the sums show what was counted twice, or for another.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from receivers import Receive, Receiver
from two_vendors import MODEL, ONLY_OPENAI, Vendors, vendors

CALLBACKS = {"allow_private_addresses": True, "timeout": "2s", "retries": ["50ms"]}


@dataclass(frozen=True)
class Case:
    """An order, and what is to come of it: `code` is its failure's, None where it is completed.

    `answer` is what the POST says; beyond 200 it is the failure itself, and nobody is called.
    """

    words: str
    code: str | None
    submits: tuple[str, ...]
    run: str
    answer: int = 200


AT_ONCE = (
    Case("plain", None, ("delivered",), "done"),
    Case("[sandbox:delay=3]", None, ("delivered",), "done"),
    Case(
        "[sandbox:late-fail=moderation_blocked] [sandbox:delay=6]",
        "moderation_blocked", ("failed",), "task_failed",
    ),
    Case("[sandbox:late-http=500] [sandbox:delay=6]", "server_error", ("failed",), "task_failed"),
    Case("[sandbox:not-a-picture]", "result_lost", ("delivered",), "result_lost"),
    Case("[sandbox:fail=moderation_blocked]", "moderation_blocked", ("refused",), "refused", 400),
    Case("[sandbox:http=422]", "invalid_request", ("not_now",), "refused", 400),
)  # fmt: skip
IN_TURN = (
    # Such as have a route held back.
    Case("[sandbox:drop]", "outcome_unknown", ("unknown",), "outcome_unknown", 504),
    Case("[sandbox:drop] [sandbox:delay=3]", "outcome_unknown", ("unknown",), "outcome_unknown"),
    Case("[sandbox:http=429*2]", None, ("not_now", "not_now", "delivered"), "done"),
)
CASES = (*AT_ONCE, *IN_TURN)


async def ended(one: Vendors, case: Case, receiver: Receiver) -> str | None:
    """The task of the case's order once it has ended as it is to; None where it has none."""
    answer = await one.post(case.words, callback_url=receiver.url())
    assert answer.status_code == case.answer, answer.text
    if case.answer != 200:
        assert answer.json()["error"]["code"] == case.code
        return None
    task = await one.house.ended(answer.json()["id"])
    assert task.get("error", {}).get("code") == case.code, task
    return str(task["id"])


@pytest.mark.slow
async def test_each_is_told_once_and_counted_for_what_it_was(
    tmp_path: Path, trust: ssl.SSLContext, receive: Receive
) -> None:
    receiver = await receive()
    more = {"callbacks": CALLBACKS, "callback_tls": trust}
    async with vendors(tmp_path, routes=ONLY_OPENAI, alone=True, **more) as one:
        told = await asyncio.gather(*(ended(one, case, receiver) for case in AT_ONCE))
        told += [await ended(one, case, receiver) for case in IN_TURN]
        tasks = [task for task in told if task]
        await receiver.called(len(tasks))
        await asyncio.sleep(0.5)  # nobody is called once more
        assert Counter(call.task["id"] for call in receiver.calls) == Counter(tasks)
        for call in receiver.calls:
            assert call.body == (await one.house.poll(call.task["id"])).content

        shown = await one.house.metrics()
        for outcome, count in Counter(word for case in CASES for word in case.submits).items():
            labels = f'operation="submit",outcome="{outcome}",upstream="openai"'
            assert shown[f"gateway_upstream_seconds_count{{{labels}}}"] == count, outcome
        for outcome, count in Counter(case.run for case in CASES).items():
            labels = f'model="{MODEL}",outcome="{outcome}",quality="low"'
            assert shown[f"gateway_run_seconds_count{{{labels}}}"] == count, outcome
        of_team = f'model="{MODEL}",team="blue"'
        done = sum(case.code is None for case in CASES)
        assert shown[f'gateway_orders_total{{{of_team},verdict="started"}}'] == len(CASES)
        assert shown['gateway_runs{state="done"}'] == done
        assert shown['gateway_runs{state="failed"}'] == len(CASES) - done
        assert shown['gateway_callbacks_total{outcome="delivered"}'] == len(tasks)
        assert shown['gateway_callbacks_total{outcome="retried"}'] == 0
        images = f'model="{MODEL}",source="generated",team="blue"'
        assert shown[f"gateway_images_total{{{images}}}"] == done
        spent = round(shown[f"gateway_spend_usd_total{{{of_team}}}"] * 1_000_000)
        assert spent == await one.spent_usd_micros() >= one.billed_usd_micros
        assert await one.house.violations() == []
        assert one.spool == []
