-- The audit is found by time, not by order: a row stands at its order's `updated_at`, or between that and `created_at`.
--
-- Ids are random, so each row of a primary key led by one was a page of its own to read and to log: with a million orders
-- in the tables, a third of all pages that were read from outside the buffers. Nothing rests on that key, since an order's
-- version is guarded by its own row.

ALTER TABLE order_transitions DROP CONSTRAINT order_transitions_pkey;
CREATE INDEX order_transitions_recorded ON order_transitions USING brin (recorded_at) WITH (autosummarize = on);
