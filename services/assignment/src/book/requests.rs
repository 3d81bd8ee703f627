//! What orders ask: a driver for an order, or none any more. Versions fence what is stale.

use chrono::{DateTime, Utc};
use contracts::driver_assignment::{AssignmentCancelled, AssignmentRequested, ReleaseReason};
use dispatch::{Applied, Input, OrderId, Phase, Request, RestaurantId};
use runtime::{Reject, Verdict};

use super::{Book, Origin};
use crate::event::happened_at;
use crate::order::{OpenOrder, Order, OrderState};
use crate::units;

impl Book {
    pub(super) fn requested(&mut self, event: &AssignmentRequested, origin: Origin<'_>) -> Verdict {
        let mut request = match request(event) {
            Ok(request) => request,
            Err(reject) => return Verdict::Reject(reject),
        };
        let order_id = request.order_id;
        let known = self.orders.get(&order_id);
        match known.map(|order| (&order.state, event.order_version > order.order_version)) {
            None => {}
            Some((OrderState::Announced { ready_at, said_at }, _)) => {
                // The kitchen's word stands above what the request was made from.
                (request.ready_at, request.ready_said_at) = (*ready_at, *said_at);
            }
            Some((
                OrderState::Closed {
                    delivered_by: Some(_),
                },
                _,
            )) => return Verdict::Skip("delivered"),
            Some((_, false)) => return Verdict::Skip("stale_version"),
            Some((OrderState::Open(open), true)) if open.held.is_some() => {
                return Verdict::Skip("already_assigned");
            }
            Some((OrderState::Open(_) | OrderState::Closed { .. }, true)) => {}
        }
        // The scheduler counts versions of its own on top (one per release); a newer request is newer there too.
        if let Some(waiting) = self.scheduler.request_of(order_id) {
            request.version = request.version.max(waiting.version + 1);
        }
        let row_version = known.map_or(0, |order| order.row_version);
        let open = OpenOrder {
            partition: origin.partition,
            request_id: event.event_id,
            traceparent: origin.trace.traceparent().into(),
            held: None,
        };
        let order = Order {
            row_version,
            order_version: event.order_version,
            state: OrderState::Open(open),
        };
        self.orders.insert(order_id, order);
        self.touched.orders.insert(order_id);
        let applied = self.scheduler.apply(Input::Requested(request));
        debug_assert_eq!(
            applied,
            Applied::Changed,
            "a request that is newer here is newer there"
        );
        Verdict::Done
    }

    pub(super) fn cancelled(
        &mut self,
        event: &AssignmentCancelled,
        origin: Origin<'_>,
        now: DateTime<Utc>,
    ) -> Verdict {
        let order_id = OrderId(event.order_id);
        let known = self.orders.get(&order_id);
        let (row_version, order_version) =
            known.map_or((0, 0), |order| (order.row_version, order.order_version));
        let stale = known.is_some() && event.order_version < order_version;
        match known.map(|order| &order.state) {
            Some(OrderState::Closed {
                delivered_by: Some(_),
            }) => return Verdict::Skip("delivered"),
            Some(_) if stale => return Verdict::Skip("stale_version"),
            Some(OrderState::Closed { .. }) if event.order_version == order_version => {
                return Verdict::Skip("repeated");
            }
            None | Some(OrderState::Announced { .. } | OrderState::Closed { .. }) => {}
            Some(OrderState::Open(_)) => {
                let phase = self
                    .scheduler
                    .assignment_of(order_id)
                    .map(|assignment| assignment.phase);
                if phase >= Some(Phase::PickedUp) {
                    return Verdict::Skip("already_picked_up");
                }
                let at = happened_at(event.occurred_at, origin.timestamp_ms);
                self.scheduler.apply(Input::Withdrawn { order_id, at });
                self.put_down(
                    order_id,
                    at,
                    "released",
                    Some((ReleaseReason::OrderCancelled, Some(event.event_id))),
                    now,
                );
            }
        }
        self.close(order_id, row_version, event.order_version, None);
        Verdict::Done
    }
}

/// The request as dispatch has it; a value that dispatch could not work with is rejected by name.
pub fn request(event: &AssignmentRequested) -> Result<Request, Reject> {
    let field = |name: &str, value: i32| {
        Reject::new(
            "invalid_field",
            format!("{name} = {value}, must be at least 1"),
        )
    };
    let place = |name: &str, point| {
        units::point(point)
            .map_err(|error| Reject::new("invalid_field", format!("{name}: {error}")))
    };
    if event.order_version < 1 {
        return Err(field("order_version", event.order_version));
    }
    if event.search_radius_m < 1 {
        return Err(field("search_radius_m", event.search_radius_m));
    }
    let attempt = u32::try_from(event.attempt)
        .ok()
        .filter(|attempt| *attempt > 0);
    let placed_at = units::at(event.placed_at);
    Ok(Request {
        order_id: OrderId(event.order_id),
        version: event.order_version,
        attempt: attempt.ok_or_else(|| field("attempt", event.attempt))?,
        restaurant_id: RestaurantId::new(&*event.restaurant.id),
        restaurant: place("restaurant.location", &event.restaurant.location)?,
        customer: place("customer_location", &event.customer_location)?,
        placed_at,
        requested_at: units::at(event.occurred_at),
        ready_at: units::at(event.ready_at),
        // An estimate made when the order was placed: whatever the kitchen says after that is newer.
        ready_said_at: placed_at,
        search_radius_m: f64::from(event.search_radius_m),
        cooled: Default::default(),
    })
}
