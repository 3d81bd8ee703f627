-- Whether it was reported that the driver of an assignment is gone with the meal: once is enough.
ALTER TABLE assignments ADD COLUMN reported boolean NOT NULL DEFAULT false;
