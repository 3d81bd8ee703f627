COMMENT ON COLUMN notifications.notification_id IS
    'Of event, channel and recipient, as before; led by the time of the event, so that the primary key grows at one end';
