//! Names of the runtime's metrics. Labels are from closed sets, or lanes and partitions of this instance; never order ids.
//!
//! Violations stay 0 while checks grow: a violation counter that never moves means something only if its checks do.

/// Histogram, seconds, by `phase` (decode, apply, commit, publish, total).
pub(crate) const CYCLE_SECONDS: &str = "runtime_cycle_seconds";
/// Histogram, seconds of a Kafka transaction by `phase` (first_record, offsets, other_records, database: until PostgreSQL had
/// committed, commit).
pub(crate) const TRANSACTION_SECONDS: &str = "runtime_transaction_seconds";
/// Histogram, events per cycle.
pub(crate) const CYCLE_EVENTS: &str = "runtime_cycle_events";
/// Counter by `verdict` (done, skip, reject, observed) and `reason`.
pub(crate) const MESSAGES: &str = "runtime_messages_total";
/// Counter of published records.
pub(crate) const RECORDS: &str = "runtime_records_total";
/// Counter of failed cycles by `kind`.
pub(crate) const CYCLE_FAILURES: &str = "runtime_cycle_failures_total";
/// Counter of recovered lanes.
pub(crate) const RECOVERIES: &str = "runtime_recoveries_total";
/// Counter of refusals of a stale owner, by `log` (postgres, kafka).
pub(crate) const FENCES: &str = "runtime_fences_total";
/// Counter by `kind` (assigned, revoked, lost).
pub(crate) const REBALANCES: &str = "runtime_rebalances_total";
/// Gauge of lanes by `phase`.
pub(crate) const LANES: &str = "runtime_lanes";
/// Gauge by topic and partition: stable messages not yet applied.
pub(crate) const LAG_MESSAGES: &str = "runtime_lag_messages";
/// Gauge by lane: age of the oldest message fetched and not yet applied.
pub(crate) const LAG_SECONDS: &str = "runtime_lag_seconds";
/// Gauge by lane: outbox rows not known to be published.
pub(crate) const OUTBOX_UNPUBLISHED: &str = "runtime_outbox_unpublished_rows";
/// Histogram, seconds between a timer's instant and the cycle that fired it.
pub(crate) const TIMER_LATENESS: &str = "runtime_timer_lateness_seconds";
/// Counters by `kind`.
pub(crate) const VIOLATIONS: &str = "runtime_invariant_violations_total";
pub(crate) const CHECKS: &str = "runtime_invariant_checks_total";
/// Counter of lanes that paused because too many of their messages were rejected.
pub(crate) const REJECT_PAUSES: &str = "runtime_reject_pauses_total";
