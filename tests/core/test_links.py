"""Result links, as browsers read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.addresses import check_url
from gateway.core.links import MAX_LINK_CHARACTERS, cleaned, is_link, is_path

BASE = "https://api.test/base"
SCHEMES = frozenset({"http", "https"})


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("https://a.test/x.png", "https://a.test/x.png"),
        (" \t\nhttps://a.test/x.png \r\n", "https://a.test/x.png"),
        ("HTTPS://a.test/x.png", "https://a.test/x.png"),
        ("https://a.test/a b.png?c d", "https://a.test/a%20b.png?c%20d"),
        ("https://a.test/a\nb.png", "https://a.test/ab.png"),
        ("https://a.test/sü\u00a0ß", "https://a.test/s%C3%BC%C2%A0%C3%9F"),
        ("https://a.test/%20?sig=a+b/c==&x=%2F", "https://a.test/%20?sig=a+b/c==&x=%2F"),
        ('https://a.test/{"<`>}', "https://a.test/%7B%22%3C%60%3E%7D"),
        ("https://a.test/a\\b?c\\d", "https://a.test/a/b?c%5Cd"),
        ("https://a.test/100%", "https://a.test/100%"),
        ("/f/x.png", "https://api.test/f/x.png"),
        ("//cdn.test/x.png", "https://cdn.test/x.png"),
        ("https://a.test", "https://a.test"),
    ],
)
def test_a_link_is_cleaned(written: str, asked: str) -> None:
    assert is_link(written) or is_path(written)
    assert cleaned(written, BASE) == asked


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "x.png",
        "ftp://a.test/x",
        "javascript:alert(1)",
        "data:text/html,x",
        "https:/a.test",
    ],
)
def test_what_is_no_link(text: str) -> None:
    assert not is_link(text)


@pytest.mark.parametrize(
    "text",
    ["http://a.test\\@evil.test/", "https://user@a.test/", "https:// a.test/", "http://[::1", "//"],
)
def test_cleaning_makes_no_host_good(text: str) -> None:
    assert check_url(cleaned(text, BASE), schemes=SCHEMES) is not None


def test_a_link_may_be_as_long_as_a_request_line() -> None:
    head = "https://a.test/?"
    for more, is_good in ((0, True), (1, False)):
        link = head + "x" * (MAX_LINK_CHARACTERS - len(head) + more)
        problem = check_url(cleaned(link), schemes=SCHEMES, max_length=MAX_LINK_CHARACTERS)
        assert (problem is None) == is_good


@given(st.text())
def test_any_text_is_cleaned_once_and_for_all(text: str) -> None:
    for start in ("", "https://a.test/", "/", " HTTP://"):
        once = cleaned(start + text, BASE)
        assert cleaned(once, BASE) == once
