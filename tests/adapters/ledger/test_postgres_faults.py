"""The ledger on a PostgreSQL server that is cut, killed, frozen, full, or not to be had."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cluster.ports import free_ports
from cluster.postgres import PostgresServer
from ledger_builders import NOW, a_job, a_refusal, a_run, change, counted, keys_of, start, write
from severed import Severed

from gateway.adapters.ledger.postgres import ledger as postgres_ledger
from gateway.adapters.ledger.postgres.connections import Address
from gateway.adapters.ledger.postgres.failures import ADVICE, reason
from gateway.adapters.ledger.postgres.ledger import PostgresLedger
from gateway.adapters.ledger.postgres.side import PostgresSide
from gateway.core.model import Run, RunState
from gateway.core.money.booking import book
from gateway.core.runs.history import begun
from gateway.core.transaction import ConstraintViolation, Keys, View, Writes
from gateway.errors import Unavailable, Unsettled
from gateway.ports.replicas import News

COMMIT = b"COMMIT\0"
"""The statement whole: a transaction begins with READ COMMITTED."""
PATIENCE = 2.0
SOON = PATIENCE + 5.0


@pytest.fixture(autouse=True)
def less_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes 5 seconds where it is in use."""
    for name in ("PATIENCE_SECONDS", "CLOSING_SECONDS"):
        monkeypatch.setattr(postgres_ledger, name, PATIENCE)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Of this file alone: it is frozen and killed. It syncs what it commits.

    Not below pytest's own folder, which another run closes to the server's user.
    """
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        found = PostgresServer(Path(folder) / "server")
        found.start()
        yield found
        found.stop()


@pytest.fixture
def url(server: PostgresServer, request: pytest.FixtureRequest) -> Iterator[str]:
    schema = f"f{abs(hash(request.node.name)):x}"
    server.sql(f"CREATE SCHEMA {schema}")
    yield server.url(schema=schema)


@pytest.fixture
async def ledger(url: str) -> AsyncIterator[PostgresLedger]:
    found = a_ledger(url)
    await found.open()
    yield found
    await found.close()


def a_ledger(url: str | Address) -> PostgresLedger:
    return PostgresLedger(url, clock=lambda: NOW)


async def eventually(ledger: PostgresLedger, **writes: Any) -> None:
    """Until it is written."""
    while True:
        try:
            return await write(ledger, **writes)
        except Unavailable:
            await asyncio.sleep(0.05)


async def test_connections_that_were_cut_cost_nobody_anything(
    ledger: PostgresLedger, server: PostgresServer
) -> None:
    run = await start(ledger, a_run())
    for _ in range(3):
        assert await ledger.run(run.id) == run
        await asyncio.to_thread(server.cut)
        assert await ledger.run(run.id) == run
        await write(ledger, refusals=(a_refusal(),))


async def test_a_server_that_crashed_and_came_back(
    ledger: PostgresLedger, server: PostgresServer
) -> None:
    run = await start(ledger, a_run())
    await asyncio.to_thread(server.stop, crash=True)
    with pytest.raises(Unavailable) as raised:
        await start(ledger, a_run())
    assert "nobody listens" in raised.value.message
    assert raised.value.retry_after_seconds
    with pytest.raises(Unavailable):
        await ledger.run(run.id)
    await asyncio.to_thread(server.start)
    await start(ledger, a_run())
    assert await ledger.run(run.id) == run
    assert await ledger.violations() == []


async def test_turns_of_many_are_taken_in_time_from_a_server_that_is_far(
    url: str, server: PostgresServer
) -> None:
    """Each paid picture takes a turn, has its commit and gives it back: one by one, forty of them
    would take longer than anybody waits."""
    async with Severed(server.port, late=0.05) as way:
        ledger = a_ledger(Address(url.replace(f":{server.port}/", f":{way.port}/"), direct=url))
        await ledger.open()

        async def owned(name: str) -> None:
            assert await ledger.take_turns([name], name, now=NOW, until=NOW + 60)
            await start(ledger, a_run())
            await ledger.give_back_turns([name], name)

        await asyncio.gather(*(owned(f"picture/{number}") for number in range(40)))
        assert await ledger.violations() == []
        await ledger.close()


# --- a COMMIT whose answer is lost ---------------------------------------------------------------


def through(way: Severed, url: str, server: PostgresServer) -> Address:
    """As behind a pooler: then each COMMIT is sent in words."""
    return Address(url.replace(f":{server.port}/", f":{way.port}/"), pooler=True, direct=url)


async def test_a_commit_whose_answer_is_lost_is_asked_after(
    url: str, server: PostgresServer
) -> None:
    """The order is neither lost nor written twice, whoever it shared its batch with."""
    async with Severed(server.port) as way:
        ledger = a_ledger(through(way, url, server))
        await ledger.open()
        await start(ledger, a_run())
        way.drop_answers_to(COMMIT)
        under_way = [asyncio.create_task(start(ledger, a_run())) for _ in range(5)]
        await way.passed.wait()
        way.cut()
        runs = await asyncio.gather(*under_way)
        assert [await ledger.run(run.id) for run in runs] == runs
        assert await ledger.violations() == []
        await ledger.close()


async def test_a_commit_that_never_came_is_not_taken_for_anothers(
    url: str, server: PostgresServer
) -> None:
    """A server that crashed gives numbers out again that it had given and not synced: the next
    transactions have those of what was lost."""
    other = a_ledger(url)
    await other.open()
    async with Severed(server.port) as way:
        ledger = a_ledger(through(way, url, server))
        await ledger.open()
        await start(ledger, a_run())
        way.keep_back(COMMIT)
        ordered = a_run()
        lost = asyncio.create_task(start(ledger, ordered))
        await way.passed.wait()
        await asyncio.to_thread(server.stop, crash=True)
        await asyncio.to_thread(server.start)
        for _ in range(20):
            await eventually(other, refusals=(a_refusal(),))
        way.cut()
        run: Run | None
        try:
            run = await lost
        except Unsettled as doubt:  # the server was away for longer than anybody waits
            try:
                run = await doubt.settled()
            except Unavailable:
                run = None
        except Unavailable:  # it was tried once more, which was cut as well
            run = None
        assert await other.run(ordered.id) == run
        assert await other.violations() == []
        await ledger.close()
    await other.close()


async def test_a_doubt_is_told_and_settled_later(url: str, server: PostgresServer) -> None:
    async with Severed(server.port) as way:
        ledger = a_ledger(through(way, url, server))
        await ledger.open()
        first = await start(ledger, a_run())
        way.drop_answers_to(COMMIT)
        began = time.monotonic()
        with pytest.raises(Unsettled) as raised:
            await start(ledger, run := a_run())
        assert time.monotonic() - began < SOON
        assert raised.value.status == 503
        assert raised.value.retry_after_seconds
        with pytest.raises(Unavailable, match="Nothing was written"):
            await start(ledger, a_run())  # at once: the lane hangs
        assert await ledger.run(first.id) == first
        way.cut()
        assert await raised.value.settled() == run
        assert await ledger.run(run.id) == run
        await eventually(ledger, refusals=(a_refusal(),))
        await ledger.close()


async def test_writes_whose_connection_broke_are_made_again(
    ledger: PostgresLedger, server: PostgresServer
) -> None:
    """It is known that nothing of them was committed."""
    run, seen = a_run(id="run-once"), []

    def decide(view: View) -> tuple[str, Writes]:
        seen.append(view)
        if len(seen) == 1:
            server.cut()
        writes = book(None, run, view.accounts)
        return "done", replace(writes, jobs=(a_job(run),), steps=(begun(run),))

    keys = Keys(keys_of(run), counted=counted(run))
    assert await ledger.transact(keys, decide) == "done"
    assert len(seen) == 2
    assert await ledger.violations() == []


# --- a server that stands still ------------------------------------------------------------------


async def test_a_frozen_server_keeps_nobody_waiting(
    ledger: PostgresLedger, server: PostgresServer
) -> None:
    run = await start(ledger, a_run())
    await ledger.run(run.id)
    await asyncio.to_thread(server.freeze)
    try:
        began = time.monotonic()
        outcomes = await asyncio.gather(
            *(start(ledger, a_run()) for _ in range(20)),
            *(ledger.run(run.id) for _ in range(20)),
            *(ledger.orders("blue", after=None, limit=9) for _ in range(3)),
            return_exceptions=True,
        )
        assert time.monotonic() - began < SOON
        assert all(isinstance(one, Unavailable) for one in outcomes)
        began = time.monotonic()
        for ask in (lambda: start(ledger, a_run()), lambda: ledger.run(run.id), ledger.run_counts):
            with pytest.raises(Unavailable):
                await ask()
        assert time.monotonic() - began < 1
    finally:
        await asyncio.to_thread(server.thaw)
    await eventually(ledger, refusals=(a_refusal(),))
    while True:
        try:
            assert await ledger.run(run.id) == run
            break
        except Unavailable:
            await asyncio.sleep(0.05)
    counts = await ledger.run_counts()
    assert sum(counts.values()) == 1  # what was told not to be written is not
    assert await ledger.violations() == []


async def test_a_ledger_is_closed_while_its_server_stands_still(
    url: str, server: PostgresServer
) -> None:
    ledger = a_ledger(url)
    await ledger.open()
    await start(ledger, a_run())
    await asyncio.to_thread(server.freeze)
    try:
        waiting = asyncio.create_task(start(ledger, a_run()))
        began = time.monotonic()
        await ledger.close()
        assert time.monotonic() - began < SOON
        with pytest.raises(Unavailable):
            await waiting
    finally:
        await asyncio.to_thread(server.thaw)


# --- another process is in the way ---------------------------------------------------------------


async def test_a_fingerprint_that_another_was_quicker_with_is_decided_again(
    ledger: PostgresLedger, url: str
) -> None:
    """Without a lock that they share, as a version with other names would be."""
    run, seen = a_run(fingerprint="same"), []
    other = a_ledger(url)
    await other.open()

    def decide(view: View) -> tuple[str, Writes]:
        seen.append(view)
        if len(seen) == 1:
            twin = replace(a_run(), fingerprint="same")
            asyncio.run_coroutine_threadsafe(write(other, runs=(twin,)), loop).result()
            return "mine", Writes(runs=(run,))
        return "joined", Writes()

    loop = asyncio.get_running_loop()
    assert await ledger.transact(Keys(), decide) == "joined"
    await other.close()


async def test_one_that_breaks_a_rule_leaves_the_others_alone(ledger: PostgresLedger) -> None:
    known = await start(ledger, a_run())
    wrong = a_job(known, id=(await job_of(ledger, known.team)))
    outcomes = await asyncio.gather(
        *(start(ledger, a_run()) for _ in range(8)),
        write(ledger, jobs=(wrong,)),
        *(start(ledger, a_run()) for _ in range(8)),
        return_exceptions=True,
    )
    assert [type(one) for one in outcomes if isinstance(one, Exception)] == [ConstraintViolation]
    assert await ledger.violations() == []


async def job_of(ledger: PostgresLedger, team: str) -> str:
    [task] = await ledger.orders(team, after=None, limit=1)
    return task.job.id


# --- what is said --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change_it", "why"),
    [
        (lambda url: url.replace("only-on-loopback", "wrong"), ADVICE["28P01"]),
        (lambda url: url.replace("/postgres?", "/nowhere?"), "no such database"),
        (lambda url: url.replace("postgres:", "nobody-known:"), "storage.ledger"),
        (lambda url: f"postgresql://u:p@127.0.0.1:{free_ports(1)[0]}/x", "nobody listens"),
    ],
    ids=["password", "database", "user", "refused"],
)
async def test_at_the_start_it_says_what_to_do(url: str, change_it: Any, why: str) -> None:
    with pytest.raises(Unavailable) as raised:
        await PostgresLedger(change_it(url)).open()
    assert why in raised.value.message
    assert "wrong" not in raised.value.message.replace("wrong password", "")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("server does not support SSL, but SSL was required", "the server speaks no TLS"),
        ('root certificate file "/me/root.crt" does not exist', "certificate is not proved"),
        ("SSL error: certificate verify failed", "certificate is not proved"),
        (
            'server certificate for "db" does not match host name "10.0.0.1"',
            "certificate is for another name",
        ),
        ("received invalid response to SSL negotiation: H", "is no PostgreSQL"),
        ("No such file or directory\n\tIs the server running locally", "no socket of a server"),
        ('FATAL:  role "me" is not permitted to log in', "a LOGIN role"),
        ('FATAL:  database "gateway" does not exist', "no such database or user"),
    ],
)
def test_why_no_connection_is_made_is_told(said: str, why: str) -> None:
    where = 'connection failed: connection to server at "10.0.0.1", port 5432 failed: '
    assert why in reason(psycopg.OperationalError(where + said))


async def test_a_read_only_server_is_no_ledger(url: str) -> None:
    with pytest.raises(Unavailable, match="read-only"):
        await PostgresLedger(
            url.replace("options=", "options=-cdefault_transaction_read_only%3Don%20")
        ).open()


@pytest.mark.parametrize(
    "address",
    ["u:se%cret@h/db", "u:sec%00ret@h/db", "u:secret@[::1]x/db", "h/db?secret"],
)
async def test_an_address_that_cannot_be_read_is_not_shown(address: str) -> None:
    """The library's own words for it quote it, password and all."""
    with pytest.raises(Unavailable, match="cannot be read: write % ") as raised:
        await PostgresLedger(f"postgresql://{address}").open()
    with pytest.raises(Unavailable, match="cannot be read") as moved:
        PostgresSide(f"postgresql://{address}", "there").schema()
    assert "ret" not in raised.value.message + moved.value.message


