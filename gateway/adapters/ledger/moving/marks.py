"""What a ledger says of itself while it is moved and afterwards, in its table `moves`.

    arriving       it is being written: JSON, from where and since when
    index/NAME     an index that is made again when its rows are there: the statement
    leaving        the last of it is being carried away: nobody may begin to serve from it
    left           it is another place's from a time on: JSON, where and when

A ledger that arrives or has left is not one to serve from: whoever opens it for that asks first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

from gateway.adapters.ledger.database import Database
from gateway.adapters.ledger.statements import upsert
from gateway.errors import Unavailable

ARRIVING: Final = "arriving"
LEAVING: Final = "leaving"
LEFT: Final = "left"
INDEX: Final = "index/"

PUT_MARK: Final = upsert("moves", ("name", "value"), key=1)
DROP_MARK: Final = "DELETE FROM moves WHERE name = ?"
MARKS: Final = "SELECT name, value FROM moves ORDER BY name"


def marks(db: Database) -> Mapping[str, str]:
    """All of them, by name."""
    return {str(name): str(value) for name, value in db.execute(MARKS).fetchall()}


@dataclass(frozen=True, slots=True)
class Mark:
    """Names the other place, since when, and whose ledger it is (`store_id`)."""

    place: str
    at: str
    store_id: str

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def read(value: str) -> Mark:
    return Mark(**json.loads(value))


def require_settled(db: Database) -> None:
    """Raises `Unavailable` for a ledger that no gateway may serve from."""
    found = marks(db)
    if ARRIVING in found:
        mark = read(found[ARRIVING])
        raise Unavailable(
            f"This ledger is being carried over from {mark.place} since {mark.at}, and is not whole"
            " yet: run 'image-gateway migrate' again, with the settings of that place; it goes on"
            " where it was cut. Until it says that all is carried over, the old place serves."
        )
    if LEAVING in found:
        raise Unavailable(
            "This ledger is being moved to another place, and its move was cut: run"
            " 'image-gateway migrate' again, or give it up with 'image-gateway migrate --undo'."
        )
    if LEFT in found:
        mark = read(found[LEFT])
        raise Unavailable(
            f"This ledger was moved to {mark.place} at {mark.at}: orders that are taken there are"
            " not known here, and would be paid for twice. Start the gateway with the settings of"
            " that place. To come back, run 'image-gateway migrate --to' this place with those"
            " settings; or, if nothing was ever served from there, 'image-gateway migrate --undo'."
        )
