"""The ledger's invariants as SQL: each check selects the rows that break it.

Nothing here is needed for the gateway to run: constraints and `transact` keep the ledger right,
and this proves that they did. A check's rows become violations of the invariant that it names,
each a sentence with the numbers in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

from gateway.adapters.ledger import audit_records, audit_spending, sentences
from gateway.adapters.ledger.checks import MAX_SENTENCES, Check
from gateway.adapters.ledger.database import Database
from gateway.adapters.ledger.json_words import JsonWords, PostgresJson, SqliteJson
from gateway.adapters.ledger.listing import VERDICT_BITS
from gateway.adapters.ledger.rows import USAGE_COUNTERS
from gateway.adapters.ledger.statements import LIVE, PENDING, SHOWN_STATE
from gateway.core.kinds import LINK_LIFE_SECONDS
from gateway.core.links import SPOOL
from gateway.core.money.accounts import LONGEST_SECONDS, Window
from gateway.core.money.invariants import Invariant, Violation

GRACE_SECONDS: Final = 3600.0
"""A live run this far beyond its deadline is not late but forgotten."""

STUCK_SECONDS: Final = 24 * 3600.0
"""A callback this long overdue is not slow: nobody makes it any more."""


def violations(db: Database, now: float, of_the_store: Sequence[Check]) -> Iterator[Violation]:
    """All of them, in the order of the checks; at the end those that one kind of store needs.

    Reads every run several times: about 40 µs for each run. Not for every scrape.
    """
    for check in (*checks(now), *of_the_store):
        broken = db.execute(check.sql, check.parameters).fetchmany(MAX_SENTENCES)
        told = sorted(filter(None, (check.say(*map(_plain, row)) for row in broken)))
        yield from (Violation(check.invariant, sentence) for sentence in told)


def _plain(value: object) -> object:
    """PostgreSQL's sums of whole numbers are decimals."""
    return int(value) if isinstance(value, Decimal) else value


def checks(now: float) -> Iterator[Check]:
    """Those in plain SQL."""
    yield Check(Invariant.ACCOUNTS, _ACCOUNTS, sentences.say_account)
    for window in Window:
        yield Check(Invariant.ACCOUNTS, _uncounted_sql(window), sentences.say_account)
    yield Check(Invariant.FINAL_HOLDS, _FINAL_HOLDS, sentences.say_final_holds)
    yield Check(Invariant.IN_TIME, _LATE, sentences.say_late, (now - GRACE_SECONDS,))
    yield Check(Invariant.IN_TIME, _ASLEEP, sentences.say_asleep, (now, now, now + GRACE_SECONDS))
    yield Check(Invariant.USAGE, _USAGE, sentences.say_usage)
    yield Check(Invariant.USAGE, _BYPASSES, sentences.say_bypasses)
    yield Check(Invariant.USAGE, _ENDS, sentences.say_ends)
    yield Check(Invariant.ALL_KEPT, _UNKEPT, sentences.say_unkept)
    yield Check(Invariant.PAID_ONCE, _SHARED_TASK, sentences.say_shared_task)
    yield Check(Invariant.ONE_LIVE, _TWO_LIVE, sentences.say_two_live)
    yield Check(Invariant.JOBS, _ORPHANS, sentences.say_orphan)
    yield Check(Invariant.OWED, _UNCALLED, sentences.say_uncalled)
    yield Check(Invariant.CALLED, _STUCK, sentences.say_stuck, (now - STUCK_SECONDS,))
    yield Check(Invariant.TOTALS, _TOTALS, sentences.say_total)
    yield Check(Invariant.LISTED, _MISLISTED, sentences.say_mislisted)
    yield Check(Invariant.SHOWN, _UNSHOWN, sentences.say_unshown)
    yield Check(Invariant.STEPS, _GAPS, sentences.say_gap)
    yield Check(Invariant.KEYS, _STRAY_KEYS, sentences.say_stray_key, (now, now))
    yield from audit_spending.CHECKS
    yield from audit_records.CHECKS


# --- the checks in plain SQL ---------------------------------------------------------------------

_MEASURES: Final = ("usd_micros", "images", "runs")


def _sums(table: str, prefixes: tuple[str, str]) -> str:
    names = (f"{table}.{prefix}_{name}" for prefix in prefixes for name in _MEASURES)
    return ", ".join(f"COALESCE(SUM({name}), 0)" for name in names)


_AMOUNTS: Final = tuple(f"{prefix}_{name}" for prefix in ("held", "spent") for name in _MEASURES)
_OF_ACCOUNT: Final = "accounts.team, accounts.window_name, accounts.window_start"
_DIFFER: Final = " OR ".join(
    f"accounts.{name} <> COALESCE(SUM(runs.{name.replace('held', 'hold')}), 0)" for name in _AMOUNTS
)

