-- What several gateways share beyond runs and money. One row of `epochs`: `policy` is raised with each
-- change of teams and keys, `cache` with each change that makes stored answers void.
CREATE TABLE epochs (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    policy BIGINT NOT NULL CHECK (policy >= 0),
    cache BIGINT NOT NULL CHECK (cache >= 0)
);
INSERT INTO epochs (id, policy, cache) VALUES (1, 0, 0);

-- Gateways that live: each says so again and again. `policy` and `cache` are the epochs that it has.
CREATE TABLE replicas (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    started_at DOUBLE PRECISION NOT NULL,
    seen_at DOUBLE PRECISION NOT NULL,
    policy BIGINT NOT NULL,
    cache BIGINT NOT NULL,
    settings TEXT NOT NULL
);

-- What one gateway at a time may do: the chores (chores), asking an upstream for its credits
-- (credits/UPSTREAM), or something with a picture's bytes (picture/DIGEST). It is whose it is until
-- then.
CREATE TABLE turns (
    name TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    until DOUBLE PRECISION NOT NULL
);

-- Secrets of the gateway's own that all replicas have to know; and what the last check of an
-- upstream's credits found (JSON).
CREATE TABLE secrets (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
CREATE TABLE credit_checks (
    upstream TEXT PRIMARY KEY,
    checked_at DOUBLE PRECISION NOT NULL,
    found TEXT NOT NULL
);

-- What this ledger says of itself while it is carried to or from another place, and afterwards.
CREATE TABLE moves (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
