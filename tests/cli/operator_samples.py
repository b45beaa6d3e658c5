"""Answers of the admin API, typed as the shapes that the gateway answers with."""

from __future__ import annotations

from gateway.web.admin.callbacks import CallbackShape
from gateway.web.admin.changes import ChangeShape
from gateway.web.admin.keys import IssuedShape, KeyShape, RotatedShape
from gateway.web.admin.refusals import RefusalShape
from gateway.web.admin.run_shapes import ExplanationShape, RunShape
from gateway.web.admin.teams import TeamShape
from gateway.web.shown import PictureShape
from gateway.web.usage_reports import CountersShape, UsageRowShape, UsageShape

DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
RUN_ID = "run_0123456789abcdef0123456789abcdef"
TASK_ID = "task-unified-1767225600-a1b2c3d4"

TEAM: TeamShape = {
    "name": "marketing",
    "provisioned": False,
    "description": "Pictures for the website",
    "settings": {
        "budgets": [{"usd": 50, "per": "day"}],
        "limits": {"images": [{"count": 200, "per": "day"}], "concurrent_runs": 20},
        "allow": {"models": ["gpt-image-1.5"], "qualities": ["low", "medium"], "max_n": 4},
        "defaults": {"quality": "low", "n": 2},
        "cache": {},
        "mode": "enforce",
        "references": "trust",
    },
    "standing": [
        {
            "rule": "usd_per_day",
            "measure": "usd",
            "window": "day",
            "limit": 50,
            "spent": 40.06,
            "held": 1.012,
            "left": 8.928,
            "resets_at": "2026-01-03T00:00:00Z",
        },
        {
            "rule": "images_per_day",
            "measure": "images",
            "window": "day",
            "limit": 200,
            "spent": 12,
            "held": 1,
            "left": 187,
            "resets_at": "2026-01-03T00:00:00Z",
        },
        {
            "rule": "concurrent_runs",
            "measure": "live",
            "window": "now",
            "limit": 20,
            "spent": 0,
            "held": 1,
            "left": 19,
            "resets_at": None,
        },
    ],
    "keys": 2,
    "spent_usd": 1234.5,
    "spent_month_usd": 40.06,
    "created_at": "2026-01-01T09:30:00.250Z",
    "changed_at": "2026-01-02T10:00:00Z",
}

PROVISIONED: TeamShape = {
    "name": "green",
    "provisioned": True,
    "description": None,
    "settings": {"budgets": [], "mode": "shadow", "references": "fetch"},
    "standing": [],
    "keys": 1,
    "spent_usd": 0,
    "spent_month_usd": 0,
    "created_at": None,
    "changed_at": None,
}

KEY: KeyShape = {
    "id": "3f9a0c1b",
    "team": "marketing",
    "label": "website",
    "provisioned": False,
    "state": "active",
    "created_at": "2026-01-01T09:30:00Z",
    "expires_at": None,
    "revoked_at": None,
    "replaces": None,
}
OLD_KEY: KeyShape = {**KEY, "state": "expiring", "expires_at": "2026-01-03T09:30:00Z"}
ISSUED: IssuedShape = {**KEY, "key": "igw_3f9a0c1b_secretsecret"}
ROTATED: RotatedShape = {
    **KEY,
    "id": "77aa00bb",
    "replaces": "3f9a0c1b",
    "key": "igw_77aa00bb_othersecret",
    "replaced": OLD_KEY,
}

COUNTERS: CountersShape = {
    "hits": 12,
    "joined": 3,
    "started": 1005,
    "failed": 1,
    "images_generated": 1004,
    "images_cache": 15,
    "spent_usd": 60.24,
    "saved_usd": 0.9,
    "saved_hit_usd": 0.72,
    "saved_joined_usd": 0.18,
    "bypassed": 1,
    "bypassed_usd": 0.06,
    "done": 1004,
    "failed_usd": 0,
}


def usage_row(day: str, team: str, spent_usd: float) -> UsageRowShape:
    row: UsageRowShape = {**COUNTERS, "day": day, "team": team, "model": "gpt-image-1.5"}
    row["spent_usd"] = spent_usd
    return row


USAGE: UsageShape = {
    "from": "2026-01-01",
    "to": "2026-01-02",
    "timezone": "Europe/Paris",
    "by": ["day", "team", "model"],
    "data": [
        usage_row("2026-01-02", "marketing", 60.228),
        usage_row("2026-01-01", "green", 0.012),
    ],
    "totals": COUNTERS,
}

RUN: RunShape = {
    "id": RUN_ID,
    "team": "marketing",
    "model": "gpt-image-1.5",
    "quality": "low",
    "n": 1,
    "state": "done",
    "route": "evolink/gpt-image-1.5",
    "prompt": "a red bicycle in front of a blue house, in the morning light of a rainy day",
    "created_at": "2026-01-02T12:00:00.500Z",
    "finished_at": "2026-01-02T12:00:04.200Z",
    "seconds": 3.7,
    "price_usd": 0.012,
    "held_usd": 0,
    "spent_usd": 0.012,
    "joins": 1,
    "attempts": 2,
    "failure": None,
}

