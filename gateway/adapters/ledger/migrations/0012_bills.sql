-- What an order costs at most beside its pictures, and what its upstream billed for it, where it says
-- so with the pictures. The bill is the cost, also above what was held: that is counted from an index.

ALTER TABLE runs ADD COLUMN besides_usd_micros BIGINT NOT NULL DEFAULT 0
    CHECK (besides_usd_micros >= 0);
ALTER TABLE runs ADD COLUMN billed_usd_micros BIGINT CHECK (billed_usd_micros >= 0);

CREATE INDEX runs_over_hold
    ON runs (upstream, billed_usd_micros, price_usd_micros, n, besides_usd_micros)
    WHERE billed_usd_micros > price_usd_micros * n + besides_usd_micros;
