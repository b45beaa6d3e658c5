"""What operators do to teams and keys: each act a pure decision, and the policy that follows.

A decision looks at the team and its keys as they are and returns its answer with the writes; an
answer that is no record says why nothing was written. It must not know HTTP or the settings.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from gateway.core.catalog import Team
from gateway.core.instants import rfc3339_if_ever
from gateway.core.policy import Grant, Policy
from gateway.core.teams.records import Change, KeyState, ManagedTeam, TeamKey
from gateway.core.transaction import View, Writes


class Action(StrEnum):
    """What an operator can do, as the record of changes names it."""

    TEAM_CREATE = "team.create"
    TEAM_CHANGE = "team.change"
    TEAM_DELETE = "team.delete"
    KEY_ISSUE = "key.issue"
    KEY_ROTATE = "key.rotate"
    KEY_REVOKE = "key.revoke"
    PICTURE_ERASE = "picture.erase"
    RUN_ERASE = "run.erase"
    CACHE_PURGE = "cache.purge"
    CALLBACK_REDELIVER = "callback.redeliver"
    RUN_RETRY = "run.retry"
    SETTINGS_RELOAD = "settings.reload"


@dataclass(frozen=True, slots=True)
class Act:
    """One act of an operator: the id of its record, when, and by whom."""

    id: str
    at: float
    actor: str

    def change(
        self, action: Action, subject: str, *, before: str | None = None, after: str | None = None
    ) -> Change:
        return Change(self.id, self.at, self.actor, action.value, subject, before, after)


class Missing(StrEnum):
    """What an act was about and is not there."""

    TEAM = "team"
    KEY = "key"


@dataclass(frozen=True, slots=True)
class Exists:
    """A team of that name is there already."""


@dataclass(frozen=True, slots=True)
class NotActive:
    """The key cannot be rotated any more."""

    key: TeamKey
    state: KeyState


@dataclass(frozen=True, slots=True)
class StillTwo:
    """The key that this one replaced still works: a rotation has two live keys at most."""

    former: TeamKey


@dataclass(frozen=True, slots=True)
class Rotation:
    old: TeamKey
    new: TeamKey


# --- teams ---------------------------------------------------------------------------------------


def create(view: View, name: str, document: str, act: Act) -> tuple[ManagedTeam | Exists, Writes]:
    """A new team, or one that was deleted and is there again: its history and accounts go on."""
    if _present(view) is not None:
        return Exists(), Writes()
    team = ManagedTeam(name, document, act.at, act.at)
    change = act.change(Action.TEAM_CREATE, name, after=document)
    return team, Writes(teams=(team,), changes=(change,))


def change(
    view: View, edit: Callable[[str], str], act: Act
) -> tuple[ManagedTeam | Missing, Writes]:
    """The team with the document that `edit` makes of its present one; what it raises comes out.

    Where nothing is different nothing is written.
    """
    team = _present(view)
    if team is None:
        return Missing.TEAM, Writes()
    document = edit(team.document)
    if document == team.document:
        return team, Writes()
    after = replace(team, document=document, changed_at=act.at)
    change = act.change(Action.TEAM_CHANGE, team.name, before=team.document, after=document)
    return after, Writes(teams=(after,), changes=(change,))


def delete(view: View, act: Act) -> tuple[ManagedTeam | Missing, Writes]:
    """The team is gone and its keys are revoked; its row stays, for its history."""
    team = _present(view)
    if team is None:
        return Missing.TEAM, Writes()
    after = replace(team, changed_at=act.at, deleted_at=act.at)
    open_keys = [key for key in view.team_keys if key.ends_at > act.at]
    revoked = tuple(replace(key, revoked_at=act.at) for key in open_keys)
    before = {**json.loads(team.document), "keys": [key.id for key in open_keys]}
    change = act.change(Action.TEAM_DELETE, team.name, before=_json(before))
    return after, Writes(teams=(after,), team_keys=revoked, changes=(change,))


def _present(view: View) -> ManagedTeam | None:
    team = view.managed
    return None if team is None or team.deleted_at is not None else team


# --- keys ----------------------------------------------------------------------------------------


def issue(view: View, key: TeamKey, act: Act) -> tuple[TeamKey | Missing, Writes]:
    if _present(view) is None:
        return Missing.TEAM, Writes()
    change = act.change(Action.KEY_ISSUE, _subject(key), after=_told(key))
    return key, Writes(team_keys=(key,), changes=(change,))


def rotate(
    view: View, old_id: str, make: Callable[[TeamKey], TeamKey], *, grace_seconds: float, act: Act
) -> tuple[Rotation | NotActive | StillTwo | Missing, Writes]:
    """A new key, which `make` makes for the old one, that goes on working for the grace period."""
    if _present(view) is None:
        return Missing.TEAM, Writes()
    old = _key(view, old_id)
    if old is None:
        return Missing.KEY, Writes()
    if old.state(act.at) is not KeyState.ACTIVE:
        return NotActive(old, old.state(act.at)), Writes()
    former = _key(view, old.replaces)
    if former is not None and former.ends_at > act.at:
        return StillTwo(former), Writes()
    ending = replace(old, expires_at=act.at + grace_seconds)
    new = make(old)
    change = act.change(
        Action.KEY_ROTATE, _subject(old), before=_told(old), after=_json(_rotated(ending, new))
    )
    return Rotation(ending, new), Writes(team_keys=(ending, new), changes=(change,))


def revoke(view: View, key_id: str, act: Act) -> tuple[TeamKey | Missing, Writes]:
    """The key opens nothing from now on; one that is revoked already stays as it is."""
    if _present(view) is None:
        return Missing.TEAM, Writes()
    key = _key(view, key_id)
    if key is None:
        return Missing.KEY, Writes()
    if key.revoked_at is not None:
        return key, Writes()
    after = replace(key, revoked_at=act.at)
    change = act.change(Action.KEY_REVOKE, _subject(key), before=_told(key), after=_told(after))
    return after, Writes(team_keys=(after,), changes=(change,))


def _key(view: View, key_id: str | None) -> TeamKey | None:
    return next((key for key in view.team_keys if key.id == key_id), None)


# --- the policy that follows ---------------------------------------------------------------------


def merged(settings: Policy, teams: Iterable[Team], keys: Iterable[TeamKey], now: float) -> Policy:
    """The policy of the settings with the teams and keys made at run time.

    A team of the settings hides one of the same name together with its keys. Keys that have
    ended are absent; one that will end opens until then.
    """
    added = {team.name: team for team in teams if team.name not in settings.provisioned}
    grants = {
        key.digest: Grant(key.team, key.ends_at)
        for key in keys
        if key.team in added and key.revoked_at is None and key.ends_at > now
    }
    return replace(settings, teams={**settings.teams, **added}, keys={**grants, **settings.keys})


# --- what the record of a change says of keys ----------------------------------------------------


def _subject(key: TeamKey) -> str:
    return f"{key.team}/{key.id}"


def _told(key: TeamKey) -> str:
    return _json(_facts(key))


def _facts(key: TeamKey) -> dict[str, object]:
    facts = {
        "id": key.id,
        "label": key.label,
        "expires_at": rfc3339_if_ever(key.expires_at),
        "revoked_at": rfc3339_if_ever(key.revoked_at),
        "replaces": key.replaces,
    }
    return {name: fact for name, fact in facts.items() if fact is not None}


def _rotated(old: TeamKey, new: TeamKey) -> dict[str, object]:
    return {"old": _facts(old), "new": _facts(new)}


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
