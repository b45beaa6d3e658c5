"""What a vendor charges for a call that brought no picture is paid once, however often clients send
the same order again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import openai
import pytest
import pytest_asyncio
from house import TEAM_KEY
from sdk import sdk
from two_vendors import MODEL, ONLY_OPENAI, Vendors, vendors

LATE = "bad [sandbox:late-fail=moderation_blocked]"
LATE_500 = "broken [sandbox:late-http=500] [sandbox:delay=5.1]"
DENIED = 'gateway_denials_total{mode="enforce",reason="charged_failure",team="blue"}'
NO_CACHE = {"Cache-Control": "no-cache"}


@pytest_asyncio.fixture
async def only(tmp_path: Path) -> AsyncIterator[Vendors]:
    async with vendors(tmp_path, routes=ONLY_OPENAI) as one:
        yield one


async def told(one: Vendors, prompt: str, **headers: str) -> tuple[int, str, str]:
    answer = await one.post(prompt, headers=headers)
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["message"]


async def test_content_refused_after_the_work_is_paid_once(only: Vendors) -> None:
    """Its refusal is repeated in the vendor's own word, on both APIs."""
    first = await told(only, LATE)
    assert first[:2] == (400, "moderation_blocked")
    status, code, message = await told(only, LATE)
    assert (status, code) == (400, "moderation_blocked")
    assert "identical order" in message and "no-cache" in message
    async with sdk(only.house, max_retries=2) as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.images.generate(model=MODEL, prompt=LATE)
    assert refused.value.code == "moderation_blocked"
    estimate = await only.house.client.post(
        "/v1/images/estimate",
        json={"model": MODEL, "prompt": LATE},
        headers={"Authorization": f"Bearer {TEAM_KEY}"},
    )
    assert (estimate.json()["verdict"], estimate.json()["cost_usd"]) == ("deny", 0)
    assert only.openai.state.image_requests == 1
    assert await only.spent_usd_micros() > 0

    assert (await told(only, LATE, **NO_CACHE))[:2] == (400, "moderation_blocked")
    assert only.openai.state.image_requests == 2
    assert await only.house.violations() == []


async def test_a_slow_failure_of_the_provider_is_paid_once(only: Vendors) -> None:
    first = await only.house.ended((await only.post(LATE_500)).json()["id"])
    assert first["status"] == "failed"
    status, code, message = await told(only, LATE_500)
    assert (status, code) == (424, "result_lost") and "charged all the same" in message
    assert only.openai.state.image_requests == 1
    assert (await only.house.metrics())[DENIED] == 1
    assert await only.house.violations() == []


async def test_what_fails_at_once_is_asked_for_three_times_at_most(only: Vendors) -> None:
    """Nobody says that such an answer is free, though it most likely is."""
    prompt = "never [sandbox:http=500]"
    answer = await only.post(prompt)
    task = await only.house.ended(answer.json()["id"]) if answer.status_code == 200 else None
    error = task["error"] if task else answer.json()["error"]
    assert error["code"] == "service_unavailable"
    assert "asked again and again" in error["message"]
    assert only.openai.state.image_requests == 3
    assert await only.spent_usd_micros() == 0
    assert await only.house.violations() == []
