-- Callbacks are leased by party: each team, and the operator's alerts, which have no job. So that
-- leasing reads what it takes and what is in hand, and not everything that is due.

CREATE INDEX deliveries_turn ON deliveries (team, due_at, id, lease_until, job_id, state)
    WHERE state = 'pending';
CREATE INDEX deliveries_in_hand ON deliveries (lease_until, due_at, team, job_id, state)
    WHERE state = 'pending';
