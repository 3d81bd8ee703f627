-- A driver is of the geo in which he came on duty last, whatever the lane of another still believes: before a commitment is stored
-- his rows in other geos are asked. They are found by this index; no update of a driver touches it.

CREATE INDEX drivers_by_driver ON drivers (driver_id);
