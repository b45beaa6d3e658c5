"""What becomes of an order when upstream's answer to its submit is not plainly yes or no."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from house import ORGANISATION_KEY, OTHER_KEY, PRICE_USD, TEAM_KEY, House, opened
from structlog.testing import capture_logs
from test_attack_upstream import Liar, answer

SPEND = 'gateway_spend_usd_total{model="gpt-image-1.5",team="blue"}'
HELD = 'gateway_budget_held_usd{team="blue",window="day"}'
UP = 'gateway_upstream_up{route="evolink/gpt-image-1.5",upstream="evolink"}'
CDN = ("Server: cloudflare", "CF-RAY: 8f0a1b2c3d4e5f60-FRA")
ESCAPED = "".join(f"\\u{ord(one):04x}" for one in ORGANISATION_KEY)


@contextlib.asynccontextmanager
async def lied_to(
    folder: Path, deadline: str = "2s", **upstream: Any
) -> AsyncIterator[tuple[House, Liar]]:
    async with Liar().serving() as liar:
        one = await opened(
            liar,  # type: ignore[arg-type]
            folder,
            teams={"blue": {"budgets": [{"usd": 100, "per": "day"}]}},
            models={"gpt-image-1.5": {"deadline": deadline}},
            upstreams={"evolink": upstream},
        )
        try:
            yield one, liar
        finally:
            await one.stop()


def keys_of(liar: Liar) -> list[str]:
    heads = "".join(head for head in liar.heads if head.startswith("POST"))
    return re.findall(r"(?im)^idempotency-key: (\S+)", heads)


def error(code: Any, message: str = "words") -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


LOST = [
    answer(error("gateway_timeout", "upstream request timeout"), status=504),
    answer(error("internal_error"), status=500),
    answer(error(502), "Retry-After: 1", status=502),
    answer(b"<html>", *CDN, status=520),
    answer(b"error code: 524", *CDN, status=524),
    answer(b"error code: 522", status=522),  # without the CDN's signs
    answer(b"upstream connect error or disconnect/reset before headers", status=503),
    answer(error("service_error")),
]
NOT_TAKEN = [
    *(answer(b"error code", *CDN, status=status) for status in (521, 522, 523, 525, 526, 530)),
    answer(b"<html>503 Service Temporarily Unavailable</html>", status=503),
    answer(error("service_unavailable"), status=503),
    answer(error("no_available_channel"), status=500),
    answer(error("Too-Many-Requests"), status=400),
    answer({"error": "busy"}),
    answer({"code": 429, "msg": "slow down", "data": None}),
    answer(error("pool_is_dry"), status=504),  # as the settings say
]


async def test_what_may_have_been_taken_is_never_sent_again(tmp_path: Path) -> None:
    async with lied_to(tmp_path) as (one, liar):
        liar.submit = lambda nth: LOST[nth - 1]
        for number in range(len(LOST)):
            lost = await one.post(f"lost {number}")
            assert lost.status_code == 504 and "outcome_unknown" in lost.text, number
        assert (await one.metrics())[UP] == 1, "what nobody knows says nothing of the route"
        await one.settled()
        assert liar.asked["submit"] == len(set(keys_of(liar))) == len(LOST)
        shown = await one.metrics()
        assert round(shown[SPEND], 6) == round(PRICE_USD * len(LOST), 6) and shown[HELD] == 0
        assert await one.violations() == []


async def test_what_was_certainly_not_taken_waits_and_is_paid_once(tmp_path: Path) -> None:
    async with lied_to(tmp_path, deadline="60s", not_taken=["Pool is dry"]) as (one, liar):
        true = liar.submit
        for number, no in enumerate(NOT_TAKEN):
            before = liar.asked["submit"]
            liar.submit = lambda nth, no=no, one=before + 1: no if nth == one else true(nth)  # type: ignore[misc]
            task = await one.made(f"later {number}")
            assert task["status"] == "completed", number
            assert liar.asked["submit"] == before + 2
        shown = await one.metrics()
        assert round(shown[SPEND], 6) == round(PRICE_USD * len(NOT_TAKEN), 6) and shown[HELD] == 0
        assert await one.violations() == []


async def test_an_error_in_a_200_is_an_error(tmp_path: Path) -> None:
    async with lied_to(tmp_path) as (one, liar):
        for number, (body, status, words) in enumerate(
            (
                (error("insufficient_quota", "top up"), 502, "key or balance"),
                ({"code": 402, "msg": "no credits", "data": None}, 502, "key or balance"),
                ({"code": 401, "msg": "who?"}, 502, "key or balance"),
                (error("content_policy_violation", "not this"), 400, "not this"),
                ({"code": 422, "msg": "no such size"}, 422, "no such size"),
            )
        ):
            liar.submit = lambda _, body=body: answer(body)  # type: ignore[misc]
            one.gateway.worker.reconnected()  # each with a fresh breaker
            said = await one.post(f"error {number}")
            assert said.status_code == status and words in said.json()["error"]["message"], number
        assert (await one.metrics())[SPEND] == 0
        assert await one.violations() == []


async def test_what_upstream_said_is_in_the_log_and_in_the_explanation(tmp_path: Path) -> None:
    said = f"sorry, {ORGANISATION_KEY} has no luck with 'a secret bicycle' today " + "x" * 500
    shown = "sorry, [redacted] has no luck with '[prompt]' today xxx"
    for number, (status, event) in enumerate(
        ((500, "AnswerLost"), (503, "NotNow"), (402, "CredentialsRefused"), (400, "Refused"),
         (200, "CredentialsRefused"))
    ):  # fmt: skip
        async with lied_to(tmp_path / str(number)) as (one, liar):
            code = "insufficient_quota" if status == 200 else "x"
            raw = json.dumps(error(code, said)).replace(ORGANISATION_KEY, ESCAPED).encode()
            liar.submit = lambda _, raw=raw, status=status: answer(raw, status=status)  # type: ignore[misc]
            with capture_logs() as lines:
                answered = await one.post("a secret bicycle")
            (line,) = [one for one in lines if one.get("happened") == event][:1]
            assert line["upstream_said"].startswith(shown)
            assert len(line["upstream_said"]) == 200
            run = (await one.admin("GET", "runs")).json()["data"][0]["id"]
            told = (await one.admin("GET", f"runs/{run}")).json()
            assert shown in told["summary"] and shown in told["steps"][1]["detail"]
            for text in (json.dumps(told["steps"]), told["summary"], answered.text, str(lines)):
                assert ORGANISATION_KEY not in text and ESCAPED not in text
            assert "secret bicycle" not in json.dumps(told["steps"])


async def test_every_ending_that_costs_is_a_warning(tmp_path: Path) -> None:
    async with lied_to(tmp_path, deadline="500ms") as (one, liar):
        true = liar.submit
        with capture_logs() as lines:
            liar.poll = lambda _: answer(liar.task(status="processing", progress=50))
            await one.made("stuck")
            liar.submit = lambda _: answer(b"", status=500)
            await one.post("lost")
            await one.settled()
            liar.submit, liar.poll = true, lambda _: answer(error("task_not_found"), status=404)
            await one.made("gone")
            failed = {"status": "failed", "error": {"code": "service_error", "message": "m"}}
            liar.poll = lambda _: answer(liar.task(**failed, usage={"credits_used": 3}))
            task = await one.made("failed and charged")
            assert task["error"]["code"] == "service_error"
            liar.poll = lambda _: answer(liar.task(**failed))
            await one.made("failed for nothing")
        ends = [line for line in lines if line.get("state") == "failed"]
        assert [line["log_level"] for line in ends] == [*["warning"] * 4, "info"]
        assert [line["spent"] for line in ends] == [*[50_000] * 4, 0]
        assert round((await one.metrics())[SPEND], 6) == 4 * PRICE_USD
        assert await one.violations() == []


async def test_an_upstream_that_counts_no_credits_yet_is_paid_the_price(tmp_path: Path) -> None:
    async with lied_to(tmp_path, deadline="9s", usd_per_credit=0.01) as (one, liar):
        spent = 0.0
        for number, (used, cost) in enumerate(
            ((0, PRICE_USD), (-1, PRICE_USD), (None, PRICE_USD), ("2", PRICE_USD), (2, 0.02))
        ):
            usage = {} if used is None else {"credits_used": used}
            liar.poll = lambda _, usage=usage: answer(liar.completed("/p.png", usage=usage))  # type: ignore[misc]
            await one.made(f"paid {number}")
            spent += cost
            assert round((await one.metrics())[SPEND], 6) == round(spent, 6)
        failed = {"status": "failed", "error": {"code": "service_error", "message": "m"}}
        for used, cost in ((3, 0.03), (900, PRICE_USD), (0, 0.0)):
            usage = {"credits_used": used}
            liar.poll = lambda _, usage=usage: answer(liar.task(**failed, usage=usage))  # type: ignore[misc]
            before = liar.asked["submit"]
            assert (await one.made(f"failed {used}"))["status"] == "failed"
            assert liar.asked["submit"] == before + 1
            spent += cost
            assert round((await one.metrics())[SPEND], 6) == round(spent, 6)
        for number, (told, cost) in enumerate(CHARGED_ELSEWHERE):
            liar.poll = lambda _, told=told: answer(liar.task(**failed, **told))  # type: ignore[misc]
            before = liar.asked["submit"]
            await one.made(f"told elsewhere {number}")
            assert liar.asked["submit"] == before + 1
            spent += cost
            assert round((await one.metrics())[SPEND], 6) == round(spent, 6)
        assert await one.violations() == []


@pytest.mark.parametrize(
    ("used", "told"), [(3, (424, "result_lost")), (0, (502, "upstream_error"))]
)
async def test_openais_clients_send_no_order_again_whose_failure_was_charged(
    tmp_path: Path, used: int, told: tuple[int, str]
) -> None:
    async with lied_to(tmp_path, deadline="9s") as (one, liar):
        failed = {"status": "failed", "error": {"code": "service_error", "message": "m"}}
        liar.poll = lambda _: answer(liar.task(**failed, usage={"credits_used": used}))
        body = {"model": "gpt-image-1.5", "prompt": "p"}
        head = {"Authorization": f"Bearer {TEAM_KEY}"}
        got = await one.client.post("/openai/v1/images/generations", json=body, headers=head)
        assert (got.status_code, got.json()["error"]["code"]) == told
        assert (got.headers.get("x-should-retry") == "false") is bool(used)


CHARGED_ELSEWHERE: tuple[tuple[dict[str, Any], float], ...] = (
    ({"usage": {"credits_used": "2"}}, PRICE_USD),  # paid, and no number to reckon with
    ({"usage": {"cost": {"credits": 3}}}, 0.03),
    ({"billing": {"charge_status": "charged", "charged_credits": 2}}, 0.02),
    ({"billing": {"charge_status": "charged"}}, PRICE_USD),
    ({"billing": {"charge_status": "released", "reserved_credits": 2}}, 0.0),
)

NO_BACKEND = answer(b"<html>no backend</html>", status=404)
THEIRS = answer(error("invalid_request"), status=400)
REPLAYED = answer(error("invalid_request"), "Idempotency-Replayed: true", status=400)


@pytest.mark.parametrize(
    ("second", "cost"), [(NO_BACKEND, PRICE_USD), (THEIRS, PRICE_USD), (REPLAYED, 0.0)]
)
async def test_a_doubt_ends_only_by_the_answer_to_the_same_key(
    tmp_path: Path, second: bytes, cost: float
) -> None:
    async with lied_to(tmp_path, resend_after_lost_answer=True) as (one, liar):
        liar.submit = lambda nth: b"" if nth == 1 else second
        lost = await one.post("in doubt")
        assert lost.status_code in (400, 504)
        await one.settled()
        assert len(set(keys_of(liar))) == 1 and liar.asked["submit"] > 1
        shown = await one.metrics()
        assert (round(shown[SPEND], 6), shown[HELD]) == (cost, 0)
        assert await one.violations() == []


async def test_what_is_forbidden_to_one_team_is_not_our_key(tmp_path: Path) -> None:
    async with lied_to(tmp_path, deadline="9s") as (one, liar):
        true = liar.submit
        for number, no in enumerate((b"<html>blocked by the firewall", error(403), error("odd"))):
            liar.submit = lambda _, no=no: answer(no, status=403)  # type: ignore[misc]
            for again in range(4):
                assert (await one.post(f"forbidden {number} {again}")).status_code == 403
        assert (await one.metrics())[UP] == 1
        liar.submit = true
        for key in (TEAM_KEY, OTHER_KEY):
            assert (await one.made("allowed", key=key))["status"] == "completed"
        assert await one.violations() == []


class Store(Liar):
    """A liar that reads what it is sent before it answers."""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?im)^content-length: (\d+)", head)
        await (reader.readexactly(int(length[1])) if length else reader.readuntil(b"0\r\n\r\n"))
        writer.write(self.submit(1))
        await writer.drain()
        writer.close()


@pytest.mark.parametrize(
    ("way", "body"),
    [("url", {"file_url": "https://x.test/a.png"}), ("base64", {"base64_data": "aGFsbG8="})],
)
async def test_the_file_store_passes_our_key_on_to_nobody(
    tmp_path: Path, way: str, body: dict[str, str]
) -> None:
    keys = [ORGANISATION_KEY, ESCAPED, "".join(f"%{ord(c):02x}" for c in ORGANISATION_KEY)]
    said = f"Invalid request for token {keys[0]}, {keys[1]} or {keys[2]}"
    no = f'{{"success": false, "code": 400, "msg": "{said}"}}'.encode()
    yes = (
        f'{{"success": true, "code": 200, "msg": "{said}", "data": {{"file_id": "f1", '
        f'"file_url": "https://files.test/{keys[2]}/a.png", "note": "{keys[1]}"}}}}'
    ).encode()
    packed = answer(gzip.compress(no), "Content-Encoding: gzip", status=400)
    async with Store().serving() as store, lied_to(tmp_path, files_url=store.base_url) as (one, _):
        for reply, status in ((answer(no, status=400), 400), (packed, 400), (answer(yes), 200)):
            store.submit = lambda _, reply=reply: reply  # type: ignore[misc]
            told = await one.client.post(
                f"/api/v1/files/upload/{way}",
                json=body,
                headers={"Authorization": f"Bearer {TEAM_KEY}"},
            )
            assert told.status_code == status and "[redacted]" in told.text, told.text
            assert not [key for key in keys if key in told.text]
            assert ORGANISATION_KEY not in json.dumps(told.json())
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert not [key for key in keys if key.encode() in path.read_bytes()], path
