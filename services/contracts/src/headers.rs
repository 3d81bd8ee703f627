//! Names of the Kafka headers that every record carries. Their values are text, never binary.

/// The record's name without namespace.
pub const EVENT_TYPE: &str = "event_type";
/// The record's `event_id`.
pub const EVENT_ID: &str = "event_id";
/// The `version` of the schema it was written with.
pub const SCHEMA_VERSION: &str = "schema_version";
/// W3C trace context.
pub const TRACEPARENT: &str = "traceparent";
/// W3C trace context, vendor part.
pub const TRACESTATE: &str = "tracestate";
