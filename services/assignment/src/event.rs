//! What a lane hears: the records of its sources, with the instants that dispatch orders them by.

use chrono::{DateTime, Utc};
use contracts::Message as _;
use contracts::driver::DriverLocation;
use contracts::streams::{DriverAssignmentRequest, DriverEvent, KitchenEvent};
use dispatch::At;

use crate::units;

/// A decoded message.
#[derive(Clone, Debug, PartialEq)]
// Boxing the large variants would cost an allocation per message.
#[allow(clippy::large_enum_variant)]
pub enum Event {
    Request(DriverAssignmentRequest),
    Kitchen(KitchenEvent),
    Driver(DriverEvent),
    Location(DriverLocation),
}

impl Event {
    /// The geo as written.
    pub fn geo(&self) -> &str {
        match self {
            Self::Request(event) => event.geo(),
            Self::Kitchen(event) => event.geo(),
            Self::Driver(event) => event.geo(),
            Self::Location(event) => &event.geo,
        }
    }

    pub fn event_id(&self) -> uuid::Uuid {
        match self {
            Self::Request(event) => event.event_id(),
            Self::Kitchen(event) => event.event_id(),
            Self::Driver(event) => event.event_id(),
            Self::Location(event) => event.event_id,
        }
    }

    /// The order it is about, for those that are about one.
    pub fn order_id(&self) -> Option<uuid::Uuid> {
        Some(match self {
            Self::Request(DriverAssignmentRequest::AssignmentRequested(event)) => event.order_id,
            Self::Request(DriverAssignmentRequest::AssignmentCancelled(event)) => event.order_id,
            Self::Kitchen(KitchenEvent::PrepTimeChanged(event)) => event.order_id,
            Self::Kitchen(KitchenEvent::FoodReady(event)) => event.order_id,
            Self::Driver(DriverEvent::AssignmentAccepted(event)) => event.order_id,
            Self::Driver(DriverEvent::AssignmentDeclined(event)) => event.order_id,
            Self::Driver(DriverEvent::DriverArrived(event)) => event.order_id,
            Self::Driver(DriverEvent::OrderPickedUp(event)) => event.order_id,
            Self::Driver(DriverEvent::OrderDropped(event)) => event.order_id,
            Self::Kitchen(KitchenEvent::KitchenRejected(_))
            | Self::Driver(
                DriverEvent::DriverOnline(_)
                | DriverEvent::DriverOffline(_)
                | DriverEvent::ShiftAnnounced(_),
            )
            | Self::Location(_) => return None,
        })
    }
}

/// The instant of an event: by its writer's clock, but never after the message was written to the log. A phone whose clock
/// runs ahead would otherwise fence its own later words. Both are in the log, so a replay computes the same.
pub fn happened_at(occurred_at: DateTime<Utc>, timestamp_ms: i64) -> At {
    let occurred_at = units::at(occurred_at);
    if timestamp_ms < 0 {
        occurred_at
    } else {
        occurred_at.min(At(timestamp_ms.saturating_mul(1_000) + 999))
    }
}
