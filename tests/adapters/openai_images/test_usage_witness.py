"""The usage report as a witness: its rows as counts, and a sentence where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.adapters.openai_images.reconciling import (
    NO_KEY,
    NO_REPORT,
    UNANSWERED,
    CountedUsage,
    UsageWitness,
)
from gateway.core.reconciling.evidence import MinuteCount, MinuteCounts, NoEvidence


@dataclass(frozen=True)
class Row:
    start: float
    model: str
    images: int
    requests: int


async def test_rows_are_counts() -> None:
    asked: list[tuple[float, float]] = []

    async def read(since: float, until: float) -> Sequence[CountedUsage]:
        asked.append((since, until))
        return [Row(60.0, "gpt-image-2-2026-04-21", 3, 2)]

    told = await UsageWitness(read).evidence(0.0, 600.0)
    assert told == MinuteCounts((MinuteCount(60.0, "gpt-image-2-2026-04-21", 2, 3),), 0.0)
    assert asked == [(0.0, 600.0)]


async def test_without_a_report_it_says_why() -> None:
    async def silent(since: float, until: float) -> Sequence[CountedUsage] | None:
        return None

    assert await UsageWitness(silent).evidence(0, 1) == NoEvidence(UNANSWERED)
    assert await UsageWitness(None).evidence(0, 1) == NoEvidence(NO_KEY)
    assert await UsageWitness(None, otherwise=NO_REPORT).evidence(0, 1) == NoEvidence(NO_REPORT)
