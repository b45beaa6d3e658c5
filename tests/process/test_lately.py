"""What was found out lately holds for a second, and no longer than it is true."""

from __future__ import annotations

from gateway.process.lately import MOST, Lately


def test_it_holds_for_a_second() -> None:
    now = [0.0]
    known = Lately[str, int](lambda: now[0])
    known.note("a", 1, changes=known.changes)
    known.note("b", 2, changes=known.changes, seconds=0.5)
    assert (known.found("a"), known.found("b"), known.found("c")) == (1, 2, None)
    now[0] = 0.5
    assert (known.found("a"), known.found("b")) == (1, None)
    now[0] = 1.0
    assert known.found("a") is None


def test_what_was_asked_before_a_change_is_not_noted() -> None:
    known = Lately[str, int](lambda: 0.0)
    before = known.changes
    known.forget("another")
    known.note("a", 1, changes=before)
    assert known.found("a") is None
    known.note("a", 1, changes=known.changes)
    known.note("b", 2, changes=known.changes)
    known.forget("a")
    assert (known.found("a"), known.found("b")) == (None, 2)
    known.clear()
    assert known.found("b") is None


def test_it_has_a_bound() -> None:
    known = Lately[int, int](lambda: 0.0)
    for number in range(MOST + 1):
        known.note(number, number, changes=known.changes)
    assert (known.found(0), known.found(1), known.found(MOST)) == (None, 1, MOST)
