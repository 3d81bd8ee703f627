-- What travel times are corrected by, and the shifts that drivers have announced.

-- The latest drives of each hour of day: inserted when an order is delivered, deleted when later ones take their place, never
-- changed.
CREATE TABLE drives (
    geo         text             NOT NULL,
    -- The local hour of day in which it began.
    hour        smallint         NOT NULL CHECK (hour BETWEEN 0 AND 23),
    arrived_at  timestamptz      NOT NULL,
    order_id    uuid             NOT NULL,
    -- Time needed / time estimated without correction.
    ratio       double precision NOT NULL CHECK (ratio > 0),
    PRIMARY KEY (geo, hour, arrived_at, order_id)
);

-- The shift that he will work next: plans count on him before he comes.
ALTER TABLE drivers
    ADD COLUMN next_shift_starts_at timestamptz,
    ADD COLUMN next_shift_ends_at   timestamptz,
    ADD COLUMN next_shift_lat       double precision,
    ADD COLUMN next_shift_lon       double precision,
    ADD CONSTRAINT drivers_next_shift CHECK (
        num_nulls(next_shift_starts_at, next_shift_ends_at, next_shift_lat, next_shift_lon) IN (0, 4));
