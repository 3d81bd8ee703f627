-- Orders, the audit of their transitions, and what was heard of an order before it was placed.
--
-- Rows of orders are updated several times each: no column that moves is indexed (assignment_due_at apart, which is
-- nearly always null), and pages keep room, so that an update stays on its page and touches no index.

CREATE TABLE orders (
    order_id uuid PRIMARY KEY,
    geo text NOT NULL,
    -- The partition of all messages about this order, in every topic of its geo.
    partition integer NOT NULL CHECK (partition >= 0),
    version integer NOT NULL CHECK (version >= 1),
    status text NOT NULL CHECK (status IN (
        'placed', 'payment_pending', 'confirmed', 'driver_assigned', 'picked_up', 'delivered',
        'rejected', 'payment_failed', 'cancelled', 'undeliverable')),
    payment text NOT NULL CHECK (payment IN (
        'unasked', 'requested', 'captured', 'declined', 'refund_requested', 'refunded')),
    kitchen text NOT NULL CHECK (kitchen IN ('waiting', 'preparing', 'ready', 'rejected')),
    assignment_attempt integer NOT NULL CHECK (assignment_attempt >= 0),
    assignment_phase text NOT NULL CHECK (assignment_phase IN (
        'waiting', 'sought', 'held', 'released', 'failed')),
    placed_event_id uuid NOT NULL,
    customer_id text NOT NULL,
    customer_name text,
    customer_lat double precision NOT NULL,
    customer_lon double precision NOT NULL,
    customer_webhook_url text,
    restaurant_id text NOT NULL,
    restaurant_name text,
    restaurant_lat double precision NOT NULL,
    restaurant_lon double precision NOT NULL,
    restaurant_webhook_url text,
    -- Lines as they were placed: [{id, name, quantity, unit_price_minor}].
    items json NOT NULL,
    delivery_fee_minor bigint NOT NULL,
    tip_minor bigint NOT NULL,
    total_minor bigint NOT NULL,
    currency char(3) NOT NULL,
    payment_method text NOT NULL,
    placed_at timestamptz NOT NULL,
    ready_at timestamptz NOT NULL,
    prep_total_s integer NOT NULL,
    -- When the kitchen said the last thing about ready_at; what it said earlier and arrives later does not count.
    kitchen_said_at timestamptz,
    driver_id text,
    expected_pickup_at timestamptz,
    expected_delivery_at timestamptz,
    picked_up_at timestamptz,
    delivered_at timestamptz,
    -- When to ask for a driver again.
    assignment_due_at timestamptz,
    -- W3C trace context of the placing: the order is one trace, also where a timer goes on with it.
    traceparent text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    -- A rejected order is kept as it came, whatever is wrong with it.
    CONSTRAINT orders_money CHECK (status = 'rejected'
        OR (delivery_fee_minor >= 0 AND tip_minor >= 0 AND total_minor > 0)),
    CONSTRAINT orders_driver CHECK (driver_id IS NOT NULL
        OR status NOT IN ('driver_assigned', 'picked_up', 'delivered')),
    CONSTRAINT orders_refund CHECK (payment <> 'captured'
        OR status NOT IN ('payment_failed', 'cancelled', 'undeliverable'))
) WITH (fillfactor = 60);

CREATE INDEX orders_assignment_due ON orders (geo, partition) WHERE assignment_due_at IS NOT NULL;

-- Who moved an order, from where to where, when, and by which event. Only ever inserted into.
CREATE TABLE order_transitions (
    geo text NOT NULL,
    order_id uuid NOT NULL,
    version integer NOT NULL,
    -- The kind of event, and its id; none when a deadline passed.
    event text NOT NULL,
    event_id uuid,
    actor text NOT NULL,
    from_status text NOT NULL,
    to_status text NOT NULL,
    payment text NOT NULL,
    kitchen text NOT NULL,
    reason text,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (geo, order_id, version)
);

-- What a kitchen or a customer said of an order before it was placed here: their topics are read apart from the one it is
-- placed on. Applied, in the order of arrival, as soon as the order exists.
CREATE TABLE early_events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id uuid NOT NULL,
    -- The lane that heard it and looks again for the order.
    lane text NOT NULL,
    geo text NOT NULL,
    kind text NOT NULL CHECK (kind IN (
        'cancel_requested', 'prep_time_changed', 'food_ready', 'kitchen_rejected')),
    event_id uuid NOT NULL,
    occurred_at timestamptz NOT NULL,
    restaurant_id text,
    actor text,
    ready_at timestamptz,
    reason text,
    traceparent text NOT NULL,
    received_at timestamptz NOT NULL,
    -- Why it will never be applied; such a row is kept for a person to look at.
    given_up text
);

CREATE INDEX early_events_order ON early_events (order_id) WHERE given_up IS NULL;
CREATE INDEX early_events_lane ON early_events (lane) WHERE given_up IS NULL;