async def test_while_it_is_restored_it_is_away(
    ledger: PostgresLedger, url: str, server: PostgresServer
) -> None:
    """Its tables are not there for a while; that is no fault of what is asked."""
    schema = url.rpartition("%3D")[2]
    run = await start(ledger, a_run())
    server.sql(f"ALTER SCHEMA {schema} RENAME TO {schema}_old")
    for asked in (ledger.run(run.id), ledger.next_due(), start(ledger, a_run())):
        with pytest.raises(Unavailable, match="tables are not there"):
            await asked
    server.sql(f"ALTER SCHEMA {schema}_old RENAME TO {schema}")
    assert await ledger.run(run.id) == run
    await start(ledger, a_run())


# --- news ----------------------------------------------------------------------------------------


async def test_others_hear_what_is_written_and_that_they_missed_something(
    ledger: PostgresLedger, url: str, server: PostgresServer
) -> None:
    heard: asyncio.Queue[News] = asyncio.Queue()
    other = a_ledger(url)
    other.listen(heard.put_nowait)
    await other.open()
    run = await start(ledger, a_run())
    news = News()
    while run.id not in news.runs:  # it may begin to listen late
        run = await change(
            ledger, replace(run, state=RunState.RUNNING, accepted_at=(run.accepted_at or NOW) + 1)
        )
        try:
            async with asyncio.timeout(0.3):
                news = await heard.get()
        except TimeoutError:
            continue
    await asyncio.to_thread(server.cut)
    async with asyncio.timeout(20):
        while not (await heard.get()).missed:
            pass
    await change(ledger, replace(run, accepted_at=NOW + 99))
    async with asyncio.timeout(20):
        assert run.id in (await heard.get()).runs
    await other.close()
