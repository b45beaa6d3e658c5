"""The usage report: buckets, pages, groups, filters and its delay."""

from typing import Any

import httpx2 as httpx
import pytest
from openai_bench import ADMIN_KEY, KEY, OpenAIBench, OpenBench
from starlette.datastructures import QueryParams

from gateway.sandbox.openai import key_id, running_openai
from gateway.sandbox.openai.bill import Bill, Charge
from gateway.sandbox.openai.usage import read_query, report

START = 1_790_000_040  # the edge of a minute


def line(serial: int, at: float, **changed: Any) -> Charge:
    fields: dict[str, Any] = {
        "serial": serial, "request_id": "req", "api_key_id": "key_a", "model": "gpt-image-2",
        "source": "image.generation", "size": "1024x1024", "prompt": "x", "images": 2,
        "text_in": 1, "image_in": 0, "image_out": 392, "text_out": 0, "usd_micros": 1, "at": at,
    }  # fmt: skip
    return Charge(**{**fields, **changed})


def asked(lines: list[Charge], now: float = START + 600, **params: Any) -> dict[str, Any]:
    query = read_query(QueryParams({"start_time": START, "bucket_width": "1m", **params}), now)
    return report(lines, query)


def counts(page: dict[str, Any]) -> list[list[tuple[int, int]]]:
    return [
        [(result["images"], result["num_model_requests"]) for result in bucket["results"]]
        for bucket in page["data"]
    ]


def test_buckets_of_a_minute() -> None:
    lines = [line(1, START), line(2, START + 59.9), line(3, START + 60), line(4, START - 0.1)]
    page = asked(lines, now=START + 130)
    assert counts(page) == [[(4, 2)], [(2, 1)], []]
    assert [bucket["end_time"] - bucket["start_time"] for bucket in page["data"]] == [60] * 3
    assert page["data"][0]["results"][0]["model"] is None  # not grouped by it


def test_groups_and_filters() -> None:
    lines = [line(1, START), line(2, START, model="gpt-image-1.5"), line(3, START, images=1)]
    (bucket,) = asked(lines, now=START + 1, group_by="model,size")["data"]
    assert [(result["model"], result["images"]) for result in bucket["results"]] == [
        ("gpt-image-2", 3), ("gpt-image-1.5", 2),
    ]  # fmt: skip
    page = asked(lines, now=START + 1, models="gpt-image-1.5")
    assert counts(page) == [[(2, 1)]]
    assert counts(asked(lines, now=START + 1, api_key_ids="key_b")) == [[]]


def test_pages() -> None:
    lines = [line(number, START + 60 * number) for number in range(5)]
    first = asked(lines, now=START + 299, limit=3)
    assert (counts(first), first["has_more"]) == ([[(2, 1)]] * 3, True)
    second = asked(lines, now=START + 299, limit=3, page=first["next_page"])
    assert (counts(second), second["has_more"]) == ([[(2, 1)]] * 2, False)
    assert second["next_page"] is None


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ("", "start_time"), ("start_time=x", "start_time"),
        ("start_time=0&bucket_width=5m", "bucket_width"), ("start_time=0&limit=99", "limit"),
        ("start_time=0&group_by=colour", "group_by"),
    ],
)  # fmt: skip
async def test_what_it_does_not_take(bench: OpenAIBench, params: str, param: str) -> None:
    answer = await bench.client.get(
        f"/v1/organization/usage/images?{params}",
        headers={"Authorization": f"Bearer {ADMIN_KEY}"},
    )
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_a_report_comes_late(open_bench: OpenBench) -> None:
    now = float(START)
    async with running_openai(clock=lambda: now, grace_seconds=0.05) as plain:
        assert plain.state.clock() == START
    async with open_bench(usage_delay_seconds=3600) as bench:
        await bench.generate()
        path = f"/v1/organization/usage/images?start_time={int(bench.state.clock()) - 60}"
        answer = await bench.client.get(path, headers={"Authorization": f"Bearer {ADMIN_KEY}"})
        assert all(not bucket["results"] for bucket in answer.json()["data"])


async def test_groups_as_the_sdk_writes_them(bench: OpenAIBench) -> None:
    await bench.generate()
    now = int(bench.state.clock())
    answer: httpx.Response = await bench.client.get(
        f"/v1/organization/usage/images?start_time={now - 60}&bucket_width=1m"
        "&group_by[]=model&group_by[]=api_key_id",
        headers={"Authorization": f"Bearer {ADMIN_KEY}"},
    )
    results = [one for bucket in answer.json()["data"] for one in bucket["results"]]
    assert [(one["model"], one["api_key_id"]) for one in results] == [
        ("gpt-image-2", key_id(KEY)),
    ]  # fmt: skip


def test_the_lines_of_a_bill_can_be_fewer() -> None:
    bill = Bill(10)
    for serial in range(3):
        bill.charge(line(serial, START))
    assert [one["serial"] for one in bill.as_json(2)["charges"]] == [1, 2]
    assert bill.as_json(0)["charges"] == []
