-- A driver makes one trip at a time, of up to three orders of one restaurant.
--
-- `drivers` names his trip; `assignments` has a row for each of its orders. That he has no second one is still guarded
-- across geos: of two active rows of one driver none may be of another trip, nor at the same place of the trip. The driver
-- stands in the exclusion by a hash of 64 bits, since text in a GiST index is several times as dear; two drivers of one hash
-- would cost one of them an order now and then, and nobody the rule.

CREATE EXTENSION IF NOT EXISTS btree_gist;

ALTER TABLE drivers RENAME COLUMN active_order TO active_trip;
UPDATE drivers d SET active_trip = a.trip_id FROM assignments a
    WHERE a.geo = d.geo AND a.driver_id = d.driver_id AND a.active;

-- His last delivery on the trip that he is on: from there he goes on.
ALTER TABLE drivers
    ADD COLUMN last_drop_at  timestamptz,
    ADD COLUMN last_drop_lat double precision,
    ADD COLUMN last_drop_lon double precision,
    ADD CONSTRAINT drivers_last_drop CHECK (
        num_nulls(last_drop_at, last_drop_lat, last_drop_lon) IN (0, 3)
        AND (last_drop_at IS NULL OR active_trip IS NOT NULL));

ALTER TABLE assignments
    ADD CONSTRAINT assignments_trip_position CHECK (trip_position BETWEEN 0 AND 2),
    ADD CONSTRAINT assignments_one_trip EXCLUDE USING gist (
        hashtextextended(driver_id, 0) WITH =, trip_id WITH <>) WHERE (active);
DROP INDEX assignments_active_driver;
CREATE UNIQUE INDEX assignments_active_leg ON assignments (driver_id, trip_position) WHERE active;
