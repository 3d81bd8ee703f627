-- Orders that are not done with, for whoever looks for those that are stuck; and the cancellation that was refused last.
--
-- `settled_at` is null until the order has ended and its money lies still. It moves once in an order's life (twice if money
-- arrives after all), so that the updates before it touch no index.
ALTER TABLE orders
    ADD COLUMN settled_at timestamptz,
    ADD COLUMN refused_event_id uuid;

UPDATE orders SET settled_at = updated_at
WHERE status IN ('delivered', 'rejected', 'payment_failed', 'cancelled', 'undeliverable')
    AND (payment IN ('unasked', 'declined', 'refunded') OR (payment = 'captured' AND status = 'delivered'));

CREATE INDEX orders_unsettled ON orders (geo, partition) WHERE settled_at IS NULL;