# An account has what the runs of its time have, in whatever windows they were ordered.
_ACCOUNTS: Final = (
    f"SELECT {_OF_ACCOUNT}, {', '.join(f'accounts.{name}' for name in _AMOUNTS)},"
    f" {_sums('runs', ('hold', 'spent'))}"
    " FROM accounts LEFT JOIN runs ON runs.team = accounts.team"
    " AND runs.created_at >= accounts.window_start AND runs.created_at < accounts.window_end"
    f" GROUP BY {_OF_ACCOUNT}, accounts.window_end,"
    f" {', '.join(f'accounts.{name}' for name in _AMOUNTS)} HAVING {_DIFFER}"
)


def _uncounted_sql(window: Window) -> str:
    """Runs of whose time there is no account of this window.

    It would be made again as soon as it is asked for, and is missing all the same: only those of
    minutes and hours are ever deleted, once they hold nothing.
    """
    start = "0 * COUNT(*)" if window is Window.TOTAL else f"{window.value}_start"
    group = "team" if window is Window.TOTAL else f"team, {start}"
    counts = " OR ".join(
        f"{prefix}_{name} > 0" for prefix in ("hold", "spent") for name in _MEASURES
    )
    live = f" AND {LIVE}" if window in {Window.MINUTE, Window.HOUR} else ""
    return (
        f"SELECT team, '{window.value}', {start}, 0, 0, 0, 0, 0, 0,"
        f" {_sums('runs', ('hold', 'spent'))} FROM runs"
        f" WHERE ({counts}){live} AND NOT EXISTS (SELECT 1 FROM accounts"
        f" WHERE accounts.team = runs.team AND accounts.window_name = '{window.value}'"
        f" AND accounts.window_start > runs.created_at - {LONGEST_SECONDS[window]}"
        " AND accounts.window_start <= runs.created_at"
        " AND accounts.window_end > runs.created_at)"
        f" GROUP BY {group}"
    )


_FINAL_HOLDS: Final = (
    "SELECT id, state, hold_usd_micros, hold_images, hold_runs FROM runs"
    f" WHERE NOT ({LIVE}) AND (hold_usd_micros <> 0 OR hold_images <> 0 OR hold_runs <> 0)"
)

# An accepted run may be watched and kept for as long as its links live. What is kept from a spool
# lies here already, and has all the time it needs.
_LINKS_DEAD: Final = (
    "CASE state"
    f" WHEN 'running' THEN COALESCE(accepted_at, created_at) + {LINK_LIFE_SECONDS}"
    f" WHEN 'keeping' THEN COALESCE(upstream_finished_at, created_at) + {LINK_LIFE_SECONDS}"
    " ELSE deadline_at END"
)
_IS_HERE: Final = f"CASE WHEN state = 'keeping' AND links LIKE '%\"{SPOOL}%' THEN 1 ELSE 0 END"

_ENDING: Final = (
    "(SELECT id, state, due_at, lease_until, is_here,"
    " CASE WHEN links_dead > deadline_at THEN links_dead ELSE deadline_at END AS ends_at"
    f" FROM (SELECT id, state, due_at, lease_until, deadline_at, {_LINKS_DEAD} AS links_dead,"
    f" {_IS_HERE} AS is_here FROM runs WHERE {LIVE}) AS live) AS ending"
)

_LATE: Final = f"SELECT id, state, ends_at FROM {_ENDING} WHERE ends_at < ? AND is_here = 0"

# Nobody looks after a run before it is due, or while somebody has it: both end by the time that
# the run must, or soon.
_ASLEEP: Final = (
    "SELECT id, state, due_at, lease_until FROM"
    f" {_ENDING} WHERE due_at > CASE WHEN ends_at > ? THEN ends_at ELSE ? END + {GRACE_SECONDS}"
    f" OR lease_until > ?"
)

_USAGE: Final = (
    "SELECT team, model, day, SUM(started), SUM(failed), SUM(images), SUM(spent),"
    " SUM(runs_started), SUM(runs_failed), SUM(runs_images), SUM(runs_spent) FROM ("
    "SELECT team, model, day, started, failed, images_generated AS images,"
    " spent_usd_micros AS spent,"
    " 0 AS runs_started, 0 AS runs_failed, 0 AS runs_images, 0 AS runs_spent FROM usage"
    " UNION ALL SELECT team, model, day_start, 0, 0, 0, 0,"
    " 1, CASE WHEN state = 'failed' THEN 1 ELSE 0 END,"
    " CASE WHEN state = 'done' THEN kept_count ELSE 0 END, spent_usd_micros FROM runs"
    ") AS entries GROUP BY team, model, day"
    " HAVING SUM(started) <> SUM(runs_started) OR SUM(failed) <> SUM(runs_failed)"
    " OR SUM(images) <> SUM(runs_images) OR SUM(spent) <> SUM(runs_spent)"
)

