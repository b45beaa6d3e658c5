-- These rows are rewritten with each order: with room beside them the new version stays on its page,
-- and no index has to follow it.
ALTER TABLE accounts SET (fillfactor = 50);
ALTER TABLE usage SET (fillfactor = 50);
ALTER TABLE usage_totals SET (fillfactor = 50);
ALTER TABLE epochs SET (fillfactor = 50);
ALTER TABLE replicas SET (fillfactor = 50);
ALTER TABLE turns SET (fillfactor = 50);

-- Which of its transactions a writing connection has begun last: after a COMMIT whose answer was lost
-- it says whether that one is committed.
CREATE TABLE commits (
    writer TEXT COLLATE "C" PRIMARY KEY,
    number BIGINT NOT NULL,
    at DOUBLE PRECISION NOT NULL
) WITH (fillfactor = 50);

-- For the audit: which type a text has as JSON; NULL when it cannot be read. From PostgreSQL 16 on
-- there is IS JSON; 15 can only try.
CREATE FUNCTION json_kind(document TEXT) RETURNS TEXT LANGUAGE plpgsql IMMUTABLE STRICT AS $$ BEGIN RETURN json_typeof(document::json); EXCEPTION WHEN others THEN RETURN NULL; END $$;
