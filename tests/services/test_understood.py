"""The same words from the same team are the same order, for a moment."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from core_samples import CATALOG, a_policy

from gateway.core.catalog import Team
from gateway.core.model import Order
from gateway.core.orders.fingerprint import fingerprint
from gateway.core.policy import Policy
from gateway.services.orders import SMALL_BYTES, Orders, OrdersDeps

BODY = {"model": "gpt-image-1.5", "prompt": "a red bicycle", "n": 2}
TEAM = Team("blue")
POLICY = a_policy(catalog=CATALOG)


class _References:
    async def identify(self, _: Team, order: Order, __: object) -> Order:
        return order


@pytest.fixture
def orders() -> Orders:
    return Orders(cast("OrdersDeps", SimpleNamespace(references=_References())))


async def understood(
    orders: Orders, body: object, team: Team = TEAM, policy: Policy = POLICY
) -> Order:
    order, name = await orders._understood(team, body, policy)
    assert name == fingerprint(order, team, policy.catalog.models[order.model])
    return order


async def test_the_same_words_are_read_once(orders: Orders) -> None:
    first = await understood(orders, BODY)
    assert await understood(orders, {**BODY}) is first
    reordered = await understood(orders, dict(reversed(BODY.items())))
    assert reordered is not first and reordered == first


async def test_other_words_teams_and_settings_are_read_anew(orders: Orders) -> None:
    first = await understood(orders, BODY)
    labelled = await understood(orders, {**BODY, "user": "you"})
    assert (first.labels, labelled.labels) == ({}, {"user": "you"})
    green = await understood(orders, BODY, replace(TEAM, defaults=(("size", "1:1"),)))
    assert (first.size, green.size) == (None, "1:1")
    assert await understood(orders, BODY, TEAM) is not first, "the last of a name counts"
    model = replace(CATALOG.models["gpt-image-1.5"], defaults=(("quality", "low"),))
    changed = replace(POLICY, catalog=replace(CATALOG, models={model.name: model}))
    assert (await understood(orders, BODY, TEAM, changed)).quality == "low"


@pytest.mark.parametrize(
    "more",
    [{"image_urls": ["https://example.com/a.png"]}, {"user": "x" * SMALL_BYTES}],
    ids=["pictures are looked up", "large ones are not kept"],
)
async def test_what_is_always_read(orders: Orders, more: dict[str, Any]) -> None:
    first = await understood(orders, {**BODY, **more})
    assert await understood(orders, {**BODY, **more}) is not first


async def test_an_endless_number_is_not_taken_for_nothing(orders: Orders) -> None:
    assert "x" not in (await understood(orders, {**BODY, "x": None})).body
    assert "x" in (await understood(orders, {**BODY, "x": float("inf")})).body


async def test_a_number_beyond_json_of_small_ones(orders: Orders) -> None:
    first = await understood(orders, {**BODY, "x": 2**70})
    assert await understood(orders, {**BODY, "x": 2**70}) == first
