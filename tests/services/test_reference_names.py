"""References whose bytes are known count by them, and nothing else can pass for one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from core_samples import MODEL
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.catalog import CacheScope, Team
from gateway.core.model import Order
from gateway.core.orders.fingerprint import fingerprint, references

ALPHA, BETA = Team("alpha"), Team("beta")
SHARED = [replace(team, cache_scope=CacheScope.ORGANIZATION) for team in (ALPHA, BETA)]
A, B, C, D = (f"https://files.example/{name}.png" for name in "abcd")
ONE, TWO = "1" * 64, "2" * 64
DIGESTS = {A: ONE, B: TWO, C: ONE, D: TWO}
urls = st.lists(st.sampled_from([A, B, C, D]), min_size=1, max_size=6)


def order(digests: dict[str, str] | None = None, **body: Any) -> Order:
    whole = {"prompt": "x", **body}
    return Order("gpt-image-1.5", "x", 1, None, None, whole, digests=digests or {})


def name(digests: dict[str, str] | None = None, team: Team = ALPHA, **body: Any) -> str:
    return fingerprint(order(digests, **body), team, MODEL)


def test_links_are_told_by_their_places() -> None:
    both = references(order(image_urls=[A, B, A], mask_url=C))
    assert both == {"image_urls[0]": A, "image_urls[1]": B, "image_urls[2]": A, "mask_url": C}
    assert references(order()) == references(order(image_urls=None, mask_url=None)) == {}
    assert references(order(image_urls="no list", mask_url=7)) == {}


@given(urls, urls)
def test_two_lists_are_one_order_when_their_bytes_are_equal_in_order(
    one: list[str], other: list[str]
) -> None:
    same = [DIGESTS[url] for url in one] == [DIGESTS[url] for url in other]
    assert (name(DIGESTS, image_urls=one) == name(DIGESTS, image_urls=other)) is same


def test_a_mask_counts_by_its_bytes_and_as_a_mask() -> None:
    assert name(DIGESTS, mask_url=A) == name(DIGESTS, mask_url=C) != name(DIGESTS, mask_url=B)
    assert name(DIGESTS, mask_url=A) != name(DIGESTS, image_urls=[A])


def test_what_is_unknown_counts_by_its_link() -> None:
    assert name(image_urls=[A]) != name(image_urls=[C])
    assert name({A: ONE}, image_urls=[A, B]) == name({C: ONE}, image_urls=[C, B])
    assert name({A: ONE}, image_urls=[A, B]) != name({A: ONE}, image_urls=[A, D])


def test_digests_of_other_links_mean_nothing() -> None:
    assert name({B: ONE}, image_urls=[A]) == name(image_urls=[A]) == name(image_urls=[A])
    assert name({A: ONE}) == name()


def test_no_text_of_a_clients_own_passes_for_a_digest() -> None:
    forged = f"sha256:{ONE}"
    assert name(mask_url=forged) != name({A: ONE}, mask_url=A)
    assert name(image_urls=[forged]) != name({A: ONE}, image_urls=[A])
    assert name({A: ONE}, image_urls=[A, forged]) != name({A: ONE, B: ONE}, image_urls=[A, B])


def test_teams_that_share_meet_in_the_bytes() -> None:
    one, other = SHARED
    assert name({A: ONE}, one, image_urls=[A]) == name({C: ONE}, other, image_urls=[C])
    assert name({A: ONE}, ALPHA, image_urls=[A]) != name({C: ONE}, BETA, image_urls=[C])
