"""A ledger in PostgreSQL of some size, made by the server itself within seconds.

Forty teams have ordered in turn, one run every ten minutes of each; the last ones are live.
"""

from __future__ import annotations

from typing import LiteralString, cast

import psycopg

RUNS = 20_000
LIVE = 300
TEAMS = 40
START = 1_700_000_000
NOW = START + RUNS * 15

_RUNS = """
INSERT INTO runs (id, fingerprint, team, model, quality, n, request, upstream, upstream_model,
    price_usd_micros, minute_start, hour_start, day_start, week_start, month_start,
    hold_usd_micros, hold_images, hold_runs, spent_usd_micros, spent_images, spent_runs,
    created_at, deadline_at, due_at, state, shared, joins, attempts, tries, upstream_task_id,
    accepted_at, upstream_finished_at, finished_at, task, links, kept, credits_used,
    lease_until, link_count, kept_count, verdicts, told_at, failure)
SELECT 'run-' || i, 'f' || (i / 2), 'team-' || i % {teams}, 'model-' || i % 3, 'low', 1,
    '{{"prompt":"' || repeat('a red bicycle ', 20) || i || '"}}', 'evolink', 'up-' || i % 3,
    13000, at - at % 60, at - at % 3600, at - at % 86400, at - at % 604800, at - at % 2592000,
    CASE WHEN live THEN 13000 ELSE 0 END, CASE WHEN live THEN 1 ELSE 0 END,
    CASE WHEN live THEN 1 ELSE 0 END,
    CASE WHEN live THEN 0 ELSE 13000 END, CASE WHEN live THEN 0 ELSE 1 END,
    CASE WHEN live THEN 0 ELSE 1 END,
    at, at + 900, at, CASE WHEN live THEN 'running' WHEN i % 17 = 0 THEN 'failed' ELSE 'done' END,
    i % 2, '[]', 1, 1, 'task-' || i, at, CASE WHEN live THEN NULL ELSE at + 60 END,
    CASE WHEN live THEN NULL ELSE at + 61 END, '{{}}', '["u"]',
    '[{{"digest":"d' || i || '","extension":"png","size_bytes":9,"width":1,"height":1,'
    || '"link":"u"}}]',
    0.5, CASE WHEN live AND i % 2 = 0 THEN {now} + 60 ELSE 0 END, 1, 1, 1, at, CASE
    WHEN i % 17 = 0 AND NOT live THEN '{{"kind":"outcome_unknown","code":"c","message":"m"}}' END
FROM (SELECT i, {start} + i * 15 AS at, i > {runs} - {live} AS live
    FROM generate_series(1, {runs}) AS i) AS made
"""
_BESIDE = (
    "INSERT INTO jobs (id, run_id, team, verdict, created_at, callback_url, run_state, run_model)"
    " SELECT 'job-' || i || '-' || hit, 'run-' || i, team, CASE hit WHEN 0 THEN 'started' ELSE"
    " 'hit' END, created_at + hit, CASE WHEN i % 3 = 0 THEN 'https://example.org' END, state,"
    " model FROM (SELECT substr(id, 5)::int AS i, * FROM runs) AS runs,"
    " generate_series(0, 1) AS hit",
    "INSERT INTO steps (run_id, number, at, event, before, after, route, detail)"
    " SELECT id, number, created_at, 'e', '', state, 'r', '' FROM runs,"
    " generate_series(1, 3) AS number",
    "INSERT INTO gallery (team, run_id, job_id, at, noted)"
    " SELECT team, id, 'job-' || substr(id, 5) || '-0', created_at, 5 FROM runs",
    "INSERT INTO pictures (id, digest, extension, size_bytes, width, height, run_id, team, model,"
    " prompt, searched, created_at, again, erased_at) SELECT 'd' || substr(id, 5) || '/' || id,"
    " 'd' || substr(id, 5), 'png', 9, 1, 1, id, team, model, words, words, finished_at, 0,"
    " NULL FROM (SELECT *, repeat('a red bicycle ', 20) || id AS words FROM runs) AS runs"
    " WHERE state = 'done'",
    "INSERT INTO deliveries (id, job_id, team, url, created_at, due_at, state, attempts, ended_at,"
    " lease_until) SELECT 'c-' || id, id, team, callback_url, created_at, created_at,"
    " CASE WHEN run_state = 'done' AND created_at::bigint % 900 < 15 THEN 'pending'"
    " ELSE 'delivered' END,"
    " 1, created_at, 0 FROM jobs WHERE callback_url IS NOT NULL",
    "INSERT INTO claims (team, key, digest, job_id, created_at)"
    " SELECT team, 'key-' || id, 'd', id, created_at FROM jobs WHERE verdict = 'hit'",
    "INSERT INTO refusals (id, at, team, model, verdict, mode, reason, rule, message, request_id)"
    " SELECT 'no-' || id, created_at, team, run_model,"
    " CASE WHEN created_at::bigint % 60 = 0 THEN 'invalid' ELSE 'denied' END, 'enforce',"
    " 'reason-' || created_at::bigint % 7, 'r', 'm', 'req-' || id FROM jobs WHERE verdict = 'hit'",
    "INSERT INTO uploads (id, team, upstream, digest, name, size_bytes, urls, created_at,"
    " expires_at) SELECT 'up-' || id, team, 'evolink', 'd', 'n', 1, '[]', created_at,"
    " created_at + 259200 FROM runs",
    "INSERT INTO upload_urls (team, url, upload_id) SELECT team, 'https://' || id, id FROM uploads",
    "INSERT INTO accounts SELECT team, w, start, start + length, SUM(spent_usd_micros),"
    " SUM(spent_images), SUM(spent_runs), SUM(hold_usd_micros), SUM(hold_images), SUM(hold_runs)"
    " FROM (SELECT *, CASE w WHEN 'minute' THEN minute_start WHEN 'hour' THEN hour_start"
    " WHEN 'day' THEN day_start ELSE 0 END AS start FROM runs, (VALUES ('minute', 60),"
    " ('hour', 3600), ('day', 86400), ('total', 253402300800)) AS windows (w, length)) AS timed"
    " GROUP BY team, w, start, length",
    "INSERT INTO usage (team, model, day, hits, joined, started, failed, images_generated,"
    " images_cache, spent_usd_micros, saved_hit_usd_micros, saved_joined_usd_micros)"
    " SELECT team, model, day_start, 0, 0, COUNT(*), 0, 0, 0, 0, 0, 0 FROM runs"
    " GROUP BY team, model, day_start",
    "INSERT INTO usage_totals (team, model, hits, joined, started, failed, images_generated,"
    " images_cache, spent_usd_micros, saved_hit_usd_micros, saved_joined_usd_micros)"
    " SELECT team, model, 0, 0, SUM(started), 0, 0, 0, 0, 0, 0 FROM usage GROUP BY team, model",
    "INSERT INTO changes (id, at, actor, action, subject)"
    " SELECT 'ch-' || id, created_at, 'a', 'key.issue', team || '/' || id FROM runs"
    " WHERE created_at::bigint % 100 < 15",
    # What is not on the disk yet vacuum does not take for committed long ago: nor what shares the
    # place of its state with it.
    "SET synchronous_commit = on",
    "CHECKPOINT",
    "VACUUM ANALYZE",
)


def fill(url: str) -> None:
    """An empty ledger becomes a large one, whose books are of no interest."""
    sizes = {"runs": RUNS, "live": LIVE, "teams": TEAMS, "start": START, "now": NOW}
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica; SET synchronous_commit = off")
        for statement in (_RUNS.format(**sizes), *_BESIDE):
            connection.execute(cast(LiteralString, statement))
