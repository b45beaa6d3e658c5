"""The operator's API and the team's own reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.config.schema import TeamEntry
from gateway.errors import (
    GatewayError,
    InvalidRequest,
    KeyNotActive,
    KeyNotFound,
    NotFound,
    Provisioned,
    RequestTooLarge,
    RotationUnderWay,
    TeamExists,
    TeamNotFound,
    Unavailable,
)
from gateway.services.erasure import PictureNotFound, RunNotFound, RunUnderWay
from gateway.services.retries import RunNotRetriable
from gateway.web import shapes
from gateway.web.admin import (
    cache,
    callbacks,
    changes,
    keys,
    pictures,
    refusals,
    runs,
    settings,
    teams,
    unproven,
)
from gateway.web.admin import usage as all_usage
from gateway.web.openapi.operation import REF, Door, Operation, Schema, answers_json, takes_json
from gateway.web.query import NoParameters
from gateway.web.team import pictures as gallery
from gateway.web.team.summary import OwnUsageAsked

_TEAMS: Final = "Teams and keys"
_BOOKS: Final = "Usage and runs"
_STORES: Final = "Pictures, cache, callbacks"
_HOUSE: Final = "Settings and health"
_OWN: Final = "A team's own reports"

_CSV: Final = "text/csv"
_TEAM: Final = {"team": "The team's name."}
_KEY: Final = {**_TEAM, "id": "The key's public id."}
_ASKED: Final[Sequence[type[GatewayError]]] = (InvalidRequest, Unavailable)
_CHANGED: Final[Sequence[type[GatewayError]]] = (*_ASKED, RequestTooLarge)


def _team_schemas() -> tuple[Schema, Mapping[str, Schema]]:
    """A team as the settings file has it, without keys; and the definitions that it refers to."""
    schema: dict[str, Any] = TeamEntry.model_json_schema(ref_template=REF)
    definitions = schema.pop("$defs", {})
    schema["properties"] = {
        name: one for name, one in schema["properties"].items() if name != "keys"
    }
    schema["description"] = "What may be said of a team. What is left out is as in the settings."
    return schema, definitions


_SETTINGS, _DEFINITIONS = _team_schemas()
_NAME: Final = {"type": "string", "description": "Its name, as in the settings file."}
_NEW_TEAM: Final = {
    **_SETTINGS,
    "properties": {"name": _NAME, **_SETTINGS["properties"]},
    "required": ["name"],
    "examples": [{"name": "marketing", "budgets": [{"usd": 50, "per": "day"}], "mode": "enforce"}],
}
_CHANGE: Final = {
    **_SETTINGS,
    "description": "A merge patch (RFC 7396): what is named is replaced, null takes it away.",
    "examples": [{"budgets": [{"usd": 80, "per": "day"}]}],
}
SCHEMAS: Final[Mapping[str, Schema]] = {
    **_DEFINITIONS,
    "NewTeam": _NEW_TEAM,
    "TeamChange": _CHANGE,
}

_NEW: Final = takes_json({"$ref": REF.format(model="NewTeam")})
_PATCH: Final = takes_json({"$ref": REF.format(model="TeamChange")})
_USAGE: Final = {**answers_json(shapes.UsageShape), _CSV: {"type": "string"}}

OPERATIONS: Final[Sequence[Operation]] = (
    Operation(
        "GET",
        "/admin/v1/teams",
        _TEAMS,
        "All teams, with how they stand",
        Door.ADMIN,
        answers_json(shapes.TeamsShape),
        query=teams.FindTeams,
        refusals=_ASKED,
    ),
    Operation(
        "POST",
        "/admin/v1/teams",
        _TEAMS,
        "Create a team",
        Door.ADMIN,
        answers_json(shapes.TeamShape),
        description="Works from the next request on. It has no key yet.",
        query=NoParameters,
        body=_NEW,
        refusals=(*_CHANGED, TeamExists),
    ),
    Operation(
        "GET",
        "/admin/v1/teams/{team}",
        _TEAMS,
        "One team",
        Door.ADMIN,
        answers_json(shapes.TeamShape),
        query=NoParameters,
        path_words=_TEAM,
        refusals=(*_ASKED, TeamNotFound),
    ),
    Operation(
        "PATCH",
        "/admin/v1/teams/{team}",
        _TEAMS,
        "Change a team",
        Door.ADMIN,
        answers_json(shapes.TeamShape),
        description="What was spent stays spent: a changed limit is held against it at once. A "
        "team of the settings file is changed there.",
        query=NoParameters,
        path_words=_TEAM,
        body=_PATCH,
        refusals=(*_CHANGED, TeamNotFound, Provisioned),
    ),
    Operation(
        "DELETE",
        "/admin/v1/teams/{team}",
        _TEAMS,
        "Delete a team",
        Door.ADMIN,
        answers_json(shapes.DeletedShape),
        description="Its keys are revoked; its history, its spend and its pictures stay.",
        query=NoParameters,
        path_words=_TEAM,
        refusals=(*_ASKED, TeamNotFound, Provisioned),
    ),
    Operation(
        "GET",
        "/admin/v1/teams/{team}/keys",
        _TEAMS,
        "A team's keys",
        Door.ADMIN,
        answers_json(shapes.KeysShape),
        query=NoParameters,
        path_words=_TEAM,
        refusals=(*_ASKED, TeamNotFound),
    ),
    Operation(
        "POST",
        "/admin/v1/teams/{team}/keys",
        _TEAMS,
        "Issue a key",
        Door.ADMIN,
        answers_json(shapes.IssuedShape),
        description="The answer shows the whole key, this once; only its SHA-256 is kept.",
        query=NoParameters,
        path_words=_TEAM,
        body=takes_json(keys.IssueKey, required=False),
        refusals=(*_CHANGED, TeamNotFound, Provisioned),
    ),
    Operation(
        "POST",
        "/admin/v1/teams/{team}/keys/{id}/rotate",
        _TEAMS,
        "Rotate a key",
        Door.ADMIN,
        answers_json(shapes.RotatedShape),
        description="Issues a new key; the old one works until its grace period is over.",
        query=NoParameters,
        path_words=_KEY,
        body=takes_json(keys.RotateKey, required=False),
        refusals=(
            *_CHANGED,
            TeamNotFound,
            KeyNotFound,
            Provisioned,
            KeyNotActive,
            RotationUnderWay,
        ),
    ),
    Operation(
        "DELETE",
        "/admin/v1/teams/{team}/keys/{id}",
        _TEAMS,
        "Revoke a key",
        Door.ADMIN,
        answers_json(shapes.KeyShape),
        description="The next request with it is answered 401.",
        query=NoParameters,
        path_words=_KEY,
        refusals=(*_ASKED, TeamNotFound, KeyNotFound, Provisioned),
    ),
    Operation(
        "GET",
        "/admin/v1/usage",
        _BOOKS,
        "Usage for chargeback",
        Door.ADMIN,
        _USAGE,
        description="By team, model and day, or fewer of these; the totals equal the ledger.",
        query=all_usage.AllUsageAsked,
        refusals=_ASKED,
    ),
    Operation(
        "GET",
        "/admin/v1/runs",
        _BOOKS,
        "Runs, newest first",
        Door.ADMIN,
        answers_json(shapes.RunsShape),
        query=runs.RunsAsked,
        refusals=_ASKED,
    ),
    Operation(
        "GET",
        "/admin/v1/runs/{id}",
        _BOOKS,
        "The way a decision went",
        Door.ADMIN,
        answers_json(shapes.ExplanationShape),
        query=NoParameters,
        path_words={"id": "Of a run, of a task, or the `X-Request-Id` of a refused order."},
        refusals=(*_ASKED, NotFound),
    ),
    Operation(
        "DELETE",
        "/admin/v1/runs/{id}",
        _BOOKS,
        "Erase what was said of a run",
        Door.ADMIN,
        answers_json(shapes.RunShape),
        description="Of one that has ended, also of one that failed: its prompt, upstream's "
        "answers and every picture it made are gone for good; what was paid stays in the books.",
        query=NoParameters,
        path_words={"id": "Of a run or of one of its tasks."},
        refusals=(*_ASKED, RunNotFound, RunUnderWay),
    ),
    Operation(
        "POST",
        "/admin/v1/runs/{id}/retry",
        _BOOKS,
        "Try a run again",
        Door.ADMIN,
        answers_json(shapes.RunShape),
        description="A run that was paid and whose pictures were lost: upstream is asked for fresh "
        "links, and what comes is kept. Nothing is ordered, held or paid again. A run that waits "
        "for a route is tried at once.",
        query=NoParameters,
        path_words={"id": "Of a run, or of a task."},
        refusals=(*_ASKED, NotFound, RunNotRetriable),
    ),
    Operation(
        "GET",
        "/admin/v1/refusals",
        _BOOKS,
        "Refused orders, newest first",
        Door.ADMIN,
        answers_json(shapes.RefusalsShape),
        query=refusals.RefusalsAsked,
        refusals=_ASKED,
    ),
    Operation(
        "GET",
        "/admin/v1/audit",
        _BOOKS,
        "Who changed what",
        Door.ADMIN,
        answers_json(shapes.ChangesShape),
        query=changes.FindChanges,
        refusals=_ASKED,
    ),
    Operation(
        "GET",
        "/admin/v1/pictures",
        _STORES,
        "Pictures, newest first",
        Door.ADMIN,
        answers_json(shapes.PicturesShape),
        query=pictures.FindPictures,
        refusals=_ASKED,
    ),
    Operation(
        "GET",
        "/admin/v1/pictures/unproven",
        _STORES,
        "Paid bytes that are no picture, newest first",
        Door.ADMIN,
        answers_json(shapes.UnprovenShape),
        query=unproven.FindUnproven,
        refusals=_ASKED,
    ),
    Operation(
        "GET",
        "/admin/v1/pictures/unproven/{name}",
        _STORES,
        "Such bytes, as they came",
        Door.ADMIN,
        {unproven.BYTES: None},
        query=NoParameters,
        path_words={"name": "Its `name` in the list."},
        refusals=(*_ASKED, NotFound),
    ),
    Operation(
        "DELETE",
        "/admin/v1/pictures/{digest}",
        _STORES,
        "Erase a picture",
        Door.ADMIN,
        answers_json(shapes.PictureShape),
        description="Its bytes, its provenance, its prompt and its place in the cache are gone "
        "for good; what was paid stays in the books.",
        query=NoParameters,
        path_words={"digest": "The SHA-256 that names it."},
        refusals=(*_ASKED, PictureNotFound),
    ),
    Operation(
        "GET",
        "/admin/v1/cache",
        _STORES,
        "The response cache",
        Door.ADMIN,
        answers_json(shapes.CacheShape),
        query=NoParameters,
        refusals=_ASKED,
    ),
    Operation(
        "POST",
        "/admin/v1/cache/purge",
        _STORES,
        "Purge the cache",
        Door.ADMIN,
        answers_json(shapes.PurgedShape),
        description="From now on nobody is answered from what is finished. Pictures stay.",
        query=NoParameters,
        body=takes_json(cache.PurgeCache, required=False),
        refusals=_CHANGED,
    ),
    Operation(
        "GET",
        "/admin/v1/callbacks",
        _STORES,
        "Callbacks and alerts, newest first",
        Door.ADMIN,
        answers_json(shapes.CallbacksShape),
        query=callbacks.FindCallbacks,
        refusals=_ASKED,
    ),
    Operation(
        "POST",
        "/admin/v1/callbacks/{id}/redeliver",
        _STORES,
        "Deliver one again",
        Door.ADMIN,
        answers_json(shapes.CallbackShape),
        query=NoParameters,
        path_words={"id": "Its `webhook-id`."},
        refusals=(*_ASKED, callbacks.CallbackNotFound),
    ),
    Operation(
        "GET",
        "/admin/v1/settings",
        _HOUSE,
        "The settings in force, secrets masked",
        Door.ADMIN,
        answers_json(shapes.SettingsShape),
        query=NoParameters,
        refusals=_ASKED,
    ),
    Operation(
        "POST",
        "/admin/v1/settings/reload",
        _HOUSE,
        "Read the settings file again",
        Door.ADMIN,
        answers_json(shapes.ReloadedShape),
        description="All or nothing: a file with a problem changes nothing, and each is told.",
        query=NoParameters,
        refusals=(*_CHANGED, settings.InvalidSettings, settings.NoSettingsFile),
    ),
    Operation(
        "GET",
        "/admin/v1/health",
        _HOUSE,
        "How the gateway is",
        Door.ADMIN,
        answers_json(shapes.HealthShape),
        query=NoParameters,
        refusals=_ASKED,
    ),
    Operation(
        "GET",
        "/admin/v1/summary",
        _HOUSE,
        "The numbers at a glance",
        Door.ADMIN,
        answers_json(shapes.OverviewShape),
        query=NoParameters,
        refusals=_ASKED,
    ),
    Operation(
        "GET",
        "/team/v1/summary",
        _OWN,
        "How the team stands",
        Door.TEAM,
        answers_json(shapes.TeamSummaryShape),
        query=NoParameters,
        refusals=_ASKED,
    ),
    Operation(
        "GET",
        "/team/v1/usage",
        _OWN,
        "The team's usage",
        Door.TEAM,
        _USAGE,
        query=OwnUsageAsked,
        refusals=_ASKED,
    ),
    Operation(
        "GET",
        "/team/v1/pictures",
        _OWN,
        "The team's pictures, newest first",
        Door.TEAM,
        answers_json(shapes.PicturesShape),
        query=gallery.FindOwnPictures,
        refusals=_ASKED,
    ),
)
