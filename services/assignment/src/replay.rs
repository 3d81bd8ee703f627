//! The record of a tick that decided something: everything that replay needs to decide the same again.

use chrono::{DateTime, Utc};
use contracts::driver_assignment::{DispatchTick, SourcePosition};
use contracts::{Geo, tick_id};
use dispatch::OrderId;
use runtime::Lane;

use crate::book::Ticked;
use crate::config::GeoRules;
use crate::units;

/// `positions`: next offset to read of each of the lane's sources, as it was when the tick ran.
pub fn dispatch_tick(
    geo: &Geo,
    rules: &GeoRules,
    lane: &Lane,
    positions: &[i64],
    ticked: &Ticked,
    now: DateTime<Utc>,
) -> DispatchTick {
    let tick = &ticked.tick;
    let ticked_at = units::instant(tick.at);
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    let positions = lane
        .sources
        .iter()
        .zip(positions)
        .map(|(source, offset)| SourcePosition {
            topic: source.source.topic.to_string(),
            partition: source.partition,
            offset: *offset,
        });
    let mut parameters = rules.parameters.clone();
    if !ticked.refused.is_empty() {
        // Not an input of this geo: a replay has to be told that these decisions were taken back.
        let refused: Vec<String> = ticked.refused.iter().map(OrderId::to_string).collect();
        parameters.insert("refused".to_owned(), refused.join(","));
    }
    DispatchTick {
        event_id: tick_id(geo, ticked_at),
        occurred_at: now,
        geo: geo.to_string(),
        ticked_at,
        policy_name: tick.policy.name.to_owned(),
        policy_version: tick.policy.version.to_string(),
        parameters,
        positions: positions.collect(),
        pending: count(ticked.pending_before),
        due: count(tick.due),
        free_drivers: count(ticked.candidates),
        matched: count(tick.matched),
        cost: tick.cost,
        listening_since: Some(units::instant(ticked.listening_since)),
        tolerance_s: Some(tick.tolerance_s).filter(|tolerance| tolerance.is_finite()),
        travel_factor: Some(tick.travel_factor),
    }
}
