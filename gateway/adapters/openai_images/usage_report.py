"""What the vendor has on record: which models it serves, and what it has made of late.

The report of usage wants an admin key, and is the only evidence of what became of answers that
were lost. Asking costs nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import httpx2 as httpx

from gateway.adapters.outbound.masking import Mask, received
from gateway.adapters.outbound.vendor import (
    Timeouts,
    Transports,
    VendorAccount,
    pooled_client,
    straight,
)

BUCKET_SECONDS: Final = 60
BUCKETS_A_PAGE: Final = 1440
MAX_PAGES: Final = 200
ALL_PAGES_SECONDS: Final = 50.0
MAX_PAGE_BYTES: Final = 16 * 1024 * 1024


class NoReport(Exception):
    """The vendor told nothing that can be read; the message says why, `status` with which status
    of HTTP that was said, where there was an answer."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What was made in the minute from `start` (Unix seconds) on, of one kind. An empty text is
    one that the report leaves open."""

    start: float
    model: str
    requests: int
    images: int
    size: str = ""
    source: str = ""
    api_key_id: str = ""


@dataclass(frozen=True, slots=True)
class ListedModel:
    """`shutdown_date` is the day from which on it is not served; None: none is known."""

    id: str
    shutdown_date: date | None


class OpenAIReports:
    """One account: `account.api_key` is an admin's for usage, any key for models.

    With a `project` what others in the organisation have made is left out.
    """

    def __init__(
        self,
        account: VendorAccount,
        timeouts: Timeouts,
        *,
        transports: Transports = straight,
        project: str | None = None,
    ) -> None:
        self._only = {} if project is None else {"project_ids": [project]}
        self._base_url = account.base_url.rstrip("/")
        self._seconds = timeouts.poll_seconds
        self._mask = Mask(account.api_key)
        self._http = pooled_client(account, timeouts, transports, keepalive=1)

    async def usage(self, since: float, until: float) -> Sequence[UsageRow]:
        """Every row of [since, until), in minutes, within a minute. Raises `NoReport`."""
        try:
            async with asyncio.timeout(ALL_PAGES_SECONDS):
                return await self._pages(since, until)
        except TimeoutError as error:
            raise NoReport("the report takes too long") from error

    async def _pages(self, since: float, until: float) -> Sequence[UsageRow]:
        asked: dict[str, Any] = {
            "start_time": int(since),
            "end_time": int(until),
            "bucket_width": "1m",
            "limit": BUCKETS_A_PAGE,
            "group_by": ["model", "api_key_id", "size", "source"],
            **self._only,
        }
        rows: list[UsageRow] = []
        for _ in range(MAX_PAGES):
            page = await self._asked("/organization/usage/images", asked)
            rows += _rows(page)
            if not page.get("has_more") or not isinstance(page.get("next_page"), str):
                return rows
            asked["page"] = page["next_page"]
        raise NoReport(f"the report has more than {MAX_PAGES} pages")

    async def models(self) -> Sequence[ListedModel]:
        """The models that the key may use, as far as it is told. Raises `NoReport`."""
        page = await self._asked("/models", {})
        listed = page.get("data")
        if not isinstance(listed, list):
            raise NoReport("the list of models cannot be read")
        return [
            ListedModel(one["id"], _day(one.get("shutdown_date")))
            for one in listed
            if isinstance(one, dict) and isinstance(one.get("id"), str)
        ]

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _asked(self, path: str, query: Mapping[str, Any]) -> dict[str, Any]:
        try:
            async with asyncio.timeout(self._seconds):
                request = self._http.build_request("GET", self._base_url + path, params=query)
                response = await self._http.send(request, stream=True)
                answer = await received(response, self._mask, max_bytes=MAX_PAGE_BYTES)
        except (httpx.HTTPError, TimeoutError) as error:
            raise NoReport(f"no answer: {type(error).__name__}") from error
        parsed = answer.json_object()
        if answer.status != 200 or parsed is None:
            raise NoReport(f"HTTP {answer.status}", answer.status)
        return parsed


def _rows(page: Mapping[str, Any]) -> Iterator[UsageRow]:
    buckets = page.get("data")
    if not isinstance(buckets, list):
        raise NoReport("the report of usage cannot be read")
    for bucket in buckets:
        start = bucket.get("start_time") if isinstance(bucket, dict) else None
        results = bucket.get("results") if isinstance(bucket, dict) else None
        if not isinstance(start, int | float) or not isinstance(results, list):
            raise NoReport("a bucket of the report cannot be read")
        yield from (_row(float(start), one) for one in results if isinstance(one, dict))


def _row(start: float, told: Mapping[str, Any]) -> UsageRow:
    return UsageRow(
        start,
        _text(told.get("model")),
        _count(told.get("num_model_requests")),
        _count(told.get("images")),
        size=_text(told.get("size")),
        source=_text(told.get("source")),
        api_key_id=_text(told.get("api_key_id")),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _count(value: object) -> int:
    """A row that does not count is no evidence that nothing was made."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise NoReport("a count in the report cannot be read")
    return value


def _day(value: object) -> date | None:
    try:
        return date.fromisoformat(value[:10]) if isinstance(value, str) else None
    except ValueError:
        return None
