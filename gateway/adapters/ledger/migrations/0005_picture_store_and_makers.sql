-- Which picture folder this ledger belongs to: the id in the folder's own marker. One row at most.
CREATE TABLE picture_store (
    id TEXT PRIMARY KEY
);

-- A picture has a row for each run that made its bytes, so that each run's team finds it, and an
-- erasure reaches the words of all of them. `id` is digest/run. `again` is 1 when the bytes were on
-- record already as the row was written: whoever counts bytes counts the others.
CREATE TABLE made (
    id TEXT PRIMARY KEY,
    digest TEXT NOT NULL,
    extension TEXT NOT NULL,
    size_bytes BIGINT NOT NULL CHECK (size_bytes >= 0),
    width BIGINT NOT NULL CHECK (width >= 0),
    height BIGINT NOT NULL CHECK (height >= 0),
    run_id TEXT NOT NULL REFERENCES runs (id),
    team TEXT NOT NULL,
    model TEXT NOT NULL,
    prompt TEXT NOT NULL,
    searched TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    again BIGINT NOT NULL DEFAULT 0 CHECK (again IN (0, 1)),
    erased_at DOUBLE PRECISION
        CONSTRAINT erased_has_no_prompt CHECK (erased_at IS NULL OR (prompt = '' AND searched = '')),
    removed_at DOUBLE PRECISION
        CONSTRAINT removed_is_erased CHECK (removed_at IS NULL OR erased_at IS NOT NULL)
);

INSERT INTO made
    (id, digest, extension, size_bytes, width, height, run_id, team, model, prompt, searched,
    created_at, erased_at, removed_at)
SELECT digest || '/' || run_id, digest, extension, size_bytes, width, height, run_id, team, model,
    prompt, searched, created_at, erased_at, removed_at
FROM pictures;

DROP TABLE pictures;
ALTER TABLE made RENAME TO pictures;

CREATE INDEX pictures_of_digest ON pictures (digest, run_id);
CREATE INDEX pictures_size ON pictures (size_bytes)
    WHERE erased_at IS NULL AND again = 0;
CREATE INDEX pictures_once ON pictures (digest)
    WHERE erased_at IS NULL AND again = 0;
CREATE INDEX pictures_newest ON pictures (created_at, id);
CREATE INDEX pictures_of_team ON pictures (team, created_at, id);
CREATE INDEX pictures_of_run ON pictures (run_id, id);
CREATE INDEX pictures_to_remove ON pictures (erased_at, id)
    WHERE erased_at IS NOT NULL AND removed_at IS NULL;

-- What upstream said is taken away with a run's words, also where it stands beside refused orders.
CREATE INDEX refusals_of_job ON refusals (job_id)
    WHERE job_id IS NOT NULL;
