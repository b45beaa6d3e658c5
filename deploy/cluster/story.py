"""What the cluster shows of itself: orders, a gateway killed, nothing lost, one run for three.

Each scene proves what it tells: `Surprise` ends the story at the first thing that is not so. It
knows the public surface alone, as a team's program, an operator and a look into the log do.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx2 as httpx

from cluster.gateways import MODEL, PRICE_USD, TEAM, Replica
from cluster.installation import Cluster, in_thread
from cluster.telling import Telling
from gateway.config.sandbox import ADMIN_KEY, TEAM_KEY

FIRST: Final = 12
"""Orders that are under way when a gateway is killed."""
MORE: Final = 6
"""Orders that come in that moment."""
PATIENCE_SECONDS: Final = 90.0
TRIES: Final = 20
_FINAL: Final = ("completed", "failed")
_LIVE: Final = ("running", "keeping")


class Surprise(Exception):
    """Something did not happen as it should; the message says what, in plain words."""


def expect(true: bool, otherwise: str) -> None:
    """Raises `Surprise` with `otherwise` unless `true`."""
    if not true:
        raise Surprise(otherwise)


@dataclass(frozen=True)
class Sums:
    """A team's account, as the ledger has it: what is held for runs, and what is spent."""

    held_usd: float
    spent_usd: float

    def __str__(self) -> str:
        return f"${self.held_usd:.2f} held, ${self.spent_usd:.2f} spent"


