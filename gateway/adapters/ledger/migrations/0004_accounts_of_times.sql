-- An account is of a time, from `window_start` to before `window_end`, and has what the runs of that
-- time have, whatever the time zone was when they were ordered. One that is not there is made from
-- the runs. Of the former accounts only the starts are known: each ends where the team's next one of
-- its window begins, or when a window is over at the latest.

CREATE TABLE accounts_of_times (
    team TEXT NOT NULL,
    window_name TEXT NOT NULL,
    window_start BIGINT NOT NULL,
    window_end BIGINT NOT NULL,
    spent_usd_micros BIGINT NOT NULL CHECK (spent_usd_micros >= 0),
    spent_images BIGINT NOT NULL CHECK (spent_images >= 0),
    spent_runs BIGINT NOT NULL CHECK (spent_runs >= 0),
    held_usd_micros BIGINT NOT NULL CHECK (held_usd_micros >= 0),
    held_images BIGINT NOT NULL CHECK (held_images >= 0),
    held_runs BIGINT NOT NULL CHECK (held_runs >= 0),
    CONSTRAINT ends_after_its_start CHECK (window_end > window_start),
    CONSTRAINT as_long_as_its_window CHECK (
        window_end - window_start <= CASE window_name
            WHEN 'minute' THEN 60
            WHEN 'hour' THEN 3600
            WHEN 'day' THEN 176400
            WHEN 'week' THEN 777600
            WHEN 'month' THEN 2851200
            WHEN 'total' THEN 253402300800
            ELSE 0 END
    ),
    PRIMARY KEY (team, window_name, window_start, window_end)
);

INSERT INTO accounts_of_times
SELECT times.team, times.window_name, times.window_start, times.window_end,
    COALESCE(SUM(runs.spent_usd_micros), 0), COALESCE(SUM(runs.spent_images), 0),
    COALESCE(SUM(runs.spent_runs), 0), COALESCE(SUM(runs.hold_usd_micros), 0),
    COALESCE(SUM(runs.hold_images), 0), COALESCE(SUM(runs.hold_runs), 0)
FROM (
    SELECT team, window_name, window_start,
        CASE WHEN next_start < latest_end THEN next_start ELSE latest_end END AS window_end
    FROM (
        SELECT team, window_name, window_start,
            LEAD(window_start) OVER (PARTITION BY team, window_name ORDER BY window_start)
                AS next_start,
            window_start + CASE window_name
                WHEN 'minute' THEN 60
                WHEN 'hour' THEN 3600
                WHEN 'day' THEN 176400
                WHEN 'week' THEN 777600
                WHEN 'month' THEN 2851200
                ELSE 253402300800 END AS latest_end
        FROM accounts
    ) AS starts
) AS times LEFT JOIN runs ON runs.team = times.team
    AND runs.created_at >= times.window_start AND runs.created_at < times.window_end
GROUP BY times.team, times.window_name, times.window_start, times.window_end;

DROP TABLE accounts;
ALTER TABLE accounts_of_times RENAME TO accounts;

CREATE INDEX accounts_short ON accounts (window_start)
    WHERE window_name IN ('minute', 'hour');

-- Whether the way of the run was written down from the start: runs from before there were steps have
-- none.
ALTER TABLE runs ADD COLUMN has_steps BIGINT NOT NULL DEFAULT 1;
UPDATE runs SET has_steps = 0
    WHERE NOT EXISTS (SELECT 1 FROM steps WHERE steps.run_id = runs.id);
