-- What the runtime keeps in every service's schema. Written in the same transaction as the service's own state.

-- One row per lane. `version` moves in every transaction of the lane: it is the fence that refuses a stale owner.
CREATE TABLE lanes (
    lane    text PRIMARY KEY,
    version bigint NOT NULL DEFAULT 0 CHECK (version >= 0),
    -- Counts recoveries.
    epoch   bigint NOT NULL DEFAULT 0 CHECK (epoch >= 0),
    -- Number of the last outbox row.
    seq     bigint NOT NULL DEFAULT 0 CHECK (seq >= 0)
) WITH (fillfactor = 50);

-- Next offset to read of each source partition.
CREATE TABLE positions (
    lane        text NOT NULL REFERENCES lanes,
    topic       text NOT NULL,
    partition   integer NOT NULL CHECK (partition >= 0),
    next_offset bigint NOT NULL CHECK (next_offset >= 0),
    PRIMARY KEY (lane, topic, partition)
) WITH (fillfactor = 50);

-- All records of one cycle of one lane, packed; numbered without gaps; deleted once known to be published.
CREATE TABLE outbox (
    -- No foreign key: only the transaction that holds the lane's row inserts here.
    lane    text NOT NULL,
    seq     bigint NOT NULL,
    records bytea NOT NULL,
    PRIMARY KEY (lane, seq)
);
