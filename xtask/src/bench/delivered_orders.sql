-- Delivered orders in the tables of all four processors: psql variables `orders` (how many) and `geo`.
--
-- Ids are random, as clients choose them (those of messages begin with the time, as the notifier derives them), and all
-- rows of an order stand where the processors would have put them: one order, its six transitions, a payment with its
-- attempt, an assignment that has ended, two messages.

BEGIN;
SET LOCAL synchronous_commit = off;

CREATE TEMPORARY TABLE delivered ON COMMIT DROP AS
SELECT gen_random_uuid() AS order_id,
       n,
       (n % 6)::int AS partition,
       now() - interval '1 day' - n * interval '50 milliseconds' AS at
FROM generate_series(1, :orders) AS n;

INSERT INTO orders.orders (order_id, geo, partition, version, status, payment, kitchen, assignment_attempt,
    assignment_phase, placed_event_id, customer_id, customer_name, customer_lat, customer_lon, restaurant_id,
    restaurant_name, restaurant_lat, restaurant_lon, items, delivery_fee_minor, tip_minor, total_minor, currency,
    payment_method, placed_at, ready_at, prep_total_s, driver_id, expected_pickup_at, expected_delivery_at, picked_up_at,
    delivered_at, traceparent, created_at, updated_at, settled_at)
SELECT order_id, :'geo', partition, 6, 'delivered', 'captured', 'ready', 1, 'held', gen_random_uuid(),
    'customer-' || n, 'A customer', 38.71, -9.13, 'restaurant-' || n % 200, 'A restaurant', 38.71, -9.13,
    '[{"id":"margherita","name":"margherita","quantity":1,"unit_price_minor":950},{"id":"salad","name":"salad","quantity":1,"unit_price_minor":640}]',
    290, 100, 1980, 'EUR', 'tok_bench', at, at + interval '15 minutes', 600, 'driver-' || n % 1000,
    at + interval '16 minutes', at + interval '30 minutes', at + interval '16 minutes', at + interval '30 minutes',
    '00-' || md5(n::text) || '-0000000000000001-01', at, at + interval '30 minutes', at + interval '30 minutes'
FROM delivered;

INSERT INTO orders.order_transitions (geo, order_id, version, event, event_id, actor, from_status, to_status, payment,
    kitchen, occurred_at, recorded_at)
SELECT :'geo', order_id, step.version, step.event, gen_random_uuid(), step.actor, step.from_status, step.to_status,
    step.payment, step.kitchen, at, at
FROM delivered, (VALUES
    (1, 'placed', 'checkout', 'placed', 'payment_pending', 'requested', 'waiting'),
    (2, 'payment_captured', 'payments', 'payment_pending', 'confirmed', 'captured', 'waiting'),
    (3, 'food_ready', 'kitchen', 'confirmed', 'confirmed', 'captured', 'ready'),
    (4, 'driver_assigned', 'assignment', 'confirmed', 'driver_assigned', 'captured', 'ready'),
    (5, 'picked_up', 'driver', 'driver_assigned', 'picked_up', 'captured', 'ready'),
    (6, 'delivered', 'driver', 'picked_up', 'delivered', 'captured', 'ready'))
    AS step (version, event, actor, from_status, to_status, payment, kitchen);

INSERT INTO payments.payments (order_id, geo, lane, request_id, order_version, attempt, amount_minor, currency,
    payment_method, expires_at, status, capture_reference, tries, exposed, traceparent, requested_at, changed_at)
SELECT order_id, :'geo', 'payments.requests.' || :'geo' || '/' || partition, gen_random_uuid(), 1, 1, 1980, 'EUR',
    'tok_bench', at + interval '15 minutes', 'captured', 'cap-' || n, 0, false,
    '00-' || md5(n::text) || '-0000000000000001-01', at, at
FROM delivered;

INSERT INTO payments.payment_attempts (geo, order_id, operation, attempt, outcome, detail, at)
SELECT :'geo', order_id, 'capture', 1, 'captured', 'cap-' || n, at
FROM delivered;

INSERT INTO assignment.assignments (geo, order_id, order_version, attempt, driver_id, version, active, phase, phase_at,
    decided_at, arrives_at, trip_id, trip_position)
SELECT :'geo', order_id, 2, 1, 'driver-' || n % 1000, 5, false, 'delivered', at, at, at, gen_random_uuid(), 0
FROM delivered;

INSERT INTO notifier.notifications (notification_id, geo, lane, order_id, order_version, event_id, channel,
    recipient_kind, recipient_id, template, status, attempts, expires_at, traceparent, created_at, changed_at, event)
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || substr(gen_random_uuid()::text, 15))::uuid, :'geo',
    'orders.events.' || :'geo' || '/' || partition, order_id, told.version,
    gen_random_uuid(), 'LOG', told.recipient, 'someone-' || n, told.template, 'sent', 1, at + interval '1 hour',
    '00-' || md5(n::text) || '-0000000000000001-01', at, at, told.event
FROM delivered, (VALUES
    (2, 'RESTAURANT', 'new_order', 'OrderConfirmed'),
    (4, 'CUSTOMER', 'driver_on_the_way', 'OrderDriverAssigned'))
    AS told (version, recipient, template, event);

COMMIT;
