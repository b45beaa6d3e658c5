"""How amounts and times look in the JSON of the operator's and the team's pages."""

from __future__ import annotations

from datetime import UTC, date, datetime, tzinfo

from gateway.core.model import KeptPicture
from gateway.core.money.accounts import USD_MICROS, Measure
from gateway.core.money.budgets import NEVER, Standing
from gateway.web.shapes import PictureShape, StandingShape


def usd(micros: int) -> float:
    """Micro-dollars as US dollars."""
    return micros / USD_MICROS


def moment(at: float | None) -> str | None:
    """A Unix time as RFC 3339 in UTC, to the millisecond; None stays None, and so does never."""
    return None if at is None or at == NEVER else instant(at)


def instant(at: float) -> str:
    text = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return f"{text.removesuffix('+00:00').removesuffix('.000')}Z"


def day(start: float, zone: tzinfo) -> str:
    """The start of a day (Unix seconds) as its date in the zone."""
    return day_of(start, zone).isoformat()


def day_of(at: float, zone: tzinfo) -> date:
    return datetime.fromtimestamp(at, zone).date()


def standing(one: Standing) -> StandingShape:
    amount = usd if one.cap.measure is Measure.USD else int
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
