"""What a team asks of itself before and after it has ordered: its orders, prices, one picture."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from house import ADMIN_KEY, OTHER_KEY, PRICE_USD, TEAM_KEY, House, house

pytestmark = pytest.mark.asyncio(loop_scope="module")

PRICES = [{"quality": "low", "usd": 0.01}, {"quality": "high", "usd": 0.3}, {"usd": 0.3}]
RESTRICTED = {"allow": {"qualities": ["low", "medium"], "sizes": ["1:1"]}}
MODELS = {
    "painter": {
        "limits": {"qualities": ["low", "medium", "high"], "sizes": ["1:1", "2:3"]},
        "deadline": "20s",
        "routes": [{"upstream": "evolink", "model": "gpt-image-1.5", "price": PRICES}],
    }
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    folder = tmp_path_factory.mktemp("orders")
    async with house(folder, models=MODELS, teams={"green": RESTRICTED}) as one:
        yield one


async def own(one: House, path: str, key: str = TEAM_KEY, *, status: int = 200) -> Any:
    answer = await one.client.get(f"/team/v1/{path}", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == status, answer.text
    return answer.json()


async def order_of(one: House, task: str) -> Any:
    (found,) = (await own(one, f"orders?task={task}"))["data"]
    return found


async def test_an_order_tells_what_it_said_and_what_it_cost(home: House) -> None:
    task = await home.made("a kite", n=2, size="1:1", user="ann")
    found = await order_of(home, task["id"])
    assert found["prompt"] == "a kite"
    assert found["settings"] == {"n": 2, "size": "1:1"}
    assert (found["verdict"], found["state"], found["progress"]) == ("started", "completed", 100)
    assert (found["price_usd"], found["saved_usd"]) == (2 * PRICE_USD, 0)
    assert (found["failure"], found["user"], found["model"]) == (None, "ann", "gpt-image-1.5")
    assert [one["url"] for one in found["pictures"]] == task["results"]
    assert found["created_at"] <= found["finished_at"]


async def test_an_answer_from_the_cache_cost_nothing_and_saved_its_price(home: House) -> None:
    await home.made("a drum")
    again = await home.made("a drum")
    found = await order_of(home, again["id"])
    assert (found["verdict"], found["price_usd"], found["saved_usd"]) == ("hit", 0, PRICE_USD)
    assert found["finished_at"] == found["created_at"]
    assert len(found["pictures"]) == 1


async def test_what_runs_and_what_failed_has_its_prompt(home: House) -> None:
    running = (await home.post("slow [sandbox:delay=30]", n=3)).json()["id"]
    joined = (await home.post("slow [sandbox:delay=30]", n=3)).json()["id"]
    failed = await home.made("bad [sandbox:fail=content_policy_violation]")
    found = await order_of(home, running)
    assert found["prompt"] == "slow [sandbox:delay=30]"
    assert found["state"] in ("pending", "processing")
    assert (found["price_usd"], found["finished_at"]) == (0.15, None)
    assert found["pictures"] == []
    found = await order_of(home, joined)
    assert (found["verdict"], found["price_usd"], found["saved_usd"]) == ("joined", 0, None)
    found = await order_of(home, failed["id"])
    assert (found["state"], found["price_usd"], found["pictures"]) == ("failed", 0, [])
    assert found["failure"]["code"] == "content_policy_violation"
    assert found["failure"]["message"]


async def test_pages_come_newest_first_and_have_the_teams_own_alone(home: House) -> None:
    theirs = await home.made("theirs", key=OTHER_KEY, size="1:1", quality="low")
    ids = [(await home.made(f"page {i}"))["id"] for i in range(5)]
    seen: list[str] = []
    cursor = ""
    while True:
        page = await own(home, f"orders?limit=2{cursor}")
        seen += [one["id"] for one in page["data"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert seen[:5] == ids[::-1]
    assert len(seen) == len(set(seen))
    tasks = await home.client.get(
        "/v1/tasks?page_size=50", headers={"Authorization": f"Bearer {TEAM_KEY}"}
    )
    assert seen == [row["id"] for row in tasks.json()["data"]]
    assert (await own(home, f"orders?task={theirs['id']}"))["data"] == []
    assert [one["id"] for one in (await own(home, "orders", OTHER_KEY))["data"]] == [theirs["id"]]


async def test_an_erased_order_says_nothing_of_what_it_was(home: House) -> None:
    task = await home.made("a secret", negative_prompt="blue")
    answer = await home.admin("DELETE", f"runs/{task['id']}")
    assert answer.status_code == 200, answer.text
    found = await order_of(home, task["id"])
    assert (found["prompt"], found["state"]) == ("", "completed")
    assert "negative_prompt" not in found["settings"]
    assert found["price_usd"] == PRICE_USD


@pytest.mark.parametrize("path", ["orders", "prices/painter"])
async def test_only_a_teams_key_opens_them(home: House, path: str) -> None:
    for headers in ({}, {"Authorization": f"Bearer {ADMIN_KEY}"}):
        answer = await home.client.get(f"/team/v1/{path}", headers=headers)
        assert answer.status_code == 401


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("orders?team=green", "team"),
        ("orders?limit=0", "limit"),
        ("orders?cursor=none", "cursor"),
        ("orders?task=a&cursor=WzEsImEiXQ==", "cursor"),
        ("prices/painter?n=2", "n"),
    ],
)
async def test_a_wrong_question_is_named(home: House, path: str, param: str) -> None:
    assert (await own(home, path, status=400))["error"]["param"] == param


async def test_a_price_stands_beside_each_choice(home: House) -> None:
    found = await own(home, "prices/painter?quality=low")
    assert (found["model"], found["usd"]) == ("painter", 0.01)
    assert {one["value"]: one["usd"] for one in found["choices"]["quality"]} == {
        None: 0.3,
        "low": 0.01,
        "medium": 0.3,
        "high": 0.3,
    }
    held = await own(home, "prices/painter", OTHER_KEY)
    assert [one["value"] for one in held["choices"]["quality"]] == ["low", "medium"]
    assert [one["value"] for one in held["choices"]["size"]] == ["1:1"]
    assert held["choices"]["resolution"] == [{"value": None, "usd": 0.3}]


async def test_a_model_that_is_not_the_teams_has_no_prices(home: House) -> None:
    error = (await own(home, "prices/nobody", status=404))["error"]
    assert error["param"] == "model"
    assert "painter" in error["message"]


async def test_a_price_is_what_an_estimate_says(home: House) -> None:
    for value in ("low", "medium", "high"):
        answer = await home.client.post(
            "/v1/images/estimate",
            json={"model": "painter", "prompt": f"a price {value}", "quality": value},
            headers={"Authorization": f"Bearer {TEAM_KEY}"},
        )
        found = await own(home, f"prices/painter?quality={value}")
        assert found["usd"] == answer.json()["price_usd"]


async def test_a_summary_says_what_a_form_begins_with(home: House) -> None:
    models = {one["id"]: one for one in (await own(home, "summary", OTHER_KEY))["models"]}
    painter = models["painter"]
    assert painter["automatic"] == ["resolution"]
    assert painter["beginning"] == {"size": "1:1", "quality": "low"}
    assert (painter["qualities"], painter["sizes"]) == (["low", "medium"], ["1:1"])


async def test_one_picture_is_found_by_its_digest(home: House) -> None:
    task = await home.made("a bell")
    digest = task["results"][0].rpartition("/")[2].partition(".")[0]
    (found,) = (await own(home, f"pictures?digest={digest}"))["data"]
    assert (found["prompt"], found["task"]) == ("a bell", task["id"])
    assert (await own(home, f"pictures?digest={digest}", OTHER_KEY))["data"] == []
    assert (await own(home, "pictures?digest=0"))["data"] == []
