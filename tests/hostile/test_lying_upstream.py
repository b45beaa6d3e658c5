"""Upstream answers made up at random, on every order's way from its submit to its pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final

import httpx2 as httpx
import pytest
from house import FAST, ORGANISATION_KEY, PRICE_USD, TEAM_KEY
from hypothesis import given
from hypothesis import strategies as st
from lying_upstream import PLACE, Lies, LyingUpstream, finished, task
from odd_answers import answered, pictures, wired
from picture_samples import picture
from siege import Elsewhere, Siege, attacked, examples, share

from gateway.core.runs.schedule import RETRY_AFTER_MAX_SECONDS
from gateway.sandbox import running_sandbox

AT_ONCE: Final = 16
EXAMPLES: Final = share(64, 100) // AT_ONCE
THEIRS: Final = {502, 503, 504}
"""What an order may be answered but 200 and a refusal: that it is upstream's fault."""


@contextmanager
def lied_to(folder: Path) -> Iterator[tuple[Siege, LyingUpstream]]:
    """A gateway in front of a liar, and an honest upstream for the neighbour's model."""
    elsewhere = Elsewhere()
    try:
        with (
            elsewhere.serving(running_sandbox(FAST)) as sandbox,
            elsewhere.serving(LyingUpstream().serving()) as liar,
        ):
            honest = {"base_url": sandbox.base_url, "api_key": ORGANISATION_KEY}
            route = {"upstream": "honest", "model": "gpt-image-1.5", "price": PRICE_USD}
            limits = {"sizes": ["1:1"], "qualities": ["low"]}
            changes = {
                "upstreams": {"honest": {**honest, "allow_private_addresses": True}},
                "models": {
                    "gpt-image-1.5": {"deadline": "3s"},
                    "honest": {"routes": [route], "limits": limits},
                },
                "storage": {"picture_limit": "2MB"},
            }
            with attacked(folder, liar.base_url, neighbours_model="honest", **changes) as siege:
                yield siege, liar
    finally:
        elsewhere.end()


@st.composite
def lies(draw: st.DrawFn, base_url: str) -> Lies:
    both = (task(PLACE), finished(PLACE, base_url))
    submit = draw(answered(draw(st.sampled_from(both))))
    polls = draw(st.lists(answered(finished(PLACE, base_url)), min_size=1, max_size=3))
    return Lies(submit, tuple(polls), draw(wired(200, [], draw(pictures()))))


def ask(client: httpx.Client, number: int) -> httpx.Response:
    wish = {"model": "gpt-image-1.5", "prompt": f"lie-{number:06}-"}
    return client.post("/v1/images/generations", json=wish)


@pytest.mark.timeout(7200)
@pytest.mark.filterwarnings("ignore:Generating overly large repr")
def test_no_answer_of_upstream_breaks_it(tmp_path: Path) -> None:
    numbers = count(1)
    with lied_to(tmp_path) as (siege, liar):
        siege.complaint = "upstream gave a task to two runs"  # two odd ids may be the same
        auth = {"Authorization": f"Bearer {TEAM_KEY}"}
        client = httpx.Client(base_url=siege.url, headers=auth, timeout=30)
        with client, ThreadPoolExecutor(AT_ONCE) as crowd:

            @examples(EXAMPLES)
            @given(st.lists(lies(liar.base_url), min_size=AT_ONCE, max_size=AT_ONCE))
            def lied(drawn: Sequence[Lies]) -> None:
                mine = [next(numbers) for _ in drawn]
                for number, one in zip(mine, drawn, strict=True):
                    liar.tell(number, one)
                for answer in crowd.map(lambda number: ask(client, number), mine):
                    told = answer.status_code
                    assert told < 500 or told in THEIRS, answer.text

            lied()
        liar.repent(picture("png"))
        siege.settled(RETRY_AFTER_MAX_SECONDS + 60)  # so long it may have been told to wait
        assert sum(siege.metrics("gateway_budget_held_usd").values()) == 0
        spent = siege.metrics("gateway_spend_usd_total")
        lost = round(spent['{model="gpt-image-1.5",team="blue"}'] / PRICE_USD)
        assert 0 < lost <= len(liar.submits)
