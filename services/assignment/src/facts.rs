//! The records of `driver_assignment.events`: what assignment tells the world about an order.
//!
//! Every fact carries the version of the request that it answers, and an id derived from order, version, record and
//! attempt: a re-emission is recognisable, and a second assignment of the same order is another event.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use contracts::driver_assignment::{
    AssignmentFailed, AssignmentReleased, DeliveryConfirmed, DriverAssigned, DriverAtRestaurant,
    DriverMissing, FailureReason, MissingReason, PickupConfirmed, ReleaseReason,
};
use contracts::streams::DriverAssignmentEvent;
use contracts::value::Place;
use contracts::{Geo, Record, event_id};
use dispatch::{Decision, Failure, Phase, Scheduler, Seconds};
use uuid::Uuid;

use crate::units::{instant, whole_seconds, wire_point};

/// A record to publish, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    pub partition: i32,
    pub traceparent: Arc<str>,
    pub record: DriverAssignmentEvent,
}

/// What all facts about one attempt at an order have in common.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    pub geo: &'a Geo,
    pub order_id: Uuid,
    pub order_version: i32,
    pub attempt: u32,
    pub now: DateTime<Utc>,
}

impl About<'_> {
    fn id<R: Record>(&self) -> Uuid {
        event_id(self.order_id, self.order_version, R::NAME, self.attempt)
    }

    fn attempt(&self) -> i32 {
        i32::try_from(self.attempt).unwrap_or(i32::MAX)
    }

    /// The decision that a driver is committed to the order, which the scheduler still holds.
    pub fn assigned(
        &self,
        request_id: Uuid,
        decision: &Decision,
        scheduler: &Scheduler,
    ) -> Option<DriverAssigned> {
        let request = &scheduler.assignment_of(decision.order_id)?.request;
        let (pickup_at, delivery_at) = scheduler.expected(decision.order_id)?;
        let timeout = scheduler.config().offer_timeout_s;
        let offer_expires_at = timeout.map(|span| decision.released_at.plus(Seconds(span)));
        Some(DriverAssigned {
            event_id: self.id::<DriverAssigned>(),
            occurred_at: self.now,
            geo: self.geo.to_string(),
            correlation_id: request_id,
            order_id: self.order_id,
            order_version: self.order_version,
            attempt: self.attempt(),
            driver_id: decision.driver_id.as_str().to_owned(),
            restaurant: Place {
                id: request.restaurant_id.as_str().to_owned(),
                location: wire_point(request.restaurant),
            },
            customer_location: wire_point(request.customer),
            driver_eta_to_restaurant_s: whole_seconds(decision.driver_eta_to_restaurant_s),
            restaurant_to_customer_s: whole_seconds(decision.restaurant_to_customer_s),
            slack_s: whole_seconds(decision.slack_s),
            due_at: instant(decision.due_at),
            released_at: instant(decision.released_at),
            score: decision.score,
            policy_name: decision.policy.name.to_owned(),
            policy_version: decision.policy.version.to_string(),
            expected_pickup_at: Some(instant(pickup_at)),
            expected_delivery_at: Some(instant(delivery_at)),
            offer_expires_at: offer_expires_at.map(instant),
            trip_id: (decision.trip.size > 1).then_some(decision.trip.id.0),
            trip_position: i32::from(decision.trip.position),
        })
    }

    /// The driver no longer holds the order.
    pub fn released(
        &self,
        driver_id: &str,
        reason: ReleaseReason,
        cause: Option<Uuid>,
    ) -> AssignmentReleased {
        AssignmentReleased {
            event_id: self.id::<AssignmentReleased>(),
            occurred_at: self.now,
            geo: self.geo.to_string(),
            correlation_id: cause,
            order_id: self.order_id,
            order_version: self.order_version,
            attempt: self.attempt(),
            driver_id: driver_id.to_owned(),
            reason,
        }
    }

    /// The driver is gone with the meal; `since` when.
    pub fn missing(
        &self,
        driver_id: &str,
        reason: MissingReason,
        since: DateTime<Utc>,
        cause: Option<Uuid>,
    ) -> DriverMissing {
        DriverMissing {
            event_id: self.id::<DriverMissing>(),
            occurred_at: self.now,
            geo: self.geo.to_string(),
            correlation_id: cause,
            order_id: self.order_id,
            order_version: self.order_version,
            attempt: self.attempt(),
            driver_id: driver_id.to_owned(),
            reason,
            since,
        }
    }

    /// Nobody will be looked for any more.
    pub fn failed(&self, request_id: Uuid, failure: &Failure) -> AssignmentFailed {
        AssignmentFailed {
            event_id: self.id::<AssignmentFailed>(),
            occurred_at: self.now,
            geo: self.geo.to_string(),
            correlation_id: request_id,
            order_id: self.order_id,
            order_version: self.order_version,
            attempt: self.attempt(),
            reason: failure_reason(failure.reason),
            retry_after_s: None,
            r#final: true,
        }
    }

    /// What the driver's having reached `phase` means to the order; accepting means nothing to others.
    pub fn reached(
        &self,
        phase: Phase,
        driver_id: &str,
        happened_at: DateTime<Utc>,
        cause: Uuid,
    ) -> Option<DriverAssignmentEvent> {
        let (geo, driver_id) = (self.geo.to_string(), driver_id.to_owned());
        let (occurred_at, order_id, order_version) = (self.now, self.order_id, self.order_version);
        Some(match phase {
            Phase::Offered | Phase::Accepted => return None,
            Phase::AtRestaurant => DriverAssignmentEvent::DriverAtRestaurant(DriverAtRestaurant {
                event_id: self.id::<DriverAtRestaurant>(),
                occurred_at,
                geo,
                correlation_id: cause,
                order_id,
                order_version,
                driver_id,
                arrived_at: happened_at,
            }),
            Phase::PickedUp => DriverAssignmentEvent::PickupConfirmed(PickupConfirmed {
                event_id: self.id::<PickupConfirmed>(),
                occurred_at,
                geo,
                correlation_id: cause,
                order_id,
                order_version,
                driver_id,
                picked_up_at: happened_at,
            }),
            Phase::Delivered => DriverAssignmentEvent::DeliveryConfirmed(DeliveryConfirmed {
                event_id: self.id::<DeliveryConfirmed>(),
                occurred_at,
                geo,
                correlation_id: cause,
                order_id,
                order_version,
                driver_id,
                delivered_at: happened_at,
            }),
        })
    }
}

fn failure_reason(reason: dispatch::FailureReason) -> FailureReason {
    match reason {
        // Whoever was there has declined or ignored it: for the order nobody is available.
        dispatch::FailureReason::NoAvailableDriver | dispatch::FailureReason::AttemptsExhausted => {
            FailureReason::NoAvailableDriver
        }
        dispatch::FailureReason::NoDriverInRadius => FailureReason::NoDriverInRadius,
        dispatch::FailureReason::Expired => FailureReason::Expired,
        dispatch::FailureReason::Abandoned => FailureReason::Abandoned,
    }
}

pub fn release_reason(reason: dispatch::ReleaseReason) -> ReleaseReason {
    match reason {
        dispatch::ReleaseReason::OfferExpired => ReleaseReason::OfferExpired,
        dispatch::ReleaseReason::DriverVanished => ReleaseReason::DriverVanished,
    }
}
