-- What operators and processes tell each other, in the database that both reach.

-- Why an instance refuses to run the lane; cleared by whoever takes the lane next, or by the operator who has decided.
ALTER TABLE lanes
    ADD COLUMN refused    text,
    ADD COLUMN refused_at timestamptz;

-- Running processes, by instance slot. A row goes when its process has handed its lanes over; a crash leaves it behind.
CREATE TABLE instances (
    instance       text PRIMARY KEY,
    started_at     timestamptz NOT NULL,
    -- Set by an operator: the process ends in order, as on SIGTERM.
    drain_asked_at timestamptz
);