_BYPASSES: Final = (
    "SELECT team, model, day, SUM(bypassed), SUM(spent), SUM(runs_bypassed), SUM(runs_spent)"
    " FROM (SELECT team, model, day, bypassed, spent_bypassed_usd_micros AS spent,"
    " 0 AS runs_bypassed, 0 AS runs_spent FROM usage"
    " UNION ALL SELECT team, model, day_start, 0, 0, 1, spent_usd_micros FROM runs"
    " WHERE bypassed = 1) AS entries GROUP BY team, model, day"
    " HAVING SUM(bypassed) <> SUM(runs_bypassed) OR SUM(spent) <> SUM(runs_spent)"
)

_ENDS: Final = (
    "SELECT team, model, day, SUM(done), SUM(lost), SUM(runs_done), SUM(runs_lost)"
    " FROM (SELECT team, model, day, done, spent_failed_usd_micros AS lost,"
    " 0 AS runs_done, 0 AS runs_lost FROM usage"
    " UNION ALL SELECT team, model, day_start, 0, 0, CASE WHEN state = 'done' THEN 1 ELSE 0 END,"
    " CASE WHEN state = 'failed' THEN spent_usd_micros ELSE 0 END FROM runs"
    " WHERE state IN ('done', 'failed')) AS entries GROUP BY team, model, day"
    " HAVING SUM(done) <> SUM(runs_done) OR SUM(lost) <> SUM(runs_lost)"
)

_UNKEPT: Final = (
    "SELECT id, kept_count, link_count FROM runs WHERE state = 'done' AND kept_count < link_count"
)

_SHARED_TASK: Final = (
    "SELECT upstream, upstream_task_id, COUNT(*) FROM runs WHERE upstream_task_id IS NOT NULL"
    " GROUP BY upstream, upstream_task_id HAVING COUNT(*) > 1"
)

_TWO_LIVE: Final = (
    f"SELECT fingerprint, COUNT(*) FROM runs WHERE shared = 1 AND {LIVE}"
    f" GROUP BY fingerprint HAVING COUNT(*) > 1"
)

_ORPHANS: Final = (
    "SELECT jobs.id, jobs.run_id FROM jobs LEFT JOIN runs ON runs.id = jobs.run_id"
    " WHERE runs.id IS NULL"
)

_BITS: Final = " ".join(f"WHEN '{verdict}' THEN {bit}" for verdict, bit in VERDICT_BITS.items())

# A job that was told no task id, because its submit was refused, is called back by no one: this
# is `Reply.TASK` of `core/runs/answered.py`, of a run that has ended.
_UNCALLED: Final = (
    "SELECT jobs.id, runs.id, runs.state FROM jobs JOIN runs ON runs.id = jobs.run_id"
    " WHERE jobs.callback_url IS NOT NULL"
    " AND (runs.state = 'done' OR (runs.state = 'failed' AND runs.told_at IS NOT NULL))"
    " AND NOT EXISTS (SELECT 1 FROM deliveries WHERE deliveries.job_id = jobs.id)"
)

_STUCK: Final = f"SELECT id, job_id, due_at FROM deliveries WHERE {PENDING} AND due_at < ?"

_UNSHOWN: Final = (
    "SELECT jobs.id, jobs.verdict, jobs.run_id FROM jobs JOIN runs ON runs.id = jobs.run_id"
    f" WHERE (runs.verdicts & CASE jobs.verdict {_BITS} ELSE 0 END) = 0 OR NOT EXISTS ("
    "SELECT 1 FROM gallery WHERE gallery.team = jobs.team AND gallery.run_id = jobs.run_id)"
)

_GAPS: Final = (
    "SELECT run_id, MIN(number), MAX(number), COUNT(*) FROM steps GROUP BY run_id"
    " HAVING MIN(number) <> 1 OR MAX(number) <> COUNT(*)"
)

_STRAY_KEYS: Final = (
    "SELECT team_keys.id, team_keys.team FROM team_keys"
    " LEFT JOIN teams ON teams.name = team_keys.team"
    " WHERE (teams.name IS NULL OR teams.deleted_at IS NOT NULL)"
    " AND (team_keys.expires_at IS NULL OR team_keys.expires_at > ?)"
    " AND (team_keys.revoked_at IS NULL OR team_keys.revoked_at > ?)"
)

