-- What client programs expect beyond orders and polls: the outbox of callbacks, idempotency keys,
-- uploaded references, a team's own tasks. Two things are kept twice from here on, because they
-- are read often and take long to add up: a run's state and model, beside each of its jobs, and
-- the usage of all days.

ALTER TABLE runs ADD COLUMN tried TEXT NOT NULL DEFAULT '[]';

-- A due run is picked by its team's turn; the index has all that this needs.
DROP INDEX runs_due;
CREATE INDEX runs_due ON runs (due_at, team, id, lease_until, state)
    WHERE state NOT IN ('done', 'failed');

ALTER TABLE jobs ADD COLUMN run_state TEXT NOT NULL DEFAULT 'submitting';
ALTER TABLE jobs ADD COLUMN run_model TEXT NOT NULL DEFAULT '';
UPDATE jobs SET
    run_state = (SELECT state FROM runs WHERE runs.id = jobs.run_id),
    run_model = (SELECT model FROM runs WHERE runs.id = jobs.run_id);

DROP INDEX jobs_of_team;
CREATE INDEX jobs_of_team ON jobs (team, created_at, id, run_state, run_model);
CREATE INDEX jobs_of_live_run ON jobs (run_id)
    WHERE run_state NOT IN ('done', 'failed');
CREATE INDEX jobs_with_callback ON jobs (run_id, created_at, id)
    WHERE callback_url IS NOT NULL;

CREATE TABLE claims (
    team TEXT NOT NULL,
    key TEXT NOT NULL,
    digest TEXT NOT NULL,
    job_id TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (team, key)
);

CREATE INDEX claims_oldest ON claims (created_at);

CREATE TABLE deliveries (
    id TEXT PRIMARY KEY,
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    team TEXT NOT NULL,
    url TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    due_at DOUBLE PRECISION NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'failed')),
    attempts BIGINT NOT NULL CHECK (attempts >= 0),
    status BIGINT,
    error TEXT,
    ended_at DOUBLE PRECISION,
    lease_owner TEXT,
    lease_until DOUBLE PRECISION NOT NULL,
    CONSTRAINT ended_has_a_time CHECK (state = 'pending' OR ended_at IS NOT NULL)
);

CREATE INDEX deliveries_due ON deliveries (due_at, team, id, lease_until, state)
    WHERE state = 'pending';
CREATE INDEX deliveries_of_job ON deliveries (job_id, team);
CREATE INDEX deliveries_of_team ON deliveries (team, created_at, id);
CREATE INDEX deliveries_newest ON deliveries (created_at, id);

-- Jobs that had a task id and ended before there was an outbox were never called back. The history
-- says so.
INSERT INTO deliveries
    (id, job_id, team, url, created_at, due_at, state, attempts, error, ended_at, lease_until)
SELECT 'callback-' || jobs.id, jobs.id, jobs.team, jobs.callback_url, jobs.created_at,
    jobs.created_at, 'failed', 0, 'not sent: it ended before this gateway made callbacks',
    runs.finished_at, 0
FROM jobs JOIN runs ON runs.id = jobs.run_id
WHERE jobs.callback_url IS NOT NULL
    AND (runs.state = 'done' OR (runs.state = 'failed' AND runs.accepted_at IS NOT NULL));

CREATE TABLE uploads (
    id TEXT NOT NULL,
    team TEXT NOT NULL,
    upstream TEXT NOT NULL,
    digest TEXT NOT NULL,
    name TEXT NOT NULL,
    size_bytes BIGINT NOT NULL CHECK (size_bytes >= 0),
    urls TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    expires_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (team, id)
);

CREATE INDEX uploads_of_team ON uploads (team, created_at, id, expires_at);
CREATE INDEX uploads_oldest ON uploads (expires_at);

-- A link names the file that was uploaded last under it.
CREATE TABLE upload_urls (
    team TEXT NOT NULL,
    url TEXT NOT NULL,
    upload_id TEXT NOT NULL,
    PRIMARY KEY (team, url),
    FOREIGN KEY (team, upload_id) REFERENCES uploads (team, id) ON DELETE CASCADE
);

CREATE INDEX upload_urls_of_upload ON upload_urls (team, upload_id);

CREATE TABLE usage_totals (
    team TEXT NOT NULL,
    model TEXT NOT NULL,
    hits BIGINT NOT NULL CHECK (hits >= 0),
    joined BIGINT NOT NULL CHECK (joined >= 0),
    started BIGINT NOT NULL CHECK (started >= 0),
    failed BIGINT NOT NULL CHECK (failed >= 0),
    images_generated BIGINT NOT NULL CHECK (images_generated >= 0),
    images_cache BIGINT NOT NULL CHECK (images_cache >= 0),
    spent_usd_micros BIGINT NOT NULL CHECK (spent_usd_micros >= 0),
    saved_hit_usd_micros BIGINT NOT NULL CHECK (saved_hit_usd_micros >= 0),
    saved_joined_usd_micros BIGINT NOT NULL CHECK (saved_joined_usd_micros >= 0),
    PRIMARY KEY (team, model)
);

INSERT INTO usage_totals
SELECT team, model, SUM(hits), SUM(joined), SUM(started), SUM(failed), SUM(images_generated),
    SUM(images_cache), SUM(spent_usd_micros), SUM(saved_hit_usd_micros),
    SUM(saved_joined_usd_micros)
FROM usage GROUP BY team, model;
