"""Attacks on the operator's and the team's pages: odd questions, heavy rows, endless documents."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from house import ADMIN_KEY, FAST, TEAM_KEY, House, opened
from pace import slowness

from gateway.sandbox import running_sandbox

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADMIN = {"Authorization": f"Bearer {ADMIN_KEY}"}
TEAM = {"Authorization": f"Bearer {TEAM_KEY}"}
LISTS = (
    "/admin/v1/runs",
    "/admin/v1/refusals",
    "/admin/v1/pictures",
    "/admin/v1/callbacks",
    "/admin/v1/audit",
    "/team/v1/orders",
    "/team/v1/pictures",
)
OF_A_TIME = (*LISTS[:3], "/team/v1/pictures")
MARKS = (
    f"[{'9' * 400},0]",
    f"[{'9' * 5000},0]",
    '[1e400,"a"]',
    '[NaN,"a"]',
    '[Infinity,"a"]',
    '[1,"\\ud800"]',
    "[" * 9000,
    "{}",
    "null",
)
HEAVY_BYTES = 200_000  # of as many as are read at once, more than a page may have


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with running_sandbox(FAST) as sandbox:
        limits = {"gpt-image-1.5": {"limits": {"prompt_tokens": None}}}
        one = await opened(sandbox, tmp_path_factory.mktemp("home"), models=limits)
        try:
            await one.made("a bicycle")
            yield one
        finally:
            await one.stop()


def headers(path: str) -> dict[str, str]:
    return TEAM if path.startswith("/team") else ADMIN


@pytest.mark.parametrize("mark", MARKS, ids=range(len(MARKS)))
@pytest.mark.parametrize("path", LISTS)
async def test_a_forged_cursor_is_told(home: House, path: str, mark: str) -> None:
    cursor = base64.urlsafe_b64encode(mark.encode()).decode()
    answer = await home.client.get(path, params={"cursor": cursor}, headers=headers(path))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "cursor")


@pytest.mark.parametrize("path", LISTS)
async def test_a_query_of_thousands_of_names_costs_nothing(home: House, path: str) -> None:
    many = "&".join(f"{number:x}=" for number in range(3000))
    before = time.thread_time()
    answer = await home.client.get(f"{path}?{many}", headers=headers(path))
    assert time.thread_time() - before < 0.2 * slowness()
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "0")
    answer = await home.client.get(f"{path}?{many}{many}", headers=headers(path))
    assert answer.status_code == 400
    assert "bytes" in answer.json()["error"]["message"]


@pytest.mark.parametrize("query", ["from=2026-01-01&from=2026-01-02", "since=2026-01-01", "x="])
@pytest.mark.parametrize("path", LISTS[:3])
async def test_only_what_is_described_is_taken(home: House, path: str, query: str) -> None:
    answer = await home.client.get(f"{path}?{query}", headers=headers(path))
    name = query.partition("=")[0]
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)


@pytest.mark.parametrize("word", ["today", "yesterday", "7d", "last-week", "last-month", "2026-01"])
async def test_days_have_names(home: House, word: str) -> None:
    for path in OF_A_TIME:
        between = {"from": word, "to": "this-month"}
        answer = await home.client.get(path, params=between, headers=headers(path))
        assert answer.status_code == 200, answer.text


async def test_no_time_ends_before_it_begins(home: House) -> None:
    for path in OF_A_TIME:
        between = {"from": "today", "to": "yesterday"}
        answer = await home.client.get(path, params=between, headers=headers(path))
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "from")


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31", "0001-01-01T00:00:00+23:59"])
@pytest.mark.parametrize("path", OF_A_TIME)
async def test_the_ends_of_time_are_no_accident(home: House, path: str, day: str) -> None:
    for name in ("from", "to"):
        answer = await home.client.get(path, params={name: day}, headers=headers(path))
        assert answer.status_code in (200, 400), answer.text


@pytest.mark.long
async def test_heavy_orders_make_short_pages(home: House) -> None:
    """They are refused upstream and so cost nothing, and each is kept with its whole request."""
    heavy = "[sandbox:http=400] " + "x" * HEAVY_BYTES
    for number in range(30):
        assert (await home.post(f"{number} {heavy}")).status_code == 400
    asked: dict[str, Any] = {"limit": 500, "state": "failed"}
    seen: list[str] = []
    pages = 0
    while True:
        page = (await home.admin("GET", "runs", params=asked)).json()
        seen += [run["id"] for run in page["data"]]
        pages += 1
        if page["next"] is None:
            break
        asked["cursor"] = page["next"]
    assert (len(seen), len(set(seen))) == (30, 30)
    assert pages > 1


async def test_a_document_of_thousands_of_faults_gets_a_short_answer(home: House) -> None:
    models = [f"gpt-image-{number}" for number in range(3000)]
    answer = await home.admin("POST", "teams", json={"name": "a", "allow": {"models": models}})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "allow.models[0]")
    assert len(error["message"].splitlines()) < 30
    answer = await home.admin("POST", "teams", json={"name": "a", "x" * 60_000: 1})
    assert (answer.status_code, len(answer.content) < 3_000) == (400, True)


async def test_a_description_is_no_book(home: House) -> None:
    answer = await home.admin("POST", "teams", json={"name": "a", "description": "x" * 1001})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "description")


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/admin/v1/teams", "GET, HEAD, POST"),
        ("/admin/v1/teams/blue", "DELETE, GET, HEAD, PATCH"),
        ("/admin/v1/teams/blue/keys/abc", "DELETE"),
        ("/v1/images/generations", "POST"),
    ],
)
async def test_a_wrong_method_is_told_the_right_ones(home: House, path: str, methods: str) -> None:
    for method in ("PUT", "OPTIONS", "TRACE"):
        answer = await home.client.request(method, path, headers=ADMIN)
        assert (answer.status_code, answer.headers["allow"]) == (405, methods)


async def test_names_of_javascript_are_names_like_others(home: House) -> None:
    for name in ("constructor", "toString", "hasOwnProperty", "a..b"):
        assert (await home.admin("POST", "teams", json={"name": name})).status_code == 200
        key = (await home.admin("POST", f"teams/{name}/keys", json={})).json()["key"]
        await home.made(f"of {name}", key=key)
        answer = await home.client.get("/team/v1/usage", headers={"Authorization": f"Bearer {key}"})
        assert answer.json()["totals"]["started"] == 1
    for name in ("__proto__", "..", "a/b", "a\n", "é", "a\u0000"):
        assert (await home.admin("POST", "teams", json={"name": name})).status_code == 400


async def test_a_patch_of_nothing_but_nulls_takes_limits_away(home: House) -> None:
    await home.admin("POST", "teams", json={"name": "n", "budgets": [{"usd": 1, "per": "day"}]})
    deep: Any = None
    for _ in range(200):
        deep = {"a": deep}
    assert (await home.admin("PATCH", "teams/n", json={"limits": deep})).status_code == 400
    nulls = dict.fromkeys(("budgets", "limits", "allow", "cache", "description", "constructor"))
    answer = await home.admin("PATCH", "teams/n", json={**nulls, "limits": {"images": None}})
    assert answer.status_code == 200, answer.text
    assert answer.json()["settings"]["budgets"] == []


@pytest.mark.parametrize(
    "usd", ["NaN", "1e400", "-1", "1e308", "1e-9", "true", '"1e3"', "9" * 400, "null"]
)
async def test_an_amount_that_is_none_is_refused(home: House, usd: str) -> None:
    body = f'{{"name": "z", "budgets": [{{"usd": {usd}, "per": "day"}}]}}'
    answer = await home.admin("POST", "teams", content=body.encode())
    assert answer.status_code == 400
    json.loads(answer.text, parse_constant=pytest.fail)


async def test_nothing_is_wrong_with_the_ledger(home: House) -> None:
    await home.settled()
    assert await home.violations() == []
