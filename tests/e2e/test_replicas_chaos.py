"""Three gateways under load while everything around them fails: nothing is paid twice, nothing is
lost, every accepted order ends, and the books are right.

`IMAGE_GATEWAY_TEST_CHAOS_ROUNDS` is how often all of it happens: once in `make test`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from bucket_way import BucketWay
from cluster.postgres import PostgresServer, wheel_programs
from cluster.s3 import S3Server, is_available
from replicas import Replicas, replicas

ROUNDS = int(os.environ.get("IMAGE_GATEWAY_TEST_CHAOS_ROUNDS", "1"))
BUCKET = "chaos"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(120 + 180 * ROUNDS),
    pytest.mark.skipif(
        wheel_programs() is None or not is_available(),
        reason="no PostgreSQL or no S3 server for this platform",
    ),
]


@dataclass
class Load:
    """Orders from all sides: each has a key of its own, and comes again until it is answered."""

    all_: Replicas
    tasks: dict[str, str] = field(default_factory=dict)
    """Prompt → task that was answered."""
    unexpected: Counter[str] = field(default_factory=Counter)
    stopped: bool = False

    async def client(self, number: int) -> None:
        chance = random.Random(number)
        count = 0
        while not self.stopped:
            count += 1
            # One order in four is the same for all clients: gateways meet in it.
            alone = chance.random() < 0.75
            prompt = f"of {number} the {count}" if alone else f"of all the {count}"
            await self.order(prompt, f"key-{number}-{count}")
            await asyncio.sleep(chance.uniform(0, 0.3))

    async def order(self, prompt: str, key: str) -> None:
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = await self.all_.post(prompt, headers={"Idempotency-Key": key})
                if answer.status_code == 200:
                    self.tasks[f"{prompt}/{key}"] = answer.json()["id"]
                    return
                if answer.status_code == 504 and _is_in_doubt(answer):
                    return  # the same order of another client, whose outcome nobody knows
                if answer.status_code not in (409, 503):
                    self.unexpected[f"{answer.status_code} {answer.text[:300]}"] += 1
                    return
                if answer.status_code == 503 and "retry-after" not in answer.headers:
                    self.unexpected[f"no Retry-After: {answer.text[:300]}"] += 1
            if self.stopped:
                return
            await asyncio.sleep(0.2)


def _is_in_doubt(answer: httpx.Response) -> bool:
    """Never sent again, as it may be paid: an outcome that the books allow too."""
    return bool(answer.json()["error"]["code"] == "outcome_unknown")


@contextlib.asynccontextmanager
async def loaded(all_: Replicas, clients: int) -> AsyncIterator[Load]:
    load = Load(all_)
    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(load.client(number))
        try:
            yield load
        finally:
            load.stopped = True


@pytest.mark.long
async def test_nothing_is_lost_and_nothing_paid_twice_whatever_fails(tmp_path: Path) -> None:
    with servers() as (postgres, s3):
        storage = {"ledger": postgres.url(), "pictures": f"s3://{BUCKET}/pictures"}
        async with (
            BucketWay(s3.environment) as way,
            replicas(
                tmp_path,
                storage=storage,
                environment=way.environment,
                models={"gpt-image-1.5": {"deadline": "90s"}},
            ) as all_,
        ):
            stage = Stage(all_, postgres, s3, way)
            async with loaded(all_, clients=12) as load:
                for _ in range(ROUNDS):
                    for trouble in TROUBLES:
                        await trouble(stage)
                        await asyncio.sleep(1)
            await the_books_are_right(all_, load)
            assert way.refused


@contextlib.contextmanager
def servers() -> Iterator[tuple[PostgresServer, S3Server]]:
    """Of this test alone, which may do with them what it likes. Outside of pytest's own folder,
    which each run of pytest closes to PostgreSQL's user."""
    with tempfile.TemporaryDirectory(prefix="image-gateway-chaos-") as folder:
        postgres, s3 = PostgresServer(Path(folder, "postgres")), S3Server(Path(folder, "s3"))
        try:
            postgres.start()
            s3.start()
            s3.make_bucket(BUCKET)
            yield postgres, s3
        finally:
            s3.end()
            postgres.stop(crash=True)


@dataclass(frozen=True, slots=True)
class Stage:
    all_: Replicas
    postgres: PostgresServer
    s3: S3Server
    way: BucketWay


