"""An ending that counts as spent is paid once, however often clients send the order again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from house import OTHER_KEY, PRICE_USD, TEAM_KEY, House, house

SHORT = {"gpt-image-1.5": {"deadline": "1s"}}
SPEND = 'gateway_spend_usd_total{model="gpt-image-1.5",team="blue"}'
DENIED = 'gateway_denials_total{mode="enforce",reason="%s",team="blue"}'
NO_CACHE = {"Cache-Control": "no-cache"}


def code(answer: httpx.Response) -> tuple[int, str, str]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["type"]


@pytest.mark.parametrize(
    ("word", "ending"), [("stuck", "generation_timeout"), ("html-link", "result_lost")]
)
async def test_it_is_repeated_on_both_apis(tmp_path: Path, word: str, ending: str) -> None:
    async with house(tmp_path, models=SHORT) as one:
        prompt = f"in vain [sandbox:{word}]"
        key = {"Idempotency-Key": "order-1"}
        first = await one.made(prompt, headers=key)
        assert first["status"] == "failed" and first["error"]["code"] == ending
        again = await one.post(prompt)
        assert code(again) == (424, ending, "api_error") and "retry-after" not in again.headers
        theirs = await one.openai(prompt)
        assert code(theirs) == (424, ending, "api_error")
        assert theirs.headers["x-should-retry"] == "false"
        replayed = await one.post(prompt, headers=key)
        assert replayed.json() == first and replayed.headers["idempotency-replayed"] == "true"
        assert one.sandbox.state.submits == 1
        await told_of(one, again, prompt, ending)
        assert "fwd=miss" in (await one.post(prompt, key=OTHER_KEY)).headers["cache-status"]
        assert (await one.post(prompt, headers=NO_CACHE)).status_code == 200
        assert one.sandbox.state.submits == 3
        await one.settled()
        assert await one.violations() == []


async def told_of(one: House, refused: httpx.Response, prompt: str, ending: str) -> None:
    """The estimate, the explanation, the metrics and the report say the same."""
    body = {"model": "gpt-image-1.5", "prompt": prompt}
    headers = {"Authorization": f"Bearer {TEAM_KEY}"}
    estimate = (await one.client.post("/v1/images/estimate", json=body, headers=headers)).json()
    assert (estimate["verdict"], estimate["cost_usd"]) == ("deny", 0)
    assert estimate["denial"]["reason"] == ending and estimate["denial"]["resets_at"]
    told = (await one.admin("GET", f"runs/{refused.headers['x-request-id']}")).json()
    assert told["refusal"]["reason"] == ending
    assert f"never_paid_twice ({ending})" in told["summary"]
    shown = await one.metrics()
    assert shown[DENIED % ending] == 2 and round(shown[SPEND], 6) == PRICE_USD


async def test_who_sends_again_on_every_error_pays_once(tmp_path: Path) -> None:
    async with house(tmp_path, models=SHORT) as one:
        answers = [await one.openai("stuck [sandbox:stuck]") for _ in range(3)]
        assert {code(one) for one in answers} == {(424, "generation_timeout", "api_error")}
        assert one.sandbox.state.submits == 1
        assert round((await one.metrics())[SPEND], 6) == PRICE_USD


async def test_nothing_is_repeated_where_the_settings_say_so(tmp_path: Path) -> None:
    async with house(tmp_path, models=SHORT, cache={"remember_lost": "0s"}) as one:
        for submits in (1, 2):
            assert (await one.made("stuck [sandbox:stuck]"))["status"] == "failed"
            assert one.sandbox.state.submits == submits


async def test_a_callback_has_no_place_in_an_answer_that_is_waited_for(a_house: House) -> None:
    answer = await a_house.client.post(
        "/openai/v1/images/generations",
        json={"model": "gpt-image-1.5", "prompt": "x", "callback_url": "https://example.org/"},
        headers={"Authorization": f"Bearer {TEAM_KEY}"},
    )
    assert answer.status_code == 400 and answer.json()["error"]["param"] == "callback_url"


# --- who may pass the cache by -------------------------------------------------------------------

IGNORED = "; detail=client-control-ignored"
WISHES = ("no-cache", "No-Cache, no-store", "no-store", "max-age=0", 'max-age="0"', "max-age=5")


async def test_a_team_may_be_kept_from_passing_the_cache_by(tmp_path: Path) -> None:
    teams: dict[str, Any] = {"blue": {"cache": {"client_control": "ignore"}}}
    async with house(tmp_path, teams=teams) as one:
        await one.made("ours")
        for wish in WISHES:
            hit = await one.post("ours", headers={"Cache-Control": wish})
            assert hit.headers["cache-status"].startswith("image-gateway; hit; ttl="), wish
            assert hit.headers["cache-status"].endswith(IGNORED), wish
        only = await one.post("ours", headers={"Cache-Control": "only-if-cached"})
        assert only.headers["cache-status"].startswith("image-gateway; hit")
        assert IGNORED not in only.headers["cache-status"]
        unseen = await one.post("unseen", headers={"Cache-Control": "no-cache, only-if-cached"})
        assert code(unseen)[:2] == (504, "not_cached")
        first = await one.post("first [sandbox:delay=0.3]", headers=NO_CACHE)
        assert first.headers["cache-status"] == f"image-gateway; fwd=miss; stored{IGNORED}"
        joined = await one.post("first [sandbox:delay=0.3]", headers={"Cache-Control": "no-store"})
        assert joined.headers["cache-status"] == f"image-gateway; fwd=miss; collapsed{IGNORED}"
        theirs = await one.openai("ours", headers=NO_CACHE)
        assert theirs.headers["cache-status"].endswith(IGNORED)
        assert one.sandbox.state.submits == 2
        await one.made("theirs", key=OTHER_KEY)
        paid = await one.post("theirs", key=OTHER_KEY, headers=NO_CACHE)
        assert paid.headers["cache-status"] == "image-gateway; fwd=bypass; stored"
        assert one.sandbox.state.submits == 4


async def test_pragma_alone_orders_nothing(a_house: House) -> None:
    await a_house.made("pragmatic")
    hit = await a_house.post("pragmatic", headers={"Pragma": "no-cache"})
    assert hit.headers["cache-status"].startswith("image-gateway; hit")
    assert a_house.sandbox.state.submits == 1


async def test_the_usage_report_tells_what_bypasses_cost(a_house: House) -> None:
    await a_house.made("dear")
    await a_house.made("dear", headers=NO_CACHE)
    await a_house.made("dear", headers={"Cache-Control": "max-age=0"})
    report = (await a_house.admin("GET", "usage?by=team")).json()
    (row,) = report["data"]
    assert (row["started"], row["bypassed"]) == (3, 2)
    assert (row["spent_usd"], row["bypassed_usd"]) == (0.15, 0.1)
    lines = (await a_house.admin("GET", "usage?by=team&format=csv")).text.splitlines()
    assert lines[0].endswith(",bypassed,bypassed_usd,done,failed_usd")
    assert lines[1].endswith(",2,0.100000,3,0.000000")
    assert await a_house.violations() == []


# --- a task, or an error -------------------------------------------------------------------------

HOOK = "https://127.0.0.1:9/hook"
HOOKS = {"allow_private_addresses": True, "retries": ["1ms"]}


@pytest.mark.parametrize("prefer", [{}, {"Prefer": "wait=10"}], ids=["at once", "waiting"])
async def test_what_was_left_waiting_is_answered_with_its_task(
    tmp_path: Path, prefer: dict[str, str]
) -> None:
    async with house(tmp_path, models=SHORT, callbacks=HOOKS) as one:
        one.sandbox.state.down = True
        key = {"Idempotency-Key": "down-1"}
        first = await one.post("down", headers={**prefer, **key}, callback_url=HOOK)
        joined = await one.post("down", headers=prefer, callback_url=f"{HOOK}/2")
        assert (first.status_code, joined.status_code) == (200, 200)
        ids = [answer.json()["id"] for answer in (first, joined)]
        for task in [await one.ended(task_id) for task_id in ids]:
            assert task["error"]["code"] == "service_unavailable"
        replayed = await one.post("down", headers=key, callback_url=HOOK)
        assert replayed.json()["id"] == ids[0]
        if prefer:
            assert first.json()["status"] == "failed"
            assert first.headers["preference-applied"] == "wait=10"
        assert {row["task"] for row in await called(one)} == set(ids)
        assert await one.violations() == []


@pytest.mark.parametrize("prefer", [{}, {"Prefer": "wait=10"}], ids=["at once", "waiting"])
async def test_who_got_the_failure_as_an_error_is_not_called_back(
    tmp_path: Path, prefer: dict[str, str]
) -> None:
    async with house(tmp_path, models=SHORT, callbacks=HOOKS) as one:
        key = {"Idempotency-Key": "refused-1", **prefer}
        for prompt, status in (("a [sandbox:http=400]", 400), ("b [sandbox:drop]", 504)):
            answer = await one.post(prompt, headers=key, callback_url=HOOK)
            assert answer.status_code == status
        await one.settled()
        assert await called(one) == []
        assert await one.violations() == []


async def called(one: House) -> list[Any]:
    return (await one.admin("GET", "callbacks")).json()["data"]  # type: ignore[no-any-return]


# --- names of requests ---------------------------------------------------------------------------


async def test_no_team_hides_anothers_refusals_by_a_name(a_house: House) -> None:
    name = {"X-Request-Id": "bob-trace-1"}
    for key, n in ((TEAM_KEY, 11), (OTHER_KEY, 12), (OTHER_KEY, 13)):
        answer = await a_house.post("x", key=key, n=n, headers=name)
        assert answer.status_code == 400 and answer.headers["x-request-id"] == "bob-trace-1"
    told = (await a_house.admin("GET", "runs/bob-trace-1")).json()
    rows = [told["refusal"], *told["others"]]
    assert [row["team"] for row in rows] == ["green", "blue", "green"]
    assert {row["request_id"] for row in rows} == {"bob-trace-1"}
    assert "team blue" in told["summary"].lower() and "called the same" in told["summary"]
    for team, count in (("blue", 1), ("green", 2)):
        listed = (await a_house.admin("GET", f"refusals?team={team}")).json()["data"]
        assert len(listed) == count
    one = (await a_house.admin("GET", f"runs/{rows[1]['id']}")).json()
    assert one["refusal"] == rows[1] and one["others"] == []


async def test_a_request_that_is_called_like_a_run_hides_nothing(a_house: House) -> None:
    task = await a_house.made("a run")
    name = {"X-Request-Id": task["id"]}
    assert (await a_house.post("x", n=11, headers=name)).status_code == 400
    told = (await a_house.admin("GET", f"runs/{task['id']}")).json()
    assert told["kind"] == "run" and told["run"]["state"] == "done"
    assert [row["team"] for row in told["others"]] == ["blue"]
