"""The vendor's records as they are read: models with their last day, usage page by page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from openai_upstream import KEY, Answer, Server, answering, error, hang, hang_up, named, upstream

from gateway.adapters.openai_images.usage_report import (
    ListedModel,
    NoReport,
    OpenAIReports,
    UsageRow,
)
from gateway.adapters.outbound.vendor import Timeouts, VendorAccount


@asynccontextmanager
async def reports(
    answer: Answer, project: str | None = None
) -> AsyncIterator[tuple[OpenAIReports, Server]]:
    async with upstream(answer) as server:
        account = VendorAccount(f"{server.url}/v1", KEY, "test", 10)
        one = OpenAIReports(account, Timeouts(1.0, 1.0, 0.5), project=project)
        yield one, server
        await one.aclose()


def result(images: Any = 2, **more: Any) -> dict[str, Any]:
    return {
        "object": "organization.usage.images.result", "images": images, "num_model_requests": 1,
        "model": "gpt-image-2-2026-04-21", "size": "1024x1024", "source": "image.generation",
        "api_key_id": "key_1", "project_id": None, **more,
    }  # fmt: skip


def bucket(start: Any, *results: Any) -> dict[str, Any]:
    return {"object": "bucket", "start_time": start, "end_time": start, "results": list(results)}


def page(*buckets: Any, following: str | None = None) -> dict[str, Any]:
    more = following is not None
    return {"object": "page", "data": list(buckets), "has_more": more, "next_page": following}


async def test_usage_is_read_page_by_page() -> None:
    pages = [page(bucket(60, result()), bucket(120), following="p2"),
             page(bucket(180, result(3, size=None, source="image.edit")))]  # fmt: skip

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(answering(pages.pop(0)))
        await writer.drain()

    async with reports(answer) as (one, server):
        rows = await one.usage(60.0, 240.0)
    model = "gpt-image-2-2026-04-21"
    assert rows == [
        UsageRow(60.0, model, 1, 2, "1024x1024", "image.generation", "key_1"),
        UsageRow(180.0, model, 1, 3, "", "image.edit", "key_1"),
    ]
    first, second = (parse_qs(urlsplit(asked.target).query) for asked in server.asked)
    assert urlsplit(server.asked[0].target).path == "/v1/organization/usage/images"
    assert first["start_time"] == ["60"] and first["end_time"] == ["240"]
    assert first["bucket_width"] == ["1m"] and "page" not in first and second["page"] == ["p2"]
    assert first["group_by"] == ["model", "api_key_id", "size", "source"]
    assert "project_ids" not in first
    assert {asked.headers["authorization"] for asked in server.asked} == {f"Bearer {KEY}"}


async def test_a_project_is_told_apart_from_its_organisation() -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(answering(page(bucket(60))))
        await writer.drain()

    async with reports(answer, project="proj_1") as (one, server):
        assert await one.usage(60.0, 240.0) == []
    [asked] = (parse_qs(urlsplit(asked.target).query) for asked in server.asked)
    assert asked["project_ids"] == ["proj_1"]


async def test_pages_without_end_are_no_report() -> None:
    async with reports(answering(page(following="again"))) as (one, server):
        with pytest.raises(NoReport):
            await one.usage(0.0, 60.0)
    assert len(server.asked) == 200


@pytest.mark.parametrize(
    "answer",
    [
        answering(error("invalid_api_key"), 401),
        answering(b"<html>"),
        answering([]),
        answering({}),
        answering(page(5)),
        answering(page(bucket("x", result()))),
        answering(page({"start_time": 1})),
        answering(page(bucket(60, result("two")))),
        answering(page(bucket(60, result(-1)))),
        answering(page(bucket(60, result(True)))),
        hang_up,
        hang,
    ],
    ids=named,
)
async def test_what_cannot_be_read_is_no_report(answer: Answer) -> None:
    """Rather than one that says that nothing was made."""
    async with reports(answer) as (one, _):
        with pytest.raises(NoReport):
            await one.usage(0.0, 60.0)


async def test_models_with_their_last_day() -> None:
    listed = [
        {"id": "gpt-image-1.5", "object": "model", "shutdown_date": "2026-12-01"},
        {"id": "gpt-image-2", "shutdown_date": None},
        {"id": "other"},
        {"id": "odd", "shutdown_date": "soon"},
        {"id": 5},
        "x",
    ]
    async with reports(answering({"object": "list", "data": listed})) as (one, server):
        models = await one.models()
    assert server.asked[0].target == "/v1/models"
    assert models == [
        ListedModel("gpt-image-1.5", date(2026, 12, 1)),
        *(ListedModel(name, None) for name in ("gpt-image-2", "other", "odd")),
    ]
    async with reports(answering({"data": 5})) as (one, _):
        with pytest.raises(NoReport):
            await one.models()
