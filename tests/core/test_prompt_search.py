"""Every word must occur, in any order; what is quoted as a whole; case and accents do not count."""

from __future__ import annotations

import pytest

from gateway.core.prompt_search import folded, occurs, sought

PROMPT = "A watercolour fox in the\nsnow, Ístanbul café: 100% L_C"


@pytest.mark.parametrize(
    ("search", "is_found"),
    [
        ("fox snow", True),
        ("SNOW fox", True),
        ("fox hare", False),
        ('"in the snow"', True),
        ('"snow fox"', False),
        ('cafe "FOX in"', True),
        ("\u201efox in\u201c snow", True),
        ("\u00abin the\u00bb", True),
        ('fox "snow', True),  # never closed: words
        ('"', True),
        ('""', True),
        ("", True),
        ("   ", True),
        ("istanbul", True),
        ("İSTANBUL", True),
        ("\u0131stanbul", True),
        ("caf\u00e9", True),
        ("cafe\u0301", True),
        ("100%", True),
        ("1%0", False),
        ("L_C", True),
        ("oxi", False),
        ("' OR 1=1 --", False),
    ],
)
def test_a_search_finds(search: str, is_found: bool) -> None:
    assert occurs(sought(search), PROMPT) is is_found


@pytest.mark.parametrize(
    ("prompt", "search", "is_found"),
    [
        ("雪の中の狐", "狐", True),
        ("雪の中の狐", "狐 雪", True),
        ("雪の中の狐", "狐\u3000雪", True),  # a full-width space parts words too
        ("雪の中の狐", "狐雪", False),
        ("が", "か", False),  # another letter, not an accent
        ("Straße", "STRASSE", True),
        ("\uff46\uff55\uff4c\uff4c width", "full", True),
        ("\u0645\u064f\u062d", "\u0645\u062d", True),  # Arabic vowels are left out by most
        ("한국어", "한국", True),
        ("Łódź", "lodz", True),
        ("🦊 fox", "🦊", True),
        ("a  b", '"a b"', True),
        ("a\x00b", "b a", True),
        ("fox", "\x00", True),  # nothing that could occur
        ("fox", "\u200ffox\ufeff", True),
        ("soft\u00adly", "softly", True),
    ],
)
def test_scripts_of_the_world(prompt: str, search: str, is_found: bool) -> None:
    assert occurs(sought(search), prompt) is is_found


def test_what_lies_in_another_part_is_asked_for_once() -> None:
    assert sought('fox foxes Fox "red foxes" red') == ("red foxes",)
    assert len(sought(" ".join(f"w{n}z" for n in range(50)))) == 50


def test_parts_may_lie_in_different_texts() -> None:
    assert occurs(sought("ads Paris"), "marketing", "Ads of the office in París")
    assert not occurs(sought('"marketing ads"'), "marketing", "ads")


@pytest.mark.parametrize("text", ["İ", "ﬀ", "\u00a8x", "A\u0300 B", "ẞ", "\ud800"])
def test_what_is_folded_stays_so(text: str) -> None:
    assert folded(folded(text)) == folded(text)
