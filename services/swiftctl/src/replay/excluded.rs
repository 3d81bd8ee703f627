//! What the topics do not determine: left out when rebuilt tables are compared with live ones, with the reason.

use crate::replay::rebuild::Service;

/// In place of a column: all of them.
pub const ALL: &str = "*";
/// Columns that are left out, and why.
pub type Excluded = &'static [(&'static str, &'static str)];

const CLOCK: &str = "when the instance wrote it, by its clock";
const SPAN: &str = "the number of the span is drawn by the instance";
const CYCLES: &str = "counts writes: several messages may have shared one";
const CALLS: &str = "of calls that no topic tells of";

/// Of a table of a service.
pub fn excluded(service: Service, table: &str) -> Excluded {
    match (service, table) {
        (Service::Orders, "orders") => &[
            ("partition", "dealt by the instance that accepted the order"),
            ("created_at", CLOCK),
            ("updated_at", CLOCK),
            ("settled_at", CLOCK),
            ("assignment_due_at", CLOCK),
            ("traceparent", SPAN),
        ],
        (Service::Orders, "order_transitions") => &[("recorded_at", CLOCK)],
        (Service::Orders, "early_events") => &[
            ("id", "numbered by the table"),
            ("received_at", CLOCK),
            ("traceparent", SPAN),
        ],
        (Service::Payments, "payments") => &[
            ("tries", CALLS),
            ("exposed", CALLS),
            ("due_at", CLOCK),
            ("traceparent", SPAN),
            ("requested_at", CLOCK),
            ("changed_at", CLOCK),
        ],
        (Service::Payments, "payment_attempts") => &[(ALL, CALLS)],
        (Service::Assignment, "drivers") => &[("version", CYCLES)],
        (Service::Assignment, "pending_assignments") => &[
            ("version", CYCLES),
            ("changed_at", CLOCK),
            ("traceparent", SPAN),
        ],
        (Service::Assignment, "assignments") => &[("version", CYCLES)],
        (Service::Notifier, "notifications") => &[
            ("status", CALLS),
            ("reason", CALLS),
            ("overtaken_by", CALLS),
            ("attempts", CALLS),
            ("detail", CALLS),
            ("due_at", CLOCK),
            ("expires_at", CLOCK),
            ("created_at", CLOCK),
            ("changed_at", CLOCK),
            ("traceparent", SPAN),
        ],
        _ => &[],
    }
}
