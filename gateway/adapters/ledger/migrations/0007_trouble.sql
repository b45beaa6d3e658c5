-- What a run's links have given in a row instead of its pictures: since when, and which bytes.

ALTER TABLE runs ADD COLUMN trouble TEXT;
