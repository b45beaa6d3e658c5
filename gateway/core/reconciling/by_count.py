"""The ledger against counts by the minute: which requests nobody here has made, and which are ours.

A request may be counted in any minute from when it left until its answer was there. Which one
stands for which run nobody says, so all readings are weighed at once: a reading gives each request
of ours a place of its own among the counted ones. A doubtful run was not taken where no reading
that has room for all that was certainly taken has room for it too; it was taken where each reading
without it leaves one counted request more to explain.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.core.reconciling.evidence import BUCKET_SECONDS, MinuteCount, MinuteCounts, undated
from gateway.core.reconciling.findings import (
    Comparison,
    Conclusion,
    Doubt,
    Extra,
    Missing,
    ModelSums,
)
from gateway.core.reconciling.works import CLOCKS_SECONDS, WORKS_ON_SECONDS, Sureness, Work

YOUNG: Final = "upstream's report of its time is not old enough to be believed"


@dataclass(frozen=True, slots=True, order=True)
class _Place:
    """The minutes (by their number) in which a run's request may be counted, both included."""

    first: int
    last: int


def compare_counts(
    counted: MinuteCounts, works: Sequence[Work], *, now: float, settled_seconds: float
) -> Comparison:
    """`works` are the ledger's runs of the report's time and somewhat before, read after it.

    `settled_seconds`: how old a report has to be to be believed.
    """
    believed_until = now - settled_seconds
    models = {undated(work.model) for work in works} | {undated(row.model) for row in counted.rows}
    whole = Comparison(counted.since, 0)
    for model in sorted(models):
        rows = [row for row in counted.rows if undated(row.model) == model]
        own = [work for work in works if undated(work.model) == model]
        found = _Model(model, rows, own, counted.since, believed_until).compared()
        whole = Comparison(
            counted.since,
            whole.compared + found.compared,
            (*whole.missing, *found.missing),
            (*whole.extra, *found.extra),
            (),
            (*whole.doubts, *found.doubts),
            (*whole.sums, *found.sums),
        )
    return whole


class _Model:
    """One model's counts, and the runs that ought to be in them."""

    def __init__(
        self,
        name: str,
        rows: Sequence[MinuteCount],
        works: Sequence[Work],
        since: float,
        until: float,
    ) -> None:
        self._name, self._rows = name, rows
        self._minutes: dict[int, int] = defaultdict(int)
        for row in rows:
            self._minutes[_minute(row.start)] += row.requests
        self._made = [
            work for work in works if work.sureness is Sureness.TAKEN and work.ended >= since
        ]
        places = [(work, _place(work, until)) for work in works]
        first, last = _minute(since), _minute(until)
        self._sure: list[_Place] = []
        self._perhaps: list[_Place] = []
        self._doubtful: list[tuple[Work, _Place, bool]] = []
        for work, place in places:
            if place.last < first:
                continue
            is_inside = first <= place.first and place.last < last
            if work.sureness is Sureness.DOUBTFUL:
                self._doubtful.append((work, place, is_inside))
            elif work.sureness is Sureness.TAKEN and is_inside:
                self._sure.append(place)
            else:
                self._perhaps.append(place)

    def compared(self) -> Comparison:
        every = [*self._sure, *self._perhaps, *(place for _, place, _ in self._doubtful)]
        lacking = len(self._sure) - self._explained(self._sure)
        left = self._unexplained(every)
        return Comparison(
            since=0.0,
            compared=len(self._sure),
            missing=(Missing(self._name, lacking),) if lacking else (),
            extra=tuple(
                Extra(minute * BUCKET_SECONDS, self._name, count)
                for minute, count in sorted(left.items())
            ),
            doubts=tuple(
                self._conclude(work, place, is_inside, lacking=lacking, every=every)
                for work, place, is_inside in self._doubtful
            ),
            sums=(self._sums(),),
        )

    def _sums(self) -> ModelSums:
        return ModelSums(
            self._name,
            their_requests=sum(row.requests for row in self._rows),
            our_requests=len(self._made),
            their_images=sum(row.images for row in self._rows),
            our_images=sum(work.images for work in self._made),
        )

    def _conclude(
        self, work: Work, place: _Place, is_inside: bool, *, lacking: int, every: list[_Place]
    ) -> Doubt:
        without = list(every)
        without.remove(place)
        if self._explained(every) > self._explained(without):
            return Doubt(
                work, Conclusion.TAKEN, "upstream counted a request of its time that is no other's"
            )
        if not is_inside:
            return Doubt(work, Conclusion.UNKNOWN, YOUNG)
        if not self._sure:
            return Doubt(
                work,
                Conclusion.UNKNOWN,
                f"nothing shows that upstream's report counts model {self._name}",
            )
        if lacking:
            return Doubt(
                work, Conclusion.UNKNOWN, "upstream's report lacks requests that it has answered"
            )
        if self._explained([*self._sure, place]) == len(self._sure):
            return Doubt(
                work,
                Conclusion.NOT_TAKEN,
                "upstream counted no request of its time but those it has answered",
            )
        return Doubt(
            work,
            Conclusion.UNKNOWN,
            "a request that upstream counted could be its own, or another's",
        )

    def _explained(self, places: Iterable[_Place]) -> int:
        """The most of these requests that can be among the counted ones, each as one of its own.

        Minute by minute, who has the least time left goes first: no other order places more.
        """
        return sum(self._minutes.values()) - sum(self._unexplained(places).values())

    def _unexplained(self, places: Iterable[_Place]) -> Mapping[int, int]:
        """How many counted requests of which minutes are then still nobody's."""
        coming = sorted(places)
        waiting: list[int] = []
        left: dict[int, int] = {}
        at = 0
        for minute in sorted(self._minutes):
            while at < len(coming) and coming[at].first <= minute:
                heapq.heappush(waiting, coming[at].last)
                at += 1
            free = self._minutes[minute]
            while free and waiting:
                if heapq.heappop(waiting) >= minute:
                    free -= 1
            if free:
                left[minute] = free
        return left


def _place(work: Work, until: float) -> _Place:
    """What has brought no pictures may be counted also after its answer was given up."""
    end = work.ended
    if not work.images:
        end = max(end, work.began + WORKS_ON_SECONDS)
    end = min(end, max(until, work.began) + 10 * WORKS_ON_SECONDS)
    return _Place(_minute(work.began - CLOCKS_SECONDS), _minute(end + CLOCKS_SECONDS))


def _minute(at: float) -> int:
    return int(at // BUCKET_SECONDS)
