"""Looks, once all is quiet, whether what was promised is true. Each finding is a sentence."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.soak.asking import FINAL, Client
from benchmarks.soak.books import Billed, Recorded, differences
from benchmarks.soak.site import DEADLINE_SECONDS, USD_PER_CREDIT, Site

MICROS: Final = 1_000_000
QUIET_SECONDS: Final = 3 * DEADLINE_SECONDS + 20.0
CALLBACK_SECONDS: Final = 20.0
BATCH: Final = 50
"""Tasks that are asked after at a time."""

AT_ONCE: Final = 16
"""Pictures that are looked at side by side."""

SHOWN: Final = 10
"""Findings of one kind that are told; of the others only how many there are."""

RUNS: Final = (
    "SELECT id, request, upstream_task_id, state, failure, spent_usd_micros, hold_usd_micros,"
    " price_usd_micros * n FROM runs"
)
SPENT: Final = "SELECT team, SUM(spent_usd_micros) FROM runs GROUP BY team"


async def findings(client: Client, tell: Callable[[str], None]) -> Mapping[str, Sequence[str]]:
    """By what was looked at, in the order of looking; an empty list is a promise that was kept."""
    looks = {
        "every order has ended": _ended,
        "every picture is there": _pictures,
        "every callback came": _callbacks,
        "money agrees with upstream's bill": _money,
        "metrics and reports agree with the ledger": _numbers,
        "the audit is silent": _audit,
        "no answer was unexpected": _answers,
        "no error that nobody caught is in the log": _log,
    }
    found: dict[str, Sequence[str]] = {}
    for name, look in looks.items():
        tell(f"looking whether {name}")
        found[name] = _told([one async for one in look(client)])
    return found


def _told(found: Sequence[str]) -> list[str]:
    more = [f"... and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return [*found[:SHOWN], *more]


async def quiet(client: Client) -> None:
    """Returns when no run is under way, or when that takes too long, which is found later."""
    until = time.monotonic() + QUIET_SECONDS
    while time.monotonic() < until:
        open_ = "SELECT count(*) FROM runs WHERE state NOT IN ('done', 'failed')"
        if not _rows(client.site, open_)[0][0]:
            return
        await asyncio.sleep(0.2)


async def _ended(client: Client) -> AsyncIterator[str]:
    by_team: dict[str, list[str]] = {}
    for task, team in client.promises.tasks.items():
        by_team.setdefault(team, []).append(task)
    for team, tasks in by_team.items():
        for start in range(0, len(tasks), BATCH):
            some = tasks[start : start + BATCH]
            body = {"task_ids": some}
            answer = await client.team("POST", "/v1/tasks/batch", team=team, json=body)
            told = {one["id"]: one["status"] for one in answer.json()["data"]} if answer else {}
            client.promises.show(answer.text if answer else "")
            for task in some:
                if told.get(task) not in FINAL:
                    yield f"{task} of {team} is {told.get(task, 'unknown')}"


async def _pictures(client: Client) -> AsyncIterator[str]:
    names = client.promises.expected_pictures
    for start in range(0, len(names), AT_ONCE):
        looks = (_picture(client, name) for name in names[start : start + AT_ONCE])
        for wrong in await asyncio.gather(*looks):
            if wrong:
                yield wrong


async def _picture(client: Client, name: str) -> str:
    answer = await client.ask("GET", f"/pictures/{name}")
    if answer is None:
        return f"{name} is not there"
    is_it = hashlib.sha256(answer.content).hexdigest() == name.partition(".")[0]
    return "" if is_it else f"{name} has other bytes"


async def _callbacks(client: Client) -> AsyncIterator[str]:
    until = time.monotonic() + CALLBACK_SECONDS
    while missing := client.promises.called_back - client.site.receiver.taken.keys():
        if time.monotonic() > until:
            break
        await asyncio.sleep(0.2)
    for task in missing:
        yield f"{task} ended and nobody was called"


async def _money(client: Client) -> AsyncIterator[str]:
    told = await client.site.bill()
    tasks = [Billed(**one) for one in told["tasks"]]
    runs = list(recorded(client.site))
    micros_per_credit = round(USD_PER_CREDIT * MICROS)
    for sentence in differences(runs, tasks, micros_per_credit=micros_per_credit):
        yield sentence
    if round(sum(one.credits for one in tasks), 4) != round(told["credits_used"], 4):
        yield f"upstream's own bill is not its sum: {told['credits_used']}"


def recorded(site: Site) -> Iterator[Recorded]:
    """The runs as the ledger's file has them."""
    for id_, request, task, state, failure, *micros in _rows(site, RUNS):
        why = json.loads(failure)["kind"] if failure and state == "failed" else ""
        yield Recorded(id_, json.loads(request).get("prompt", ""), task, state, why, *micros)


async def _numbers(client: Client) -> AsyncIterator[str]:
    ledger = {team: spent for team, spent in _rows(client.site, SPENT) if spent}
    answer = await client.admin("GET", "usage?by=team")
    metrics = await client.ask("GET", "/metrics")
    if answer is None or metrics is None:
        yield "the reports cannot be read"
        return
    reported = {one["team"]: round(one["spent_usd"] * MICROS) for one in answer.json()["data"]}
    scraped: dict[str, int] = {}
    for name, labels, value in _samples(metrics.text):
        if name == "gateway_spend_usd_total":
            scraped[labels["team"]] = scraped.get(labels["team"], 0) + round(value * MICROS)
        elif name in ("gateway_ledger_violations", "gateway_budget_held_usd") and value:
            yield f"{name} is {value}"
    for where, found in (("the usage report", reported), ("the metrics", scraped)):
        if {team: spent for team, spent in found.items() if spent} != ledger:
            yield f"the ledger's runs come to {ledger} micro-dollars, {where} to {found}"


async def _audit(client: Client) -> AsyncIterator[str]:
    done = await client.site.audit()
    if done.returncode:
        yield f"exit {done.returncode}: {(done.stdout + done.stderr).decode()[-2000:]}"


async def _answers(client: Client) -> AsyncIterator[str]:
    for what, count in client.promises.unexpected.most_common():
        yield f"{count} times {what}"


async def _log(client: Client) -> AsyncIterator[str]:
    """Tracebacks, and lines that were dropped because the log was not read."""
    with client.site.gateway.log.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if '"exception"' in line or "Traceback" in line or "log lines dropped" in line:
                yield line[:1500].strip()


def _rows(site: Site, statement: str) -> list[Any]:
    with site.ledger() as db:
        rows: list[Any] = db.execute(statement).fetchall()
    return rows


def _samples(text: str) -> Iterator[tuple[str, Mapping[str, str], float]]:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value
