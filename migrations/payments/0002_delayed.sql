-- Whether PaymentDelayed has told that the money is no longer wanted although its outcome is unknown.
ALTER TABLE payments ADD COLUMN delayed boolean NOT NULL DEFAULT false;
