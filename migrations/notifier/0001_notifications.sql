-- Notifications, each (event, channel, recipient) once: the id is a UUIDv5 of exactly these, so its primary key is their
-- uniqueness at a fifth of the index.

CREATE TABLE notifications (
    notification_id uuid PRIMARY KEY,
    geo             text NOT NULL,
    -- The lane that sends it; the partition of the same number takes what became of it.
    lane            text NOT NULL,
    order_id        uuid NOT NULL,
    order_version   integer NOT NULL,
    -- event_id of what it tells about.
    event_id        uuid NOT NULL,
    channel         text NOT NULL CHECK (channel IN ('LOG', 'WEBHOOK')),
    recipient_kind  text NOT NULL CHECK (recipient_kind IN ('CUSTOMER', 'RESTAURANT', 'DRIVER')),
    recipient_id    text NOT NULL,
    template        text NOT NULL,
    status          text NOT NULL CHECK (status IN ('pending', 'sent', 'dropped')),
    -- Why it was dropped.
    reason          text CHECK (reason IN ('STALE', 'NO_CHANNEL', 'REFUSED', 'EXHAUSTED')),
    detail          text,
    attempts        integer NOT NULL,
    -- Of webhooks only.
    url             text,
    body            text,
    expires_at      timestamptz NOT NULL,
    -- When a pending one is tried next; null while a call is under way.
    due_at          timestamptz,
    traceparent     text NOT NULL,
    created_at      timestamptz NOT NULL,
    changed_at      timestamptz NOT NULL,
    CHECK ((status = 'dropped') = (reason IS NOT NULL)),
    CHECK (status <> 'pending' OR (url IS NOT NULL AND body IS NOT NULL))
) WITH (fillfactor = 90);

-- What a lane takes over.
CREATE INDEX notifications_pending ON notifications (lane) WHERE status = 'pending';