async def killed(stage: Stage) -> None:
    one = random.choice(stage.all_.every)
    await one.kill()
    await asyncio.sleep(2)
    await one.start()


async def cut(stage: Stage) -> None:
    for _ in range(3):
        await asyncio.to_thread(stage.postgres.cut)
        await asyncio.sleep(0.5)


async def crashed(stage: Stage) -> None:
    """Pictures are shown meanwhile: no ledger is asked for them."""
    links = await made(stage.all_)
    await asyncio.to_thread(stage.postgres.stop, crash=True)
    await shown(stage.all_, links)
    await asyncio.sleep(1)
    await asyncio.to_thread(stage.postgres.start)


async def frozen(stage: Stage) -> None:
    links = await made(stage.all_)
    stage.postgres.freeze()
    await shown(stage.all_, links)
    await asyncio.sleep(7)
    stage.postgres.thaw()


async def bucket_down(stage: Stage) -> None:
    stage.s3.kill()
    await asyncio.sleep(3)
    await asyncio.to_thread(stage.s3.start)


async def bucket_silent(stage: Stage) -> None:
    stage.s3.freeze()
    await asyncio.sleep(7)
    stage.s3.thaw()


async def bucket_slow(stage: Stage) -> None:
    """Slow alone fails nothing: who looks gets each picture whole."""
    links = await made(stage.all_)
    stage.way.pause_seconds = 0.2
    await shown(stage.all_, links)
    await asyncio.sleep(3)
    stage.way.pause_seconds = 0.0


async def bucket_full(stage: Stage) -> None:
    """Nothing more can be kept; what is kept is shown."""
    links = await made(stage.all_)
    stage.way.is_full = True
    await asyncio.sleep(4)
    await shown(stage.all_, links)
    stage.way.is_full = False


async def both_at_once(stage: Stage) -> None:
    one = random.choice(stage.all_.every)
    stage.postgres.freeze()
    await one.kill()
    await asyncio.sleep(2)
    stage.postgres.thaw()
    await asyncio.to_thread(stage.postgres.cut)
    await one.start()


TROUBLES: tuple[Callable[[Stage], Awaitable[None]], ...] = (
    killed, cut, crashed, frozen, bucket_slow, bucket_full, bucket_down, bucket_silent,
    both_at_once,
)  # fmt: skip


async def made(all_: Replicas) -> Sequence[str]:
    """The links of a task that is completed: whatever was the matter before is over then."""
    while True:
        with contextlib.suppress(httpx.TransportError):
            answer = await all_.post("one to look at")
            if answer.status_code == 200:
                task = await all_.ended(answer.json()["id"])
                assert task["status"] == "completed", task
                links: Sequence[str] = task["results"]
                return links
        await asyncio.sleep(0.2)


async def the_books_are_right(all_: Replicas, load: Load) -> None:
    assert not load.unexpected
    assert len(load.tasks) > 20 * ROUNDS
    await asyncio.gather(*(one.is_ready() for one in all_.every))
    ended = await asyncio.gather(
        *(all_.ended(task, seconds=180) for task in load.tasks.values()), return_exceptions=True
    )
    broken = [one for one in ended if isinstance(one, BaseException)]
    assert not broken, "\n".join(str(one) for one in broken[:3])
    statuses = Counter(task["status"] for task in ended if isinstance(task, dict))
    twice = {p: n for p, n in all_.sandbox.state.accepted_by_prompt.items() if n > 1}
    assert not twice, twice
    assert statuses["failed"] <= in_doubt(ended), statuses
    assert await all_.audit() == []
    tasks = [task for task in ended if isinstance(task, dict)]
    await shown(all_, sorted({link for task in tasks for link in task.get("results") or ()}))


def in_doubt(ended: list[Any]) -> int:
    """How many failed since nobody could know whether upstream had taken them."""
    failed = [task for task in ended if isinstance(task, dict) and task["status"] == "failed"]
    return sum(task["error"]["code"] == "outcome_unknown" for task in failed)


async def shown(all_: Replicas, links: Sequence[str]) -> None:
    """Every picture is there, one gateway after the other."""
    for link in links:
        name = link.rpartition("/pictures/")[2]
        answer = await all_.client.get(f"{all_.next().url}/pictures/{name}")
        assert answer.status_code == 200, (name, answer.text)
        assert hashlib.sha256(answer.content).hexdigest() == name.partition(".")[0]