class Story:
    """Tells it once. `repeated` counts orders that a client had to send again."""

    def __init__(self, cluster: Cluster, telling: Telling, client: httpx.AsyncClient) -> None:
        """`client` sends to the balancer."""
        self._cluster = cluster
        self._telling = telling
        self._client = client
        self._repeated = 0

    async def tell(self) -> None:
        """All of it. Raises `Surprise`."""
        tasks = await self._order()
        killed, tasks = await self._kill(tasks)
        await self._wait_for(tasks)
        after = await self._sums_for(len(tasks))
        expect(after.held_usd == 0, f"all has ended, and the ledger has {after}")
        await self._start_again(killed)
        await self._order_at_three()
        await self._audit()

    # --- the scenes ----------------------------------------------------------------------------

    async def _order(self) -> list[str]:
        self._telling.scene(
            "Orders",
            f"A team orders {FIRST} pictures through the balancer, which spreads them.",
        )
        prompts = [f"a lighthouse, number {number}" for number in range(FIRST)]
        tasks = await asyncio.gather(*(self._ordered(prompt) for prompt in prompts))
        await self._until(
            lambda: sum(len(one.runs()) for one in self._cluster.replicas) >= FIRST,
            f"upstream was not asked for all {FIRST} pictures",
        )
        shares = {one.name: len(one.runs()) for one in self._cluster.replicas}
        shared = ", ".join(f"{name} {count}" for name, count in shares.items())
        self._telling.did(f"{FIRST} orders are taken and under way: {shared}.")
        await self._sums_for(FIRST)
        return tasks

    async def _kill(self, tasks: list[str]) -> tuple[Replica, list[str]]:
        self._telling.scene(
            "One gateway is killed",
            "SIGKILL, in the middle of its work: it can say and save nothing any more.",
        )
        held = {one.name: _in_hand(one) for one in self._cluster.replicas}
        victim = max(self._cluster.replicas, key=lambda one: held[one.name])
        expect(held[victim.name] > 0, "no gateway had anything in hand; the pictures came too soon")
        pid = victim.pid
        await in_thread(victim.kill)
        prompts = [f"a harbour, number {number}" for number in range(MORE)]
        more = await asyncio.gather(*(self._ordered(prompt) for prompt in prompts))
        self._telling.did(
            f"{victim.name} (process {pid}) is dead; it had {held[victim.name]} pictures in hand,"
            " which upstream is making and will be paid for."
        )
        self._telling.did(
            f"{MORE} more orders, sent in that moment, were taken by the others"
            f" ({self._repeated or 'none'} had to be sent again)."
        )
        return victim, [*tasks, *more]

    async def _wait_for(self, tasks: Sequence[str]) -> None:
        self._telling.scene(
            "Nothing is lost",
            "The dead gateway's leases run out, and the others take its work over.",
        )
        began, done = time.monotonic(), 0
        while done < len(tasks):
            found = Counter([(await self._task(task))["status"] for task in tasks])
            expect(not found["failed"], f"{found['failed']} of the orders failed")
            seconds = time.monotonic() - began
            if found["completed"] > done:
                done = found["completed"]
                self._telling.say(f"   {done:>2} of {len(tasks)} are done after {seconds:.0f} s")
            expect(seconds < PATIENCE_SECONDS, f"after {seconds:.0f} s only {done} are done")
            await asyncio.sleep(0.3)
        sent = self._cluster.upstream.state.submits_by_prompt
        twice = {prompt: count for prompt, count in sent.items() if count != 1}
        expect(len(sent) == len(tasks) and not twice, f"upstream was asked otherwise: {twice}")
        links = [(await self._task(task))["results"][0] for task in tasks]
        for link in links:
            picture = await self._client.get(link)
            expect(picture.status_code == 200, f"{link} was answered {picture.status_code}")
        self._telling.did(
            f"Every order has ended with its picture; upstream was asked {len(tasks)} times, once"
            " for each, and every link leads to a picture."
        )

    async def _start_again(self, killed: Replica) -> None:
        self._telling.scene("It comes back", f"{killed.name} is started again, as a service is.")
        began = time.monotonic()
        await in_thread(killed.start)
        seconds = time.monotonic() - began
        self._telling.did(f"Ready after {seconds:.1f} s, as process {killed.pid}.")

    async def _order_at_three(self) -> None:
        self._telling.scene(
            "The same order at all three",
            "Three clients want the same picture in the same moment, each of another gateway.",
        )
        before = await self._sums()
        prompt = "a fox asleep in the first snow"
        orders = (self._posted(prompt, at=one.url) for one in self._cluster.replicas)
        answers = await asyncio.gather(*orders)
        joined = [answer.headers.get("cache-status", "") for answer in answers]
        tasks = [str(answer.json()["id"]) for answer in answers]
        ended = [await self._ended(task) for task in tasks]
        sent = self._cluster.upstream.state.submits_by_prompt[prompt]
        expect(sent == 1, f"upstream was asked {sent} times")
        expect(len({tuple(task["results"]) for task in ended}) == 1, "the pictures differ")
        after = await self._sums()
        cost = round(after.spent_usd - before.spent_usd, 6)
        expect(cost == PRICE_USD, f"it cost ${cost}")
        collapsed = sum("collapsed" in told or "hit" in told for told in joined)
        expect(collapsed == 2, f"not two of three joined the other: {joined}")
        self._telling.did(
            f"Three tasks, one run: upstream was asked once, and it cost ${cost:.2f}. Two gateways"
            " joined what the third had begun."
        )

    async def _audit(self) -> None:
        self._telling.scene(
            "The books",
            "The audit reads every order, run and account, and compares what has to agree.",
        )
        one = self._cluster.replicas[0]
        audit = await asyncio.create_subprocess_exec(
            *one.command("audit"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=one.folder,
            env=one.environment_of_commands(),
        )
        said = (await audit.communicate())[0].decode("utf-8", "replace").strip()
        expect(audit.returncode == 0, f"the audit found: {said}")
        self._telling.did(f"Audit: {said.splitlines()[-1]}")

    # --- what a client does --------------------------------------------------------------------

    async def _ordered(self, prompt: str) -> str:
        """A task's id, of an order that is sent again under its key when its answer is lost."""
        for _ in range(TRIES):
            try:
                answer = await self._posted(prompt)
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code == 200:
                return str(answer.json()["id"])
            lost = answer is None or answer.status_code in (502, 503, 504)
            expect(lost, f"an order was answered {answer and answer.text}")
            self._repeated += 1
            await asyncio.sleep(0.2)
        raise Surprise(f"no gateway took the order of {prompt!r} in {TRIES} tries")

    async def _posted(self, prompt: str, *, at: str = "") -> httpx.Response:
        wish = {"model": MODEL, "prompt": prompt, "size": "3:2", "quality": "medium"}
        headers = {"Authorization": f"Bearer {TEAM_KEY}"}
        if not at:
            headers["Idempotency-Key"] = prompt.replace(" ", "-")
        return await self._client.post(f"{at}/v1/images/generations", json=wish, headers=headers)

    async def _task(self, task: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {TEAM_KEY}"}
        answer = await self._client.get(f"/v1/tasks/{task}", headers=headers)
        expect(answer.status_code == 200, f"a poll was answered {answer.text}")
        found: dict[str, Any] = answer.json()
        return found

    async def _ended(self, task: str) -> dict[str, Any]:
        until = time.monotonic() + PATIENCE_SECONDS
        while (found := await self._task(task))["status"] not in _FINAL:
            expect(time.monotonic() < until, f"the task {task} does not end")
            await asyncio.sleep(0.2)
        expect(found["status"] == "completed", f"the task {task} failed: {found.get('error')}")
        return found

    async def _sums_for(self, count: int) -> Sums:
        """The ledger's, which have to be the price of so many orders."""
        sums, due = await self._sums(), round(count * PRICE_USD, 6)
        had = round(sums.held_usd + sums.spent_usd, 6)
        expect(had == due, f"the ledger has {sums}, which should be ${due:.2f} together")
        self._telling.did(f"The ledger has {sums}: {count} times ${PRICE_USD:.2f}.")
        return sums

    async def _sums(self) -> Sums:
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
        answer = await self._client.get(f"/admin/v1/teams/{TEAM}", headers=headers)
        expect(answer.status_code == 200, f"the team was answered {answer.text}")
        [budget] = answer.json()["standing"]
        return Sums(budget["held"], budget["spent"])

    async def _until(self, condition: Any, otherwise: str) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        while not await in_thread(condition):
            expect(time.monotonic() < until, otherwise)
            await asyncio.sleep(0.05)


def _in_hand(one: Replica) -> int:
    return sum(state in _LIVE for state in one.runs().values())
