//! Records, topics and geos: what crosses a service border.
