"""The address under which upstream may say that a run has ended.

It cannot be guessed, and nothing is stored for it: the token is the run's id with a mark that
only we can make. What comes to it is a hint and never believed; the run is asked after by GET.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

KEY_BYTES: Final = 32


def token(key: bytes, run_id: str) -> str:
    """The last part of the address for this run; `key` is this installation's secret."""
    mark = hmac.new(key, run_id.encode(), hashlib.sha256).hexdigest()
    return f"{run_id}.{mark}"


def run_of(key: bytes, given: str) -> str | None:
    """The id of the run that a token is for; None for one that is not ours."""
    if not given.isascii():
        return None
    run_id = given.partition(".")[0]
    return run_id if hmac.compare_digest(token(key, run_id), given) else None
