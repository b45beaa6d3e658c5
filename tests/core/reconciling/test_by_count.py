"""Counts by the minute beside the ledger: every reading of them is weighed, and none is guessed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from core_samples import STEADY
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.reconciling.by_count import compare_counts
from gateway.core.reconciling.evidence import MinuteCount, MinuteCounts, undated
from gateway.core.reconciling.findings import Comparison, Conclusion
from gateway.core.reconciling.works import WORKS_ON_SECONDS, Sureness, Work

HOUR = 3600.0
START = 1_767_312_000.0
"""On a full minute."""

SINCE, UNTIL = START - HOUR, START + 9 * HOUR


def done(name: str, began: float, *, model: str = "m", seconds: float = 40.0) -> Work:
    run = f"run_{name}"
    return Work(run, "blue", model, Sureness.TAKEN, began, began + seconds, images=1)


def doubtful(name: str, began: float, *, model: str = "m") -> Work:
    lost = replace(done(name, began, model=model), sureness=Sureness.DOUBTFUL, images=0)
    return replace(lost, spent_usd_micros=750_000)


def counted(*minutes: float, model: str = "m") -> tuple[MinuteCount, ...]:
    """One request in each of these minutes."""
    return tuple(
        MinuteCount(at // 60 * 60, model, requests, requests)
        for at, requests in Counter(minutes).items()
    )


def compared(works: Sequence[Work], *rows: MinuteCount, now: float = UNTIL) -> Comparison:
    return compare_counts(MinuteCounts(rows, SINCE), works, now=now, settled_seconds=HOUR)


def concluded(found: Comparison) -> list[Conclusion]:
    return [one.conclusion for one in found.doubts]


OURS, LOST = done("ours", START), doubtful("lost", START + 2 * HOUR)


def test_a_request_that_was_not_counted_was_not_taken() -> None:
    found = compared((OURS, LOST), *counted(START))
    assert concluded(found) == [Conclusion.NOT_TAKEN]
    assert found.compared == 1 and not found.extra and not found.missing


def test_both_sides_are_summed() -> None:
    [sums] = compared((OURS, LOST), *counted(START, START), *counted(START + HOUR)).sums
    assert (sums.their_requests, sums.our_requests) == (3, 1)
    assert (sums.their_images, sums.our_images) == (3, 1)


def test_one_more_than_is_known_is_the_lost_one() -> None:
    for at in (LOST.began, LOST.began + WORKS_ON_SECONDS):  # it works on when nobody waits
        assert concluded(compared((OURS, LOST), *counted(START, at))) == [Conclusion.TAKEN]


def test_one_that_was_confirmed_may_be_counted_as_late_as_it_was_before() -> None:
    confirmed = replace(LOST, sureness=Sureness.TAKEN)
    found = compared((OURS, confirmed), *counted(START, LOST.began + WORKS_ON_SECONDS))
    assert not found.differs


def test_what_is_beside_another_in_time_is_counted_out() -> None:
    """Both are of one minute: the only request that was counted is that which was answered."""
    beside = replace(LOST, began=START + 5, ended=START + 45)
    assert concluded(compared((OURS, beside), *counted(START))) == [Conclusion.NOT_TAKEN]
    assert concluded(compared((OURS, beside), *counted(START, START))) == [Conclusion.TAKEN]


def test_of_two_doubts_and_one_request_nobody_can_tell() -> None:
    two = (LOST, replace(LOST, run_id="run_two"))
    assert (
        concluded(compared((OURS, *two), *counted(START, LOST.began))) == [Conclusion.UNKNOWN] * 2
    )
    both = counted(START, LOST.began, LOST.began)
    assert concluded(compared((OURS, *two), *both)) == [Conclusion.TAKEN] * 2


def test_a_refusal_may_be_counted_or_not() -> None:
    refused = replace(LOST, run_id="run_no", sureness=Sureness.PERHAPS)
    assert concluded(compared((OURS, LOST, refused), *counted(START))) == [Conclusion.NOT_TAKEN]
    one = compared((OURS, LOST, refused), *counted(START, LOST.began))
    assert concluded(one) == [Conclusion.UNKNOWN] and not one.extra


def test_a_report_is_believed_once_it_is_old_enough() -> None:
    last = LOST.began + WORKS_ON_SECONDS + 120
    young = compared((OURS, LOST), *counted(START), now=last + HOUR)
    assert concluded(young) == [Conclusion.UNKNOWN]
    old = compared((OURS, LOST), *counted(START), now=last + HOUR + 120)
    assert concluded(old) == [Conclusion.NOT_TAKEN]


def test_what_is_young_is_told_and_is_nobody_elses() -> None:
    now = LOST.began + 60
    young = done("young", LOST.began - 30)
    assert concluded(compared((OURS, LOST), *counted(START), now=now)) == [Conclusion.UNKNOWN]
    found = compared((OURS, LOST, young), *counted(START, LOST.began, LOST.began), now=now)
    assert concluded(found) == [Conclusion.TAKEN] and not found.extra


def test_a_report_that_lacks_what_was_answered_frees_nothing() -> None:
    late = done("late", START + 4 * HOUR)
    found = compared((OURS, LOST, late), *counted(START))
    assert concluded(found) == [Conclusion.UNKNOWN]
    assert [(one.model, one.requests) for one in found.missing] == [("m", 1)]


def test_a_model_that_the_report_never_showed_is_not_judged_by_its_silence() -> None:
    other = doubtful("other", START + HOUR, model="another")
    found = compared((OURS, other), *counted(START))
    assert concluded(found) == [Conclusion.UNKNOWN] and "another" in found.doubts[0].reason


def test_what_nobody_here_has_asked_for_is_somebody_elses() -> None:
    rows = (*counted(START, START + HOUR, START + HOUR), *counted(START, model="other"))
    found = compared((OURS,), *rows)
    assert [(one.at, one.model, one.requests) for one in found.extra] == [
        (START + HOUR, "m", 2),
        (START, "other", 1),
    ]
    assert all(one.may_be == () and one.task is None for one in found.extra)


def test_a_snapshots_date_is_no_other_model() -> None:
    found = compared((OURS, LOST), *counted(START, model="m-2026-04-21"))
    assert concluded(found) == [Conclusion.NOT_TAKEN] and not found.extra
    assert undated("gpt-image-2-2026-04-21") == "gpt-image-2"
    assert undated("gpt-image-2") == "gpt-image-2"


@pytest.mark.parametrize("sureness", [Sureness.OPEN, Sureness.TAKEN])
def test_what_is_under_way_or_only_begins_here_may_be_counted(sureness: Sureness) -> None:
    other = replace(
        OURS, run_id="run_open", sureness=sureness, began=LOST.began, ended=float("inf")
    )
    found = compared((OURS, LOST, other), *counted(START, LOST.began))
    assert concluded(found) == [Conclusion.UNKNOWN] and not found.extra


# --- whatever happened ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Happened:
    """What really was: the runs, who of the doubtful was taken, and what upstream counted."""

    works: tuple[Work, ...]
    taken: frozenset[str]
    minutes: tuple[float, ...]


@st.composite
def histories(draw: st.DrawFn, *, strangers: int) -> Happened:
    works: list[Work] = [OURS]
    minutes = [START]
    taken = set()
    for number in range(draw(st.integers(1, 8))):
        began = START + 2 * HOUR + draw(st.integers(0, 3600))
        lasted = draw(st.integers(0, 500))
        work = replace(done(str(number), began), ended=began + lasted)
        fate = draw(st.sampled_from(list(Sureness)))
        is_counted = fate is Sureness.TAKEN or draw(st.booleans())
        ended = float("inf") if fate is Sureness.OPEN else work.ended
        brought = int(fate is Sureness.TAKEN)
        work = replace(work, sureness=fate, ended=ended, images=brought)
        if is_counted:
            longest = WORKS_ON_SECONDS if fate is Sureness.DOUBTFUL else lasted
            minutes.append(began + draw(st.integers(-100, int(longest) + 100)))
            taken.add(work.run_id)
        works.append(work)
    minutes += [
        START + HOUR + draw(st.integers(0, 7200)) for _ in range(draw(st.integers(0, strangers)))
    ]
    return Happened(tuple(works), frozenset(taken), tuple(minutes))


@STEADY
@given(histories(strangers=4))
def test_nothing_that_was_taken_is_ever_freed(history: Happened) -> None:
    found = compared(history.works, *counted(*history.minutes))
    for doubt in found.doubts:
        if doubt.conclusion is Conclusion.NOT_TAKEN:
            assert doubt.work.run_id not in history.taken
    assert not found.missing


@STEADY
@given(histories(strangers=0))
def test_where_nobody_else_uses_the_key_only_the_taken_are_confirmed(history: Happened) -> None:
    found = compared(history.works, *counted(*history.minutes))
    for doubt in found.doubts:
        if doubt.conclusion is Conclusion.TAKEN:
            assert doubt.work.run_id in history.taken
    assert not found.extra


@STEADY
@given(histories(strangers=0), st.data())
def test_a_doubt_that_alone_could_have_been_counted_is_always_settled(
    history: Happened, data: st.DataObject
) -> None:
    """No run is near it: either it was counted or it was not, and both are seen."""
    alone = doubtful("alone", START + 6 * HOUR)
    is_taken = data.draw(st.booleans())
    minutes = (*history.minutes, *([alone.began] if is_taken else []))
    calm = tuple(one for one in history.works if one.sureness is not Sureness.OPEN)
    if any(one.run_id in history.taken for one in history.works if one not in calm):
        return
    found = compared((*calm, alone), *counted(*minutes))
    expected = Conclusion.TAKEN if is_taken else Conclusion.NOT_TAKEN
    assert {one.work.run_id: one.conclusion for one in found.doubts}["run_alone"] is expected
