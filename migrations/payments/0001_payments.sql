-- Payments, one per order, and the audit of every answer that the gateway gave.
--
-- The idempotency keys are not stored, they are derived: capture:<order_id>:<attempt>, refund:<order_id>:<refund_attempt>.

CREATE TABLE payments (
    order_id          uuid PRIMARY KEY,
    geo               text NOT NULL,
    -- The lane that owns it: all requests of an order arrive on one partition.
    lane              text NOT NULL,
    -- event_id of the PaymentRequested (or of the RefundRequested that overtook it).
    request_id        uuid NOT NULL,
    order_version     integer NOT NULL,
    attempt           integer NOT NULL,
    amount_minor      bigint NOT NULL CHECK (amount_minor > 0),
    currency          char(3) NOT NULL,
    payment_method    text NOT NULL,
    expires_at        timestamptz,
    status            text NOT NULL
        CHECK (status IN ('requested', 'captured', 'declined', 'refund_requested', 'refunded')),
    capture_reference text CHECK (status NOT IN ('captured', 'refund_requested', 'refunded') OR capture_reference IS NOT NULL),
    refund_request_id uuid,
    refund_version    integer,
    refund_attempt    integer,
    refund_minor      bigint CHECK (refund_minor BETWEEN 1 AND amount_minor),
    refund_reference  text CHECK (status <> 'refunded' OR refund_reference IS NOT NULL),
    -- Failed calls of the operation under way.
    tries             integer NOT NULL,
    -- Whether the gateway may hold an outcome that we have not heard of.
    exposed           boolean NOT NULL,
    -- When an open payment is called for next; null while a call is under way.
    due_at            timestamptz,
    traceparent       text NOT NULL,
    requested_at      timestamptz NOT NULL,
    changed_at        timestamptz NOT NULL
) WITH (fillfactor = 85);

-- What a lane takes over: only payments with something left to do.
CREATE INDEX payments_open ON payments (lane) WHERE status IN ('requested', 'refund_requested');

CREATE TABLE payment_attempts (
    geo       text NOT NULL,
    order_id  uuid NOT NULL,
    operation text NOT NULL CHECK (operation IN ('capture', 'refund')),
    attempt   integer NOT NULL,
    outcome   text NOT NULL CHECK (outcome IN ('captured', 'declined', 'refunded', 'failed', 'not_sent')),
    detail    text NOT NULL,
    at        timestamptz NOT NULL,
    PRIMARY KEY (geo, order_id, operation, attempt)
);