PICTURE: PictureShape = {
    "digest": DIGEST,
    "url": f"http://127.0.0.1:8080/pictures/{DIGEST}.png",
    "team": "marketing",
    "model": "gpt-image-1.5",
    "prompt": "a red bicycle",
    "run": RUN_ID,
    "task": TASK_ID,
    "size_bytes": 1_234_567,
    "width": 1024,
    "height": 1024,
    "created_at": "2026-01-02T12:00:04.200Z",
    "erased_at": None,
}

REFUSAL: RefusalShape = {
    "id": "ref_0123456789abcdef01234567",
    "request_id": "req_0123456789abcdef01234567",
    "at": "2026-01-02T12:01:00.125Z",
    "team": "marketing",
    "model": "gpt-image-1.5",
    "verdict": "denied",
    "mode": "enforce",
    "reason": "budget",
    "rule": "usd_per_day",
    "message": "The team's budget of $50 per day is exhausted.",
    "param": None,
    "task": None,
    "asked": {
        "size": "1:1",
        "n": 3,
        "price_usd": 0.18,
        "prompt": "a fox\x1b[31m",
        "key": "3f9a0c1b",
        "key_label": "website",
    },
}

EXPLANATION: ExplanationShape = {
    "kind": "run",
    "summary": (
        "The order started a run, since no identical one was done or running. The cheapest route"
        " refused it with 503, so it went on to evolink/gpt-image-1.5, and was done after 3.7 s."
    ),
    "run": {
        "id": RUN_ID,
        "team": "marketing",
        "model": "gpt-image-1.5",
        "quality": "low",
        "size": "1:1",
        "n": 1,
        "state": "done",
        "route": "evolink/gpt-image-1.5",
        "prompt": "a red bicycle",
        "request": {"model": "gpt-image-1.5", "prompt": "a red bicycle"},
        "created_at": "2026-01-02T12:00:00.500Z",
        "accepted_at": "2026-01-02T12:00:00.540Z",
        "upstream_finished_at": "2026-01-02T12:00:04.100Z",
        "finished_at": "2026-01-02T12:00:04.200Z",
        "deadline_at": "2026-01-02T12:15:00.500Z",
        "seconds": 3.7,
        "price_usd": 0.02,
        "held_usd": 0,
        "spent_usd": 0.012,
        "joins": 1,
        "attempts": 2,
        "tried": ["spare/gpt-image-1.5"],
        "upstream_task_id": "task-unified-1767225600-00000000",
        "credits_used": 0.8,
        "shared": True,
        "failure": None,
    },
    "timings": {
        "waiting_seconds": 0.04,
        "upstream_seconds": 3.56,
        "keeping_seconds": 0.1,
        "total_seconds": 3.7,
    },
    "steps": [
        {
            "at": "2026-01-02T12:00:00.500Z",
            "event": "Admitted",
            "before": "",
            "after": "submitting",
            "route": "spare/gpt-image-1.5",
            "detail": "$0.02 held",
        },
        {
            "at": "2026-01-02T12:00:00.520Z",
            "event": "NotNow",
            "before": "submitting",
            "after": "submitting",
            "route": "evolink/gpt-image-1.5",
            "detail": "503",
        },
        {
            "at": "2026-01-02T12:00:04.200Z",
            "event": "PicturesKept",
            "before": "keeping",
            "after": "done",
            "route": "evolink/gpt-image-1.5",
            "detail": "1 picture",
        },
    ],
    "routes": [],
    "tasks": [
        {
            "id": TASK_ID,
            "team": "marketing",
            "verdict": "started",
            "created_at": "2026-01-02T12:00:00.500Z",
        }
    ],
    "tasks_total": 2,
    "pictures": [PICTURE],
    "set_aside": [],
    "refusal": None,
    "others": [],
}

REFUSED: ExplanationShape = {
    "kind": "refusal",
    "summary": "The order was denied: the team's budget of $50 per day is exhausted.",
    "run": None,
    "timings": None,
    "steps": [],
    "routes": [],
    "tasks": [],
    "tasks_total": 0,
    "pictures": [],
    "set_aside": [],
    "refusal": REFUSAL,
    "others": [],
}

CHANGE: ChangeShape = {
    "id": "chg_1",
    "at": "2026-01-02T10:00:00Z",
    "actor": "0123456789ab",
    "action": "team.change",
    "subject": "marketing",
    "before": {"mode": "enforce", "budgets": [{"usd": 50, "per": "day"}]},
    "after": {"mode": "shadow", "budgets": [{"usd": 50, "per": "day"}]},
}

CALLBACK: CallbackShape = {
    "id": f"msg_{TASK_ID}",
    "kind": "callback",
    "task": TASK_ID,
    "team": "marketing",
    "host": "hooks.example.com",
    "state": "failed",
    "attempts": 4,
    "status": 500,
    "error": None,
    "created_at": "2026-01-02T12:00:04.200Z",
    "due_at": "2026-01-02T12:00:11.200Z",
    "ended_at": "2026-01-02T12:00:12Z",
}
