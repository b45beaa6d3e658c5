-- How many orders of a day got their pictures, and what those that failed have cost all the same:
-- what was started says neither. What a refused order had asked for (JSON). And prompts are searched
-- without accents from now on, so that `searched` is written anew.

ALTER TABLE usage ADD COLUMN done BIGINT NOT NULL DEFAULT 0 CHECK (done >= 0);
ALTER TABLE usage ADD COLUMN spent_failed_usd_micros BIGINT NOT NULL DEFAULT 0
    CHECK (spent_failed_usd_micros >= 0);
ALTER TABLE usage_totals ADD COLUMN done BIGINT NOT NULL DEFAULT 0 CHECK (done >= 0);
ALTER TABLE usage_totals ADD COLUMN spent_failed_usd_micros BIGINT NOT NULL DEFAULT 0
    CHECK (spent_failed_usd_micros >= 0);

UPDATE usage SET done = ended.done, spent_failed_usd_micros = ended.lost FROM (
    SELECT team, model, day_start, SUM(CASE WHEN state = 'done' THEN 1 ELSE 0 END) AS done,
        SUM(CASE WHEN state = 'failed' THEN spent_usd_micros ELSE 0 END) AS lost
    FROM runs WHERE state IN ('done', 'failed') GROUP BY team, model, day_start
) AS ended
WHERE ended.team = usage.team AND ended.model = usage.model AND ended.day_start = usage.day;

UPDATE usage_totals SET done = days.done, spent_failed_usd_micros = days.lost FROM (
    SELECT team, model, SUM(done) AS done, SUM(spent_failed_usd_micros) AS lost
    FROM usage GROUP BY team, model
) AS days
WHERE days.team = usage_totals.team AND days.model = usage_totals.model;

ALTER TABLE refusals ADD COLUMN asked TEXT NOT NULL DEFAULT '{}';
