-- Since when whoever orders a run is answered with a task; whether its client passed the cache by,
-- and what that cost; which run gave its place to a newer one; refusals under ids of our own.

ALTER TABLE runs ADD COLUMN told_at DOUBLE PRECISION;
ALTER TABLE runs ADD COLUMN bypassed BIGINT NOT NULL DEFAULT 0 CHECK (bypassed IN (0, 1));
ALTER TABLE runs ADD COLUMN superseded BIGINT NOT NULL DEFAULT 0 CHECK (superseded IN (0, 1));

-- Of runs that failed before upstream took them nobody knows any more whether they had waited:
-- those stay as they were told then.
UPDATE runs SET told_at = COALESCE(accepted_at, created_at)
WHERE accepted_at IS NOT NULL OR state IN ('queued', 'running', 'keeping', 'done')
    OR (state IN ('submitting', 'unsure') AND (tries > 0 OR tried <> '[]'));

CREATE INDEX runs_newest_lost ON runs (fingerprint, finished_at)
    WHERE shared = 1 AND state = 'failed' AND spent_images > 0;
CREATE INDEX runs_superseded ON runs (fingerprint, created_at)
    WHERE superseded = 1 AND state NOT IN ('done', 'failed');

ALTER TABLE usage ADD COLUMN bypassed BIGINT NOT NULL DEFAULT 0 CHECK (bypassed >= 0);
ALTER TABLE usage ADD COLUMN spent_bypassed_usd_micros BIGINT NOT NULL DEFAULT 0
    CHECK (spent_bypassed_usd_micros >= 0);
ALTER TABLE usage_totals ADD COLUMN bypassed BIGINT NOT NULL DEFAULT 0 CHECK (bypassed >= 0);
ALTER TABLE usage_totals ADD COLUMN spent_bypassed_usd_micros BIGINT NOT NULL DEFAULT 0
    CHECK (spent_bypassed_usd_micros >= 0);

-- What the request was called, by its client or by us, is no key: many may be called alike.
ALTER TABLE refusals ADD COLUMN request_id TEXT NOT NULL DEFAULT '';
UPDATE refusals SET request_id = id;
CREATE INDEX refusals_of_request ON refusals (request_id, team, at, id);
