"""What lies in the spool as an event: the pictures of an answer, and what they cost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import orjson

from gateway.adapters.openai_images.answers import request_id
from gateway.adapters.openai_images.bill import counted, worth
from gateway.adapters.openai_images.kind import NAME
from gateway.adapters.openai_images.links import link_to
from gateway.adapters.openai_images.spool import AnswerSpool, Spooled, name_of
from gateway.adapters.outbound.masking import Mask
from gateway.adapters.outbound.vendor import MAX_ANSWER_BYTES
from gateway.core.kinds import Rates
from gateway.core.model import Run
from gateway.core.runs.docket import Docket, written
from gateway.core.runs.events import AnswerLost, Delivered, SubmitEvent

MAX_PICTURES: Final = 10
"""More than an order can ask for are not about it."""

CUT_OFF: Final = "the gateway was stopped while the request was going out"


def delivered(
    run: Run, spooled: Spooled, rates: Rates | None, *, is_masked: bool = True
) -> Delivered | None:
    """What came, with its bill; None where no picture did. What may still hold a key is not told
    in its own words."""
    answer = spooled.answer
    if answer is None or not answer.pictures:
        return None
    links = [
        one if isinstance(one, str) else link_to(name_of(run), index)
        for index, one in enumerate(answer.pictures)
    ]
    body = orjson.loads(run.request)
    pictures = max(run.n, len(links))
    tokens = counted(answer.said, references=bool(body.get("image_urls")), pictures=pictures)
    docket = Docket(
        NAME,
        at_work=True,
        progress=100,
        tokens=tokens,
        request_id=request_id(spooled.headers),
        said=_bounded(answer.said) if is_masked else {},
    )
    return Delivered(
        written(docket),
        tuple(dict.fromkeys(links))[:MAX_PICTURES],
        worth(tokens, rates) if tokens and rates else None,
    )


def _bounded(said: Mapping[str, Any]) -> Mapping[str, Any]:
    """As much of what an answer says beside its pictures as any answer may have: a member that is
    too long goes. It is a row of the ledger for good."""
    bounded: dict[str, Any] = {}
    left = MAX_ANSWER_BYTES
    for name, value in said.items():
        size = len(json.dumps([name, value], ensure_ascii=False).encode())
        if size <= left:
            bounded[name] = value
            left -= size
    return bounded


async def recovered(
    spool: AnswerSpool, run: Run, mask: Mask | None = None, rates: Rates | None = None
) -> SubmitEvent:
    """What lies here of the run's last submit: `Delivered` where its whole answer does.

    Only its bytes are needed for that, so that its upstream may have gone from the settings: then
    nobody knows the key that is to be masked. `rates` are for answers that do not say them.
    """
    try:
        spooled = await spool.read(name_of(run), mask or Mask(""))
    except OSError as error:
        return AnswerLost(f"the spool cannot be read: {error}", unread=True)
    if spooled is None:
        return AnswerLost(CUT_OFF)
    found = delivered(run, spooled, spooled.rates or rates, is_masked=mask is not None)
    return found or AnswerLost("its answer has no pictures")
