"""Teams and keys that are made at run time, and the record of who changed what.

Teams of the settings are provisioned and never in these records. A key is known by the digest
of the whole of it; the secret is shown once, when the key is made, and kept nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gateway.core.instants import NEVER


@dataclass(frozen=True, slots=True)
class ManagedTeam:
    """A team made through the admin API.

    `document` is its settings as canonical JSON, in the shape that a team has in the settings
    file, without keys. A deleted one keeps its row, so that its history keeps its name.
    """

    name: str
    document: str
    created_at: float
    changed_at: float
    deleted_at: float | None = None


class KeyState(StrEnum):
    ACTIVE = "active"
    EXPIRING = "expiring"  # rotated: it works until its grace period is over
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class TeamKey:
    """One key of a team. `id` is its public part, `digest` the SHA-256 (hex) of the whole key.

    `replaces` names the key that it was rotated from.
    """

    id: str
    team: str
    digest: str
    label: str
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    replaces: str | None = None

    @property
    def ends_at(self) -> float:
        """From when on it opens nothing; infinity while no end is set."""
        ends = (end for end in (self.expires_at, self.revoked_at) if end is not None)
        return min(ends, default=NEVER)

    def state(self, now: float) -> KeyState:
        if self.revoked_at is not None:
            return KeyState.REVOKED
        if self.expires_at is None:
            return KeyState.ACTIVE
        return KeyState.EXPIRING if now < self.expires_at else KeyState.EXPIRED


@dataclass(frozen=True, slots=True)
class Change:
    """One act of an operator: who, what, on what, and how it was before and after (JSON).

    `actor` is what the admin key was called then, or the first 12 hex digits of its digest.
    `before` and `after` never hold a secret.
    """

    id: str
    at: float
    actor: str
    action: str
    subject: str
    before: str | None = None
    after: str | None = None
