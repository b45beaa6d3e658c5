"""New names for new things.

None of them is a secret: tasks are guarded by the team's key, not by their id. So they come from
the process's own generator, seeded once by the operating system, which is asked no more: on
some machines each answer costs more than the rest of a cache hit.
"""

from __future__ import annotations

import random
import string
from typing import Final

_ALPHABET: Final = string.digits + string.ascii_lowercase
_PAIRS: Final = [one + two for one in _ALPHABET for two in _ALPHABET]
"""In their order as texts."""


def new_task_id(now: float) -> str:
    """A public task id in upstream's form: `task-unified-<Unix seconds>-<8 of [a-z0-9]>`.

    The first four say when in that second, in steps of 0.6 µs, and the other four are chance. So
    ids of one moment are neighbours in the ledger's index: of 16 answers from the cache that are
    written together each had its own page of it, half of all pages that were written.
    """
    second = int(now)
    one, two = divmod(int((now - second) * len(_PAIRS) ** 2), len(_PAIRS))
    three, four = divmod(int(random.random() * len(_PAIRS) ** 2), len(_PAIRS))
    return f"task-unified-{second}-{_PAIRS[one]}{_PAIRS[two]}{_PAIRS[three]}{_PAIRS[four]}"


def new_run_id() -> str:
    """32 hex digits; the idempotency keys of its submits are made from it."""
    return f"run_{random.getrandbits(128):032x}"


def new_request_id() -> str:
    return f"req_{random.getrandbits(96):024x}"


def new_refusal_id() -> str:
    return f"ref_{random.getrandbits(96):024x}"


def new_change_id() -> str:
    """The id of one act of an operator."""
    return f"chg_{random.getrandbits(96):024x}"
