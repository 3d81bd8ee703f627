-- As the audit of orders, that of the gateway's answers is found by time: between its payment's `requested_at` and
-- `changed_at`. The attempts of an operation are counted by the payment's own row.

ALTER TABLE payment_attempts DROP CONSTRAINT payment_attempts_pkey;
CREATE INDEX payment_attempts_at ON payment_attempts USING brin (at) WITH (autosummarize = on);