# --- what is kept twice, to be read quickly ------------------------------------------------------


_TOTALS: Final = (
    f"SELECT team, model, {', '.join(f'SUM({name})' for name in USAGE_COUNTERS)},"
    f" {', '.join(f'SUM(days_{name})' for name in USAGE_COUNTERS)} FROM ("
    f"SELECT team, model, {', '.join(USAGE_COUNTERS)},"
    f" {', '.join(f'0 AS days_{name}' for name in USAGE_COUNTERS)} FROM usage_totals"
    f" UNION ALL SELECT team, model, {', '.join('0' * len(USAGE_COUNTERS))},"
    f" {', '.join(USAGE_COUNTERS)} FROM usage) AS entries GROUP BY team, model"
    f" HAVING {' OR '.join(f'SUM({name}) <> SUM(days_{name})' for name in USAGE_COUNTERS)}"
)

_MISLISTED: Final = (
    "SELECT jobs.id, jobs.run_state || ' of ' || jobs.run_model, shown.id,"
    " shown.state || ' of ' || shown.model"
    f" FROM jobs JOIN (SELECT id, model, {SHOWN_STATE} AS state FROM runs) AS shown"
    " ON shown.id = jobs.run_id"
    " WHERE jobs.run_state <> shown.state OR jobs.run_model <> shown.model"
)

# --- the checks that look into JSON, and a store's own word on itself -----------------------------


def json_checks(say: JsonWords) -> Iterator[Check]:
    """Those of JSON in columns, in the words of one kind of store."""
    yield Check(
        Invariant.COUNTS,
        "SELECT id, kept_count, link_count FROM runs WHERE CASE"
        f" WHEN {say.kind('kept')} = 'array' AND {say.kind('links')} = 'array'"
        f" THEN kept_count <> {say.length('kept')} OR link_count <> {say.length('links')}"
        " ELSE 1 = 1 END",
        sentences.say_wrong_count,
    )
    digest = say.field("one.value", "digest")
    yield Check(
        Invariant.ON_RECORD,
        f"SELECT runs.id, {digest} AS digest FROM runs, {say.members('runs.kept')}"
        " WHERE runs.state = 'done' AND NOT EXISTS (SELECT 1 FROM pictures"
        f" WHERE pictures.run_id = runs.id AND pictures.digest = {digest})",
        sentences.say_missing_picture,
    )
    yield from audit_spending.json_checks(say)
    yield from audit_records.json_checks(say)


def _dangling(table: str, key: str, columns: tuple[str, ...], parent: str) -> Check:
    """What SQLite's `foreign_key_check` says, for a server where somebody switched it off."""
    keys = _PARENTS[parent]
    row = " || '/' || ".join(f"child.{name}" for name in key.split())
    on = " AND ".join(
        f"parent.{of_parent} = child.{name}" for name, of_parent in zip(columns, keys, strict=True)
    )
    return Check(
        Invariant.REFERENCES,
        f"SELECT '{table}', {row}, '{parent}', 0 FROM {table} AS child"
        f" LEFT JOIN {parent} AS parent ON {on}"
        f" WHERE child.{columns[0]} IS NOT NULL AND parent.{keys[0]} IS NULL",
        sentences.say_dangling,
    )


_PARENTS: Final = {"runs": ("id",), "jobs": ("id",), "teams": ("name",), "uploads": ("team", "id")}

REFERENCES: Final = (
    ("jobs", "id", ("run_id",), "runs"),
    ("steps", "run_id number", ("run_id",), "runs"),
    ("gallery", "team run_id", ("run_id",), "runs"),
    ("pictures", "id", ("run_id",), "runs"),
    ("team_keys", "id", ("team",), "teams"),
    ("deliveries", "id", ("job_id",), "jobs"),
    ("upload_urls", "team url", ("team", "upload_id"), "uploads"),
)
"""Every foreign key: the table, by what its rows are told, and which columns name whose row."""

SQLITE_CHECKS: Final = (
    *json_checks(SqliteJson()),
    Check(Invariant.REFERENCES, "PRAGMA foreign_key_check", sentences.say_dangling),
    Check(Invariant.FILE, f"PRAGMA quick_check({MAX_SENTENCES})", sentences.say_file),
)

POSTGRES_CHECKS: Final = (
    *json_checks(PostgresJson()),
    *(_dangling(*reference) for reference in REFERENCES),
)
"""Its files are the server's own, which looks after them itself."""
