-- What the platform team works with: teams and keys made at run time and who changed what, the
-- way that runs and refused orders went, the register of pictures, alerts in the outbox. What an
-- operator may filter by lies in an index, so that no list reads the wide rows it does not show.

CREATE TABLE teams (
    name TEXT PRIMARY KEY,
    document TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    changed_at DOUBLE PRECISION NOT NULL,
    deleted_at DOUBLE PRECISION
);

CREATE TABLE team_keys (
    id TEXT PRIMARY KEY,
    team TEXT NOT NULL REFERENCES teams (name),
    digest TEXT NOT NULL UNIQUE,
    label TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    expires_at DOUBLE PRECISION,
    revoked_at DOUBLE PRECISION,
    replaces TEXT
);

CREATE INDEX team_keys_of_team ON team_keys (team, created_at, id);

CREATE TABLE changes (
    id TEXT PRIMARY KEY,
    at DOUBLE PRECISION NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    before TEXT,
    after TEXT
);

CREATE INDEX changes_newest ON changes (at, id, action, actor, subject);

CREATE TABLE steps (
    run_id TEXT NOT NULL REFERENCES runs (id),
    number BIGINT NOT NULL CHECK (number >= 1),
    at DOUBLE PRECISION NOT NULL,
    event TEXT NOT NULL,
    before TEXT NOT NULL,
    after TEXT NOT NULL,
    route TEXT NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (run_id, number)
);

CREATE TABLE refusals (
    id TEXT PRIMARY KEY,
    at DOUBLE PRECISION NOT NULL,
    team TEXT NOT NULL,
    model TEXT NOT NULL,
    verdict TEXT NOT NULL CHECK (verdict IN ('denied', 'invalid', 'failed')),
    mode TEXT NOT NULL,
    reason TEXT NOT NULL,
    rule TEXT NOT NULL,
    message TEXT NOT NULL,
    param TEXT,
    job_id TEXT
);

CREATE INDEX refusals_newest ON refusals (at, id);
CREATE INDEX refusals_of_team ON refusals (team, at, id, verdict, reason);
CREATE INDEX refusals_of_reason ON refusals (reason, at, id, verdict);
CREATE INDEX refusals_of_verdict ON refusals (verdict, at, id);

-- All jobs of a run are shown now, not the waiting ones alone.
DROP INDEX jobs_of_live_run;
CREATE INDEX jobs_of_run ON jobs (run_id, created_at);

-- The verdicts of the tasks that a run has or had: 1 started, 2 joined, 4 hit.
ALTER TABLE runs ADD COLUMN verdicts BIGINT NOT NULL DEFAULT 0;
UPDATE runs SET verdicts =
    CASE WHEN EXISTS (SELECT 1 FROM jobs WHERE run_id = runs.id AND verdict = 'started')
        THEN 1 ELSE 0 END
    + CASE WHEN EXISTS (SELECT 1 FROM jobs WHERE run_id = runs.id AND verdict = 'joined')
        THEN 2 ELSE 0 END
    + CASE WHEN EXISTS (SELECT 1 FROM jobs WHERE run_id = runs.id AND verdict = 'hit')
        THEN 4 ELSE 0 END;

DROP INDEX runs_of_team;
CREATE INDEX runs_of_team
    ON runs (team, created_at, id, state, model, upstream, upstream_model, verdicts);
CREATE INDEX runs_newest
    ON runs (created_at, id, state, model, upstream, upstream_model, verdicts);
CREATE INDEX runs_credits ON runs (upstream, credits_used)
    WHERE credits_used IS NOT NULL;
CREATE INDEX runs_to_retire ON runs (team, id)
    WHERE shared = 1 AND state = 'done';

-- The first task of a team that shows a run: what the team has seen outlives its tasks. Which
-- verdicts are known to be noted at the run is beside it, so that a hit has to look only here.
CREATE TABLE gallery (
    team TEXT NOT NULL,
    run_id TEXT NOT NULL REFERENCES runs (id),
    job_id TEXT NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    noted BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (team, run_id)
);

CREATE INDEX gallery_newest ON gallery (team, at, run_id, job_id);
CREATE INDEX gallery_of_job ON gallery (job_id);

INSERT INTO gallery (team, run_id, job_id, at)
SELECT team, run_id, id, created_at FROM (
    SELECT team, run_id, id, created_at,
        ROW_NUMBER() OVER (PARTITION BY team, run_id ORDER BY created_at, id) AS turn
    FROM jobs
) AS firsts WHERE turn = 1;

-- `searched` is the prompt as it is searched: without cases. Both are empty once it is erased.
ALTER TABLE pictures ADD COLUMN team TEXT NOT NULL DEFAULT '';
ALTER TABLE pictures ADD COLUMN model TEXT NOT NULL DEFAULT '';
ALTER TABLE pictures ADD COLUMN prompt TEXT NOT NULL DEFAULT '';
ALTER TABLE pictures ADD COLUMN searched TEXT NOT NULL DEFAULT '';
ALTER TABLE pictures ADD COLUMN erased_at DOUBLE PRECISION
    CONSTRAINT erased_has_no_prompt CHECK (erased_at IS NULL OR (prompt = '' AND searched = ''));
ALTER TABLE pictures ADD COLUMN removed_at DOUBLE PRECISION
    CONSTRAINT removed_is_erased CHECK (removed_at IS NULL OR erased_at IS NOT NULL);
UPDATE pictures SET
    team = (SELECT team FROM runs WHERE runs.id = pictures.run_id),
    model = (SELECT model FROM runs WHERE runs.id = pictures.run_id);

DROP INDEX pictures_size;
CREATE INDEX pictures_size ON pictures (size_bytes, erased_at)
    WHERE erased_at IS NULL;
CREATE INDEX pictures_newest ON pictures (created_at, digest);
CREATE INDEX pictures_of_team ON pictures (team, created_at, digest);
CREATE INDEX pictures_of_run ON pictures (run_id, digest);
CREATE INDEX pictures_to_remove ON pictures (erased_at, digest)
    WHERE erased_at IS NOT NULL AND removed_at IS NULL;

-- A callback is owed to a job; an alert has none, and says what is in its body.
CREATE TABLE outbox (
    id TEXT PRIMARY KEY,
    job_id TEXT REFERENCES jobs (id) ON DELETE CASCADE,
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
    body TEXT,
    CONSTRAINT ended_has_a_time CHECK (state = 'pending' OR ended_at IS NOT NULL),
    CONSTRAINT says_something CHECK (job_id IS NOT NULL OR body IS NOT NULL)
);

INSERT INTO outbox
    (id, job_id, team, url, created_at, due_at, state, attempts, status, error, ended_at,
    lease_owner, lease_until)
SELECT id, job_id, team, url, created_at, due_at, state, attempts, status, error, ended_at,
    lease_owner, lease_until
FROM deliveries;

DROP TABLE deliveries;
ALTER TABLE outbox RENAME TO deliveries;

CREATE INDEX deliveries_due ON deliveries (due_at, team, id, lease_until, state, created_at)
    WHERE state = 'pending';
CREATE INDEX deliveries_of_job ON deliveries (job_id, team);
CREATE INDEX deliveries_of_team ON deliveries (team, created_at, id, state);
CREATE INDEX deliveries_ended ON deliveries (state, created_at, id)
    WHERE state <> 'pending';
CREATE INDEX deliveries_newest ON deliveries (created_at, id);

-- Usage by team: a year of one team is read without those of the others.
CREATE INDEX usage_of_team ON usage (team, day, model);
