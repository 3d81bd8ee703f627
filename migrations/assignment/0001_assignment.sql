-- What a lane of assignment (a geo) needs to be rebuilt from: drivers, orders that want one, and who carries what.
--
-- Rows change often and in place: the fill factors leave room for HOT updates, and no status that moves on the main path is
-- part of an index, except `assignments.active`, which two unique indexes need.

CREATE TABLE drivers (
    geo            text        NOT NULL,
    driver_id      text        NOT NULL,
    -- Compare-and-set: +1 with every change.
    version        int         NOT NULL,
    status         text        NOT NULL CHECK (status IN ('offline', 'free', 'busy')),
    -- A driver who goes off duty with a meal in the bag stays busy until it is delivered.
    on_duty        boolean     NOT NULL,
    duty_at        timestamptz NOT NULL,
    shift_ends_at  timestamptz,
    free_since     timestamptz NOT NULL,
    active_order   uuid,
    -- Where he came on duty or last delivered. The newest position is in the topic of locations.
    lat            double precision,
    lon            double precision,
    seen_at        timestamptz,
    PRIMARY KEY (geo, driver_id),
    CHECK ((status = 'busy') = (active_order IS NOT NULL)),
    CHECK (status <> 'free' OR on_duty)
) WITH (fillfactor = 70);

-- One row per order that assignment has heard of and that has not been delivered.
CREATE TABLE pending_assignments (
    geo              text             NOT NULL,
    order_id         uuid             NOT NULL,
    version          int              NOT NULL,
    -- announced: only the kitchen has spoken of it; open: wants a driver or has one (an active row of assignments);
    -- closed: withdrawn or failed, a tombstone that keeps overtaken requests out.
    state            text             NOT NULL CHECK (state IN ('announced', 'open', 'closed')),
    -- Of the newest request or cancellation: fences what is older.
    order_version    int              NOT NULL,
    changed_at       timestamptz      NOT NULL,
    ready_at         timestamptz,
    ready_said_at    timestamptz,
    request_id       uuid,
    partition        int,
    traceparent      text,
    request_version  int,
    attempt          int,
    restaurant_id    text,
    restaurant_lat   double precision,
    restaurant_lon   double precision,
    customer_lat     double precision,
    customer_lon     double precision,
    placed_at        timestamptz,
    requested_at     timestamptz,
    search_radius_m  double precision,
    -- Drivers who declined or ignored it, and until when each is not asked again: {driver: microseconds since the epoch}.
    cooled           jsonb,
    PRIMARY KEY (geo, order_id),
    CHECK (state <> 'announced' OR (ready_at IS NOT NULL AND ready_said_at IS NOT NULL)),
    CHECK (state <> 'open' OR num_nulls(ready_at, ready_said_at, request_id, partition, traceparent, request_version, attempt,
        restaurant_id, restaurant_lat, restaurant_lon, customer_lat, customer_lon, placed_at, requested_at, search_radius_m,
        cooled) = 0)
) WITH (fillfactor = 85);

-- Every commitment of a driver to an order, ended ones included.
CREATE TABLE assignments (
    geo            text        NOT NULL,
    order_id       uuid        NOT NULL,
    -- Of the request that it answers.
    order_version  int         NOT NULL,
    attempt        int         NOT NULL,
    driver_id      text        NOT NULL,
    version        int         NOT NULL,
    active         boolean     NOT NULL,
    phase          text        NOT NULL
        CHECK (phase IN ('offered', 'accepted', 'at_restaurant', 'picked_up', 'delivered', 'released')),
    phase_at       timestamptz NOT NULL,
    decided_at     timestamptz NOT NULL,
    arrives_at     timestamptz NOT NULL,
    trip_id        uuid        NOT NULL,
    trip_position  smallint    NOT NULL,
    PRIMARY KEY (geo, order_id, order_version, attempt),
    CHECK (active = (phase NOT IN ('delivered', 'released')))
) WITH (fillfactor = 80);

-- The last guard, across geos as well: one active order per driver, one active driver per order.
CREATE UNIQUE INDEX assignments_active_driver ON assignments (driver_id) WHERE active;
CREATE UNIQUE INDEX assignments_active_order ON assignments (order_id) WHERE active;
