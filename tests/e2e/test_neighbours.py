"""One team does its worst in a shared place, and the order of another takes its usual time.

`green` attacks, `blue` orders; what counts is the ratio of blue's times without and with that.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import io
import ssl
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from house import FAST, OTHER_KEY, TEAM_KEY, House, house, opened
from PIL import Image
from receivers import Receive

from gateway.core.model import Delivery
from gateway.core.transaction import Keys, Writes
from gateway.sandbox import running_sandbox
from gateway.web.evolink import base64_file
from gateway.web.openai import edits

pytestmark = pytest.mark.alone

Try = Callable[[int], Awaitable[object]]
FLOOR_SECONDS = 0.15
"""Less than this is noise of the machine, and no order takes less."""


def auth(key: str = TEAM_KEY) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


NUMBERS = count()


async def usual_seconds(one: Try) -> float:
    """How long it takes: the median of three after one that warms everything up."""
    seconds = []
    for _ in range(4):
        start = time.monotonic()
        await one(next(NUMBERS))
        seconds.append(time.monotonic() - start)
    return max(FLOOR_SECONDS, statistics.median(seconds[1:]))


async def is_undisturbed(one: Try, usual: float) -> None:
    assert await usual_seconds(one) <= 2 * usual


@contextlib.asynccontextmanager
async def meanwhile(*attacks: Awaitable[Any]) -> AsyncIterator[list[asyncio.Future[Any]]]:
    """Goes on beside the block, which begins a moment later, and ends with it."""
    tasks = [asyncio.ensure_future(attack) for attack in attacks]
    await asyncio.sleep(0.3)
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def drawn(number: int = 0) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), (number % 256, number // 256, 99)).save(file, "PNG")
    return file.getvalue()


def heavy_jpeg(scans: int) -> bytes:
    """A small file whose every scan is a pass over 64 million pixels."""
    file = io.BytesIO()
    Image.new("L", (8000, 8000), 128).save(file, "JPEG", progressive=True)
    flat = file.getvalue()
    last = flat.rindex(b"\xff\xda")
    return flat[:last] + flat[last:-2] * scans + flat[-2:]


async def edit(one: House, picture: bytes, prompt: str, key: str = TEAM_KEY) -> httpx.Response:
    return await one.client.post(
        "/openai/v1/images/edits",
        data={"model": "gpt-image-1.5", "prompt": prompt, "response_format": "url"},
        files={"image": ("a.png", picture, "image/png")},
        headers=auth(key),
    )


def edits_of_blue(one: House) -> Try:
    async def edited(number: int) -> None:
        answer = await edit(one, drawn(number), f"blue's {number}")
        assert answer.status_code == 200, answer.text

    return edited


def orders_of_blue(one: House, **more: Any) -> Try:
    async def ordered(number: int) -> None:
        wish = {"Prefer": "wait=20"}
        answer = await one.post(f"blue's {number}", headers=wish, **more)
        assert answer.json()["status"] == "completed", answer.text

    return ordered


@contextlib.asynccontextmanager
async def connections(
    one: House, count: int, head: str
) -> AsyncIterator[list[asyncio.Future[bytes]]]:
    """Clients of green that send a head and nothing more, and read the first line of an answer."""

    async def hold() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", one.http.bound_port)
        writer.write(f"{head}\r\nHost: x\r\nAuthorization: Bearer {OTHER_KEY}\r\n\r\n".encode())
        try:
            return await reader.readline()
        finally:
            writer.transport.abort()

    async with meanwhile(*(hold() for _ in range(count))) as tasks:
        yield tasks


# --- decoding ------------------------------------------------------------------------------------


async def test_pictures_that_decode_for_long_hold_up_no_other_team(a_house: House) -> None:
    usual = await usual_seconds(edits_of_blue(a_house))
    slow = heavy_jpeg(90)  # fewer than are refused at sight; some seconds of a processor

    async def attack() -> None:
        while True:
            await edit(a_house, slow, "green's", OTHER_KEY)

    async with meanwhile(*(attack() for _ in range(8))):
        await is_undisturbed(edits_of_blue(a_house), usual)


async def test_a_picture_of_thousands_of_scans_is_refused_at_once(a_house: House) -> None:
    start = time.monotonic()
    answer = await edit(a_house, heavy_jpeg(20_000), "x")
    assert answer.status_code == 400 and "takes too long to decode" in answer.text
    assert time.monotonic() - start < 4
    assert a_house.sandbox.state.submits == 0


# --- what comes in -------------------------------------------------------------------------------

FORM = (
    "POST /openai/v1/images/edits HTTP/1.1\r\nContent-Length: 100000\r\n"
    "Content-Type: multipart/form-data; boundary=xx"
)


async def test_forms_that_never_come_hold_up_no_other_team(a_house: House) -> None:
    usual = await usual_seconds(edits_of_blue(a_house))
    async with connections(a_house, 40, FORM):
        await is_undisturbed(edits_of_blue(a_house), usual)


async def test_who_sends_next_to_nothing_of_a_form_is_cut(
    a_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edits, "FORM_GRACE_SECONDS", 0.3)
    async with connections(a_house, 3, FORM) as tasks:
        lines = await asyncio.wait_for(asyncio.gather(*tasks), 5)
        assert all(b" 400 " in line for line in lines)
    assert (await edit(a_house, drawn(), "x")).status_code == 200


async def test_a_team_with_too_many_edits_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edits, "FORMS_WAITING", 2)
    async with house(tmp_path) as one, connections(one, 20, FORM):
        answer = await edit(one, drawn(), "x", OTHER_KEY)
        assert answer.status_code == 429 and int(answer.headers["retry-after"]) > 0
        assert answer.json()["error"]["code"] == "rate_limit_exceeded"
        assert "8 edits under way" in answer.text
        assert (await edit(one, drawn(), "x")).status_code == 200


async def test_files_as_base64_that_never_come_hold_up_no_other_team(a_house: House) -> None:
    file = base64.b64encode(drawn() + bytes(300_000)).decode()  # bytes behind the end are fine

    async def upload(key: str) -> httpx.Response:
        body = {"base64_data": file}
        path = "/api/v1/files/upload/base64"
        return await a_house.client.post(path, json=body, headers=auth(key))

    async def dripping() -> None:
        async def body() -> AsyncIterator[bytes]:
            yield b'{"base64_data":"' + b"QUJD" * 70_000
            await asyncio.Event().wait()

        await a_house.client.post(
            "/api/v1/files/upload/base64", content=body(), headers=auth(OTHER_KEY)
        )

    async with meanwhile(*(dripping() for _ in range(base64_file.LARGE_AT_ONCE))):
        assert (await upload(TEAM_KEY)).status_code == 200
        assert (await upload(OTHER_KEY)).status_code == 429


@pytest.mark.parametrize("ending", [b'*"}', b'",}'])
async def test_large_files_as_base64_hold_up_no_other_team(a_house: House, ending: bytes) -> None:
    """Twenty megabytes each, parsed to their end before the mistake is found."""
    body = b'{"base64_data":"' + b"QUJD" * 6_600_000 + ending

    async def client() -> None:
        while True:
            path = "/api/v1/files/upload/base64"
            answer = await a_house.client.post(path, content=body, headers=auth(OTHER_KEY))
            assert answer.status_code == 400

    usual = await usual_seconds(orders_of_blue(a_house))
    async with meanwhile(*(client() for _ in range(4))):
        await is_undisturbed(orders_of_blue(a_house), usual)


async def test_prompts_of_a_megabyte_hold_up_no_other_team(a_house: House) -> None:
    ordered = orders_of_blue(a_house)

    async def estimated(number: int) -> None:
        wish = {"model": "gpt-image-1.5", "prompt": f"{number} {'blue ' * 1000}"}
        path = "/v1/images/estimate"
        answer = await a_house.client.post(path, json=wish, headers=auth())
        assert answer.status_code == 200, answer.text

    async def both(number: int) -> None:
        await estimated(number)
        await ordered(number)

    usual = await usual_seconds(both)
    huge = {"model": "gpt-image-1.5", "prompt": "\u0627" * 500_000}

    async def attack() -> None:
        while True:
            answer = await a_house.client.post(
                "/v1/images/generations", json=huge, headers=auth(OTHER_KEY)
            )
            assert answer.status_code == 400

    async with meanwhile(*(attack() for _ in range(12))):
        await is_undisturbed(both, usual)


# --- upstream ------------------------------------------------------------------------------------


async def test_zipped_bodies_of_a_megabyte_hold_up_no_other_team(a_house: House) -> None:
    """Forty clients of one team send kilobytes each of which unfolds to a megabyte."""
    body = gzip.compress(b'{"model":"gpt-image-2","prompt":"' + b"x" * 1_000_000 + b'"}')
    headers = {**auth(OTHER_KEY), "Content-Encoding": "gzip"}

    async def client() -> None:
        while True:
            await a_house.client.post("/v1/images/estimate", content=body, headers=headers)

    usual = await usual_seconds(orders_of_blue(a_house))
    async with meanwhile(*(client() for _ in range(40))):
        await is_undisturbed(orders_of_blue(a_house), usual)


async def test_links_that_drip_hold_up_no_other_team(tmp_path: Path) -> None:
    async with house(tmp_path, worker={"downloads": 4}) as one:
        usual = await usual_seconds(orders_of_blue(one))
        for number in range(12):
            await one.post(f"green's {number} [sandbox:slow-link=20]", key=OTHER_KEY)
        await asyncio.sleep(0.5)
        await is_undisturbed(orders_of_blue(one), usual)


async def test_submits_that_hang_hold_up_no_other_team(tmp_path: Path) -> None:
    async with house(tmp_path, worker={"concurrency": 4}) as one:
        usual = await usual_seconds(orders_of_blue(one))

        async def attack(number: int) -> None:
            while True:
                await one.post(f"green's {next(NUMBERS)} [sandbox:hang]", key=OTHER_KEY)

        async with meanwhile(*(attack(number) for number in range(12))):
            await is_undisturbed(orders_of_blue(one), usual)


# --- waiting -------------------------------------------------------------------------------------


async def test_who_waits_leaves_places_to_wait_for_others(tmp_path: Path) -> None:
    async with house(tmp_path, server={"max_waiters": 8}) as one:
        stuck = (await one.post("green's [sandbox:delay=15]", key=OTHER_KEY)).json()["id"]

        async def waits() -> httpx.Response:
            head = {**auth(OTHER_KEY), "Prefer": "wait=20"}
            return await one.client.get(f"/v1/tasks/{stuck}", headers=head)

        async with meanwhile(*(waits() for _ in range(30))) as tasks:
            answered = [task.result() for task in tasks if task.done()]
            assert len(answered) == 26
            assert not any("preference-applied" in answer.headers for answer in answered)
            mine = await one.post("blue's", headers={"Prefer": "wait=20"})
            assert mine.headers["preference-applied"] == "wait=20"
            assert mine.json()["status"] == "completed"


async def test_openais_clients_that_cannot_wait_are_told_before_money_moves(
    tmp_path: Path,
) -> None:
    async with house(tmp_path, server={"max_waiters": 4}) as one:

        async def ordered(prompt: str, key: str = OTHER_KEY) -> httpx.Response:
            wish = {"model": "gpt-image-1.5", "prompt": prompt, "response_format": "url"}
            path = "/openai/v1/images/generations"
            return await one.client.post(path, json=wish, headers=auth(key))

        assert (await ordered("made before")).status_code == 200
        async with meanwhile(*(ordered(f"{n} [sandbox:delay=15]") for n in range(2))):
            refused = await ordered("one more")
            assert refused.status_code == 429 and int(refused.headers["retry-after"]) > 0
            assert refused.json()["error"]["code"] == "rate_limit_exceeded"
            assert "one more" not in one.sandbox.state.submits_by_prompt
            assert (await ordered("made before")).status_code == 200
            assert (await ordered("blue's", TEAM_KEY)).status_code == 200


# --- callbacks -----------------------------------------------------------------------------------


async def test_callbacks_to_thousands_of_hosts_that_hang_hold_up_no_other_team(
    tmp_path: Path, trust: ssl.SSLContext, receive: Receive
) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read()  # the caller's hello, and its end when it gives up
        writer.transport.abort()

    settings = {"allow_private_addresses": True, "timeout": "5s", "retries": ["1s"]}
    async with running_sandbox(FAST) as sandbox:
        one = await opened(sandbox, tmp_path, callback_tls=trust, callbacks=settings)
        receiver = await receive()
        hole = await asyncio.start_server(silent, "0.0.0.0", 0, backlog=256)
        port = hole.sockets[0].getsockname()[1]

        async def told(number: int) -> None:
            calls = len(receiver.calls)
            await one.post(f"blue's {number}", callback_url=receiver.url())
            await receiver.called(calls + 1)

        usual = await usual_seconds(told)
        greens = (await one.made("green's", key=OTHER_KEY))["id"]
        now = time.time()
        rows = tuple(
            Delivery(f"msg_{n}", greens, "green", f"https://127.{n % 250 + 1}.{n // 250}.9:{port}/",
                     created_at=now, due_at=now - 60)
            for n in range(2_200)
        )  # fmt: skip
        await one.gateway.ledger.transact(Keys(), lambda _: (None, Writes(deliveries=rows)))
        one.gateway.webhooks.nudge()
        await asyncio.sleep(0.5)
        await is_undisturbed(told, usual)
        await one.stop()
        hole.close()
