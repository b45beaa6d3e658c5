"""What is deleted when it is old, in SQL: some rows at a time, the oldest first."""

from __future__ import annotations

from typing import Final

from gateway.adapters.ledger.statements import ENDED, PENDING

PRUNE_JOBS: Final = (
    "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs"
    " WHERE created_at < ? AND run_state IN ('done', 'failed') AND NOT EXISTS ("
    f"SELECT 1 FROM deliveries WHERE deliveries.job_id = jobs.id AND deliveries.{PENDING})"
    " ORDER BY created_at, id LIMIT ?)"
)
PRUNE_CLAIMS: Final = (
    "DELETE FROM claims WHERE (team, key) IN (SELECT team, key FROM claims"
    " WHERE created_at < ? ORDER BY created_at, team, key LIMIT ?)"
)
PRUNE_UPLOADS: Final = (
    "DELETE FROM uploads WHERE (team, id) IN (SELECT team, id FROM uploads"
    " WHERE expires_at < ? ORDER BY expires_at, team, id LIMIT ?)"
)
PRUNE_ACCOUNTS: Final = (
    "DELETE FROM accounts WHERE (team, window_name, window_start, window_end) IN ("
    "SELECT team, window_name, window_start, window_end FROM accounts"
    " WHERE window_name IN ('minute', 'hour') AND window_start < ?"
    " AND held_usd_micros = 0 AND held_images = 0 AND held_runs = 0"
    " ORDER BY window_start, team, window_name, window_end LIMIT ?)"
)
PRUNE_REFUSALS: Final = (
    "DELETE FROM refusals WHERE id IN (SELECT id FROM refusals"
    " WHERE at < ? ORDER BY at, id LIMIT ?)"
)
PRUNE_ALERTS: Final = (
    "DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries"
    f" WHERE job_id IS NULL AND {ENDED} AND created_at < ?"
    " ORDER BY created_at, id LIMIT ?)"
)
