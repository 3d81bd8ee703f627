-- How often each key has been counted. Not idempotent on purpose: applying a message twice shows.
CREATE TABLE counters (
    lane  text NOT NULL,
    key   text NOT NULL,
    count bigint NOT NULL,
    PRIMARY KEY (lane, key)
);

-- What is to be counted later: at an instant, or when a call is answered.
CREATE TABLE pending (
    lane text NOT NULL,
    id   text NOT NULL,
    key  text NOT NULL,
    due  timestamptz,
    PRIMARY KEY (lane, id)
);
