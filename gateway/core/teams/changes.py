"""What operators do to teams and keys: each act a pure decision, and the policy that follows.

A decision looks at the team and its keys as they are and returns its answer with the writes. What
cannot be done it raises as the operator's error, and then nothing is written: `TeamNotFound` for a
team that is not there, `KeyNotFound` for such a key. It must not know HTTP or the settings.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from gateway.core.catalog import KeyName, Team
from gateway.core.instants import rfc3339_if_ever
from gateway.core.policy import Grant, Policy
from gateway.core.teams.records import Change, KeyState, ManagedTeam, TeamKey
from gateway.core.transaction import View, Writes
from gateway.errors import (
    KeyNotActive,
    KeyNotFound,
    RotationUnderWay,
    TeamExists,
    TeamNotFound,
)


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
    RUN_FREE = "run.free"
    RUN_CONFIRM = "run.confirm"
    ALERT_TEST = "alert.test"
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


@dataclass(frozen=True, slots=True)
class Rotation:
    old: TeamKey
    new: TeamKey


# --- teams ---------------------------------------------------------------------------------------


def create(view: View, name: str, document: str, act: Act) -> tuple[ManagedTeam, Writes]:
    """A new team, or one that was deleted and is there again: its history and accounts go on.

    Raises `TeamExists`.
    """
    if view.managed is not None and view.managed.deleted_at is None:
        raise TeamExists(f"There is a team {name!r} already: change that one.", param="name")
    team = ManagedTeam(name, document, act.at, act.at)
    change = act.change(Action.TEAM_CREATE, name, after=document)
    return team, Writes(teams=(team,), changes=(change,))


def change(
    view: View, name: str, edit: Callable[[str], str], act: Act
) -> tuple[ManagedTeam, Writes]:
    """The team with the document that `edit` makes of its present one; what it raises comes out.

    Where nothing is different nothing is written.
    """
    team = _present(view, name)
    document = edit(team.document)
    if document == team.document:
        return team, Writes()
    after = replace(team, document=document, changed_at=act.at)
    change = act.change(Action.TEAM_CHANGE, name, before=team.document, after=document)
    return after, Writes(teams=(after,), changes=(change,))


def delete(view: View, name: str, act: Act) -> tuple[ManagedTeam, Writes]:
    """The team is gone and its keys are revoked; its row stays, for its history."""
    team = _present(view, name)
    after = replace(team, changed_at=act.at, deleted_at=act.at)
    open_keys = [key for key in view.team_keys if key.ends_at > act.at]
    revoked = tuple(replace(key, revoked_at=act.at) for key in open_keys)
    before = {**json.loads(team.document), "keys": [key.id for key in open_keys]}
    change = act.change(Action.TEAM_DELETE, name, before=_json(before))
    return after, Writes(teams=(after,), team_keys=revoked, changes=(change,))


def _present(view: View, name: str) -> ManagedTeam:
    if view.managed is None or view.managed.deleted_at is not None:
        raise no_team(name)
    return view.managed


def no_team(name: str) -> TeamNotFound:
    return TeamNotFound(f"There is no team {name[:128]!r}.", param="team")


# --- keys ----------------------------------------------------------------------------------------


def issue(view: View, key: TeamKey, act: Act) -> tuple[TeamKey, Writes]:
    _present(view, key.team)
    change = act.change(Action.KEY_ISSUE, _subject(key), after=_told(key))
    return key, Writes(team_keys=(key,), changes=(change,))


def rotate(
    view: View, new: TeamKey, *, label: str | None, grace_seconds: float, act: Act
) -> tuple[Rotation, Writes]:
    """`new` in the place of the key that it `replaces`, which works on for the grace period.

    `label` None: the old one's. Raises `KeyNotActive`, and `RotationUnderWay`
    where the key that the old one replaced still works: two at most are live.
    """
    old = _key(view, new.team, new.replaces or "")
    if (state := old.state(act.at)) is not KeyState.ACTIVE:
        message = f"This key is {state.value}: only an active one is rotated. Issue one."
        raise KeyNotActive(message)
    for former in view.team_keys:
        if former.id == old.replaces and former.ends_at > act.at:
            raise RotationUnderWay(
                f"The key {former.id}, which this one replaced, still works. Wait for the end "
                "of its grace period, or revoke it first."
            )
    new = replace(new, label=old.label if label is None else label)
    ending = replace(old, expires_at=act.at + grace_seconds)
    told = _json({"old": _facts(ending), "new": _facts(new)})
    change = act.change(Action.KEY_ROTATE, _subject(old), before=_told(old), after=told)
    return Rotation(ending, new), Writes(team_keys=(ending, new), changes=(change,))


def revoke(view: View, name: str, key_id: str, act: Act) -> tuple[TeamKey, Writes]:
    """The key opens nothing from now on; one that is revoked already stays as it is."""
    key = _key(view, name, key_id)
    if key.revoked_at is not None:
        return key, Writes()
    after = replace(key, revoked_at=act.at)
    change = act.change(Action.KEY_REVOKE, _subject(key), before=_told(key), after=_told(after))
    return after, Writes(team_keys=(after,), changes=(change,))


def _key(view: View, name: str, key_id: str) -> TeamKey:
    _present(view, name)
    found = next((key for key in view.team_keys if key.id == key_id), None)
    if found is None:
        raise KeyNotFound(f"The team {name!r} has no key {key_id[:64]!r}.", param="id")
    return found


# --- the policy that follows ---------------------------------------------------------------------


def merged(settings: Policy, teams: Iterable[Team], keys: Iterable[TeamKey], now: float) -> Policy:
    """The policy of the settings with the teams and keys made at run time.

    A team of the settings hides one of the same name together with its keys. Keys that have
    ended are absent; one that will end opens until then.
    """
    added = {team.name: team for team in teams if team.name not in settings.provisioned}
    grants = {
        key.digest: Grant(key.team, key.ends_at, KeyName(key.id, key.label))
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


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
