"""How amounts and times look in the JSON of the operator's and the team's pages."""

from __future__ import annotations

from gateway.core.instants import NEVER, rfc3339
from gateway.core.model import KeptPicture
from gateway.core.money.accounts import Measure
from gateway.core.money.budgets import Standing
from gateway.core.money.usd import dollars
from gateway.web.shapes import PictureShape, StandingShape


def moment(at: float | None) -> str | None:
    """The same; None where there is no time, and for never."""
    return None if at is None or at == NEVER else instant(at)


def instant(at: float) -> str:
    """A Unix time as RFC 3339 in UTC, to the millisecond."""
    return rfc3339(at, "milliseconds")


def standing(one: Standing) -> StandingShape:
    amount = dollars if one.cap.measure is Measure.USD else int
    return {
        "rule": one.cap.rule,
        "measure": one.cap.measure.value,
        "window": one.cap.window.value,
        "limit": amount(one.cap.limit),
        "spent": amount(one.spent),
        "held": amount(one.held),
        "left": amount(one.left),
        "resets_at": moment(one.renews_at),
    }


def picture(one: KeptPicture, public_url: str) -> PictureShape:
    return {
        "digest": one.picture.digest,
        "url": f"{public_url}/pictures/{one.picture.name}",
        "team": one.team,
        "model": one.model,
        "prompt": one.prompt,
        "run": one.run_id,
        "task": one.task_id,
        "size_bytes": one.picture.size_bytes,
        "width": one.picture.width,
        "height": one.picture.height,
        "created_at": instant(one.created_at),
        "erased_at": moment(one.erased_at),
    }
