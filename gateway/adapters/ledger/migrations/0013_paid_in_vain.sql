-- A task that failed and was charged all the same has spent money and no picture: it is found too
-- when an identical order asks for what was paid in vain.

DROP INDEX runs_newest_lost;
CREATE INDEX runs_newest_lost ON runs (fingerprint, finished_at)
    WHERE shared = 1 AND state = 'failed' AND (spent_usd_micros > 0 OR spent_images > 0);
