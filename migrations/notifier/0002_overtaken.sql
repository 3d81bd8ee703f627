-- Which event a message tells of, to find what makes it pointless; what did while its call was under way; and messages to
-- those who run the platform.
ALTER TABLE notifications
    ADD COLUMN event        text NOT NULL DEFAULT '',
    ADD COLUMN overtaken_by text,
    DROP CONSTRAINT notifications_recipient_kind_check,
    ADD CONSTRAINT notifications_recipient_kind_check
        CHECK (recipient_kind IN ('CUSTOMER', 'RESTAURANT', 'DRIVER', 'OPERATIONS'));
