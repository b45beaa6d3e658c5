"""New names for new things.

None of them is a secret: tasks are guarded by the team's key, not by their id. So they come from
the process's own generator, seeded once by the operating system, which is asked no more: on
some machines each answer costs more than the rest of a cache hit.
"""

from __future__ import annotations

import random
import string
from typing import Final

_ALPHABET: Final = string.ascii_lowercase + string.digits
_PAIRS: Final = [one + two for one in _ALPHABET for two in _ALPHABET]


def new_task_id(now: float) -> str:
    """A public task id in upstream's form: `task-unified-<Unix seconds>-<8 of [a-z0-9]>`."""
    head, tail = divmod(int(random.random() * len(_PAIRS) ** 4), len(_PAIRS) ** 2)
    (one, two), (three, four) = divmod(head, len(_PAIRS)), divmod(tail, len(_PAIRS))
    return f"task-unified-{int(now)}-{_PAIRS[one]}{_PAIRS[two]}{_PAIRS[three]}{_PAIRS[four]}"


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
