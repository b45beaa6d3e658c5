-- Whom or what an order is for, as its sender said it: user, safety_identifier, metadata (JSON).
ALTER TABLE jobs ADD COLUMN labels TEXT NOT NULL DEFAULT '{}';
