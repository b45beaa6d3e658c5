-- A run is live while its state is none of 'done' and 'failed'. Times are Unix seconds, money is
-- micro-dollars. Truth values are 0 and 1.

CREATE TABLE runs (
    id TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    team TEXT NOT NULL,
    model TEXT NOT NULL,
    quality TEXT NOT NULL,
    n BIGINT NOT NULL CHECK (n >= 1),
    request TEXT NOT NULL,
    upstream TEXT NOT NULL,
    upstream_model TEXT NOT NULL,
    price_usd_micros BIGINT NOT NULL CHECK (price_usd_micros >= 0),
    minute_start BIGINT NOT NULL,
    hour_start BIGINT NOT NULL,
    day_start BIGINT NOT NULL,
    week_start BIGINT NOT NULL,
    month_start BIGINT NOT NULL,
    hold_usd_micros BIGINT NOT NULL CHECK (hold_usd_micros >= 0),
    hold_images BIGINT NOT NULL CHECK (hold_images >= 0),
    hold_runs BIGINT NOT NULL CHECK (hold_runs >= 0),
    spent_usd_micros BIGINT NOT NULL CHECK (spent_usd_micros >= 0),
    spent_images BIGINT NOT NULL CHECK (spent_images >= 0),
    spent_runs BIGINT NOT NULL CHECK (spent_runs >= 0),
    created_at DOUBLE PRECISION NOT NULL,
    deadline_at DOUBLE PRECISION NOT NULL,
    due_at DOUBLE PRECISION NOT NULL,
    state TEXT NOT NULL CHECK (
        state IN ('submitting', 'queued', 'unsure', 'running', 'keeping', 'done', 'failed')
    ),
    shared BIGINT NOT NULL CHECK (shared IN (0, 1)),
    joins TEXT NOT NULL,
    attempts BIGINT NOT NULL CHECK (attempts >= 0),
    tries BIGINT NOT NULL CHECK (tries >= 0),
    upstream_task_id TEXT,
    accepted_at DOUBLE PRECISION,
    upstream_finished_at DOUBLE PRECISION,
    finished_at DOUBLE PRECISION,
    task TEXT NOT NULL,
    links TEXT NOT NULL,
    kept TEXT NOT NULL,
    credits_used DOUBLE PRECISION,
    failure TEXT,
    lease_owner TEXT,
    lease_until DOUBLE PRECISION NOT NULL,
    link_count BIGINT NOT NULL,
    kept_count BIGINT NOT NULL,
    CONSTRAINT final_holds_nothing CHECK (
        state NOT IN ('done', 'failed')
        OR (hold_usd_micros = 0 AND hold_images = 0 AND hold_runs = 0)
    ),
    CONSTRAINT final_is_finished CHECK (
        state NOT IN ('done', 'failed') OR finished_at IS NOT NULL
    )
);

CREATE UNIQUE INDEX runs_one_live ON runs (fingerprint)
    WHERE shared = 1 AND state NOT IN ('done', 'failed');
CREATE INDEX runs_newest_done ON runs (fingerprint, finished_at)
    WHERE shared = 1 AND state = 'done';
CREATE UNIQUE INDEX runs_upstream_task ON runs (upstream, upstream_task_id)
    WHERE upstream_task_id IS NOT NULL;
CREATE INDEX runs_due ON runs (due_at, lease_until)
    WHERE state NOT IN ('done', 'failed');
CREATE INDEX runs_keeping ON runs (upstream_finished_at)
    WHERE state = 'keeping';
CREATE INDEX runs_of_team ON runs (team, created_at);

CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    run_id TEXT NOT NULL REFERENCES runs (id),
    team TEXT NOT NULL,
    verdict TEXT NOT NULL CHECK (verdict IN ('hit', 'joined', 'started')),
    created_at DOUBLE PRECISION NOT NULL,
    callback_url TEXT
);

CREATE INDEX jobs_of_team ON jobs (team, created_at);
CREATE INDEX jobs_oldest ON jobs (created_at);

CREATE TABLE accounts (
    team TEXT NOT NULL,
    window_name TEXT NOT NULL CHECK (
        window_name IN ('minute', 'hour', 'day', 'week', 'month', 'total')
    ),
    window_start BIGINT NOT NULL,
    spent_usd_micros BIGINT NOT NULL CHECK (spent_usd_micros >= 0),
    spent_images BIGINT NOT NULL CHECK (spent_images >= 0),
    spent_runs BIGINT NOT NULL CHECK (spent_runs >= 0),
    held_usd_micros BIGINT NOT NULL CHECK (held_usd_micros >= 0),
    held_images BIGINT NOT NULL CHECK (held_images >= 0),
    held_runs BIGINT NOT NULL CHECK (held_runs >= 0),
    PRIMARY KEY (team, window_name, window_start)
);

CREATE INDEX accounts_short ON accounts (window_start)
    WHERE window_name IN ('minute', 'hour');

CREATE TABLE usage (
    team TEXT NOT NULL,
    model TEXT NOT NULL,
    day BIGINT NOT NULL,
    hits BIGINT NOT NULL CHECK (hits >= 0),
    joined BIGINT NOT NULL CHECK (joined >= 0),
    started BIGINT NOT NULL CHECK (started >= 0),
    failed BIGINT NOT NULL CHECK (failed >= 0),
    images_generated BIGINT NOT NULL CHECK (images_generated >= 0),
    images_cache BIGINT NOT NULL CHECK (images_cache >= 0),
    spent_usd_micros BIGINT NOT NULL CHECK (spent_usd_micros >= 0),
    saved_hit_usd_micros BIGINT NOT NULL CHECK (saved_hit_usd_micros >= 0),
    saved_joined_usd_micros BIGINT NOT NULL CHECK (saved_joined_usd_micros >= 0),
    PRIMARY KEY (day, team, model)
);

CREATE TABLE pictures (
    digest TEXT PRIMARY KEY,
    extension TEXT NOT NULL,
    size_bytes BIGINT NOT NULL CHECK (size_bytes >= 0),
    width BIGINT NOT NULL CHECK (width >= 0),
    height BIGINT NOT NULL CHECK (height >= 0),
    run_id TEXT NOT NULL REFERENCES runs (id),
    created_at DOUBLE PRECISION NOT NULL
);

CREATE INDEX pictures_size ON pictures (size_bytes);
