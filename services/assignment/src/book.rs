//! The memory of a lane: the scheduler of a geo, who holds what, and what this cycle has changed. Pure: no clock, no I/O.
//!
//! A book rebuilt from the tables is equal to the one that wrote them (a property test holds it to that), so it may be
//! thrown away at any time. It keeps orders that are open and all drivers; what has ended is asked from the tables.
//!
//! A cycle uses it in this order: [`Book::recall`] what the tables know of orders it does not; [`Book::apply`] each
//! message; [`Book::tick`] when one is due; store [`Book::take_ended`] and [`Book::commitments`]; [`Book::conclude`] with
//! those that the tables refused; store [`Book::take_changes`]; publish [`Book::take_facts`]. After an error anywhere it is dropped.

mod changes;
mod drivers;
mod drives;
mod follow;
mod foretell;
mod requests;
mod ticks;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use contracts::Geo;
use contracts::driver_assignment::ReleaseReason;
use contracts::streams::{DriverAssignmentRequest, KitchenEvent};
use dispatch::{Applied, At, DriverId, Input, OrderId, Scheduler};
use runtime::{Reject, Trace, Verdict};
use uuid::Uuid;

use crate::event::{Event, happened_at};
use crate::facts::{About, Fact};
use crate::order::{Drivers, Order, OrderState, Orders};
use crate::units;

pub use changes::{
    Changes, Commitment, DriverRow, EndedRow, OrderRow, PhaseRow, RequestRow, active_phase,
};
pub use drivers::{Pickup, announced_shift};
pub use drives::DriveRow;
pub use follow::is_of_tick;
pub use foretell::caused_by;
pub use requests::request;
pub use ticks::{Pulse, Ticked};

/// See the module.
#[derive(Debug)]
pub struct Book {
    geo: Geo,
    scheduler: Scheduler,
    orders: Orders,
    drivers: Drivers,
    facts: Vec<Fact>,
    /// What the tick of this cycle decided; it stands once the tables have taken it.
    ticked: Option<Ticked>,
    /// Of this cycle, for metrics.
    pickups: Vec<Pickup>,
    touched: Touched,
}

/// What the current cycle has changed, in the order in which rows are locked.
#[derive(Debug, Default)]
struct Touched {
    orders: BTreeSet<OrderId>,
    drivers: BTreeSet<DriverId>,
    /// Orders whose assignment has reached another phase.
    phases: BTreeSet<OrderId>,
    ended: Vec<EndedRow>,
    /// By hour, end and order.
    drives: BTreeMap<(u8, At, OrderId), DriveRow>,
    /// Not changed, but in memory for this cycle only unless it opens.
    recalled: Vec<OrderId>,
}

impl Touched {
    fn is_empty(&self) -> bool {
        let Self {
            orders,
            drivers,
            phases,
            ended,
            drives,
            recalled,
        } = self;
        orders.is_empty()
            && drivers.is_empty()
            && phases.is_empty()
            && ended.is_empty()
            && drives.is_empty()
            && recalled.is_empty()
    }
}

/// Where a message came from.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    pub partition: i32,
    /// Broker time in milliseconds since the epoch; -1 when there is none.
    pub timestamp_ms: i64,
    /// The context that facts about a request carry on.
    pub trace: &'a Trace,
}

impl Book {
    /// From what the tables hold: the scheduler restored from their snapshot, and the mirrors of their rows.
    pub fn new(geo: Geo, scheduler: Scheduler, orders: Orders, drivers: Drivers) -> Self {
        Self {
            geo,
            scheduler,
            orders,
            drivers,
            facts: Vec::new(),
            ticked: None,
            pickups: Vec::new(),
            touched: Touched::default(),
        }
    }

    pub fn geo(&self) -> &Geo {
        &self.geo
    }

    pub fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    pub fn orders(&self) -> &Orders {
        &self.orders
    }

    pub fn drivers(&self) -> &Drivers {
        &self.drivers
    }

    /// Whether the order is in memory; if not, the tables may still know it.
    pub fn knows(&self, order: OrderId) -> bool {
        self.orders.contains_key(&order)
    }

    /// Takes in what the tables know of an order that is not open, for this cycle.
    pub fn recall(&mut self, order_id: OrderId, order: Order) {
        self.orders.insert(order_id, order);
        self.touched.recalled.push(order_id);
    }

    /// Applies a message.
    pub fn apply(&mut self, event: &Event, origin: Origin<'_>, now: DateTime<Utc>) -> Verdict {
        if event.geo() != self.geo.as_str() {
            return Verdict::Reject(Reject::new(
                "wrong_geo",
                format!("geo = {:?}, in {}", event.geo(), self.geo),
            ));
        }
        match event {
            Event::Request(DriverAssignmentRequest::AssignmentRequested(event)) => {
                self.requested(event, origin)
            }
            Event::Request(DriverAssignmentRequest::AssignmentCancelled(event)) => {
                self.cancelled(event, origin, now)
            }
            Event::Kitchen(event) => self.kitchen(event, origin),
            Event::Driver(event) => self.driver(event, origin, now),
            Event::Location(event) => match units::point(&event.location) {
                Ok(point) => {
                    let at = happened_at(event.occurred_at, origin.timestamp_ms);
                    self.sight(&DriverId::new(&*event.driver_id), point, at);
                    Verdict::Done
                }
                Err(error) => invalid("location", error),
            },
        }
    }

    fn kitchen(&mut self, event: &KitchenEvent, origin: Origin<'_>) -> Verdict {
        let (order_id, ready_at, said_at) = match event {
            // Orders withdraws the request if there is one.
            KitchenEvent::KitchenRejected(_) => return Verdict::Skip("concerns_orders"),
            KitchenEvent::PrepTimeChanged(event) => {
                (event.order_id, event.ready_at, event.occurred_at)
            }
            KitchenEvent::FoodReady(event) => (event.order_id, event.ready_at, event.occurred_at),
        };
        let order_id = OrderId(order_id);
        let (ready_at, said_at) = (
            units::at(ready_at),
            happened_at(said_at, origin.timestamp_ms),
        );
        let announced = OrderState::Announced { ready_at, said_at };
        match self.orders.get_mut(&order_id) {
            None => {
                self.orders.insert(
                    order_id,
                    Order {
                        row_version: 0,
                        order_version: 0,
                        state: announced,
                    },
                );
            }
            Some(Order {
                state: OrderState::Announced { said_at: known, .. },
                ..
            }) if *known >= said_at => {
                return Verdict::Skip("overtaken");
            }
            Some(
                order @ Order {
                    state: OrderState::Announced { .. },
                    ..
                },
            ) => order.state = announced,
            Some(Order {
                state: OrderState::Closed { .. },
                ..
            }) => return Verdict::Skip("order_ended"),
            Some(Order {
                state: OrderState::Open(_),
                ..
            }) => {
                let applied = self.scheduler.apply(Input::ReadyAt {
                    order_id,
                    ready_at,
                    at: said_at,
                });
                if applied != Applied::Changed {
                    return Verdict::Skip("overtaken");
                }
            }
        }
        self.touched.orders.insert(order_id);
        Verdict::Done
    }

    /// Ends an order here: a tombstone, or nothing at all once it is delivered.
    fn close(
        &mut self,
        order_id: OrderId,
        row_version: i32,
        order_version: i32,
        delivered_by: Option<DriverId>,
    ) {
        let state = OrderState::Closed { delivered_by };
        self.orders.insert(
            order_id,
            Order {
                row_version,
                order_version,
                state,
            },
        );
        self.touched.orders.insert(order_id);
    }

    /// The order leaves its driver's hands, if it was in any: his row, the end of the assignment's row, and the fact.
    fn put_down(
        &mut self,
        order_id: OrderId,
        at: At,
        phase: &'static str,
        released: Option<(ReleaseReason, Option<Uuid>)>,
        now: DateTime<Utc>,
    ) {
        let Some(order) = self.orders.get_mut(&order_id) else {
            return;
        };
        let order_version = order.order_version;
        let Some(open) = order.open_mut() else { return };
        let Some(held) = open.held.take() else { return };
        if let Some((reason, cause)) = released {
            let about = About {
                geo: &self.geo,
                order_id: order_id.0,
                order_version,
                attempt: held.attempt,
                now,
            };
            let record = about
                .released(held.driver_id.as_str(), reason, cause)
                .into();
            self.facts.push(Fact {
                partition: open.partition,
                traceparent: open.traceparent.clone(),
                record,
            });
        }
        self.touched.phases.remove(&order_id);
        self.touched.ended.push(EndedRow {
            order_id,
            order_version,
            attempt: held.attempt,
            version: held.row_version,
            phase,
            at,
        });
        self.touched.orders.insert(order_id);
        if let Some(driver) = self.drivers.get_mut(&held.driver_id) {
            driver.put_down(order_id, at);
            self.touched.drivers.insert(held.driver_id);
        }
    }

    /// The assignments that ended, in order; to be stored before commitments, which may take the same drivers again.
    pub fn take_ended(&mut self) -> Vec<EndedRow> {
        std::mem::take(&mut self.touched.ended)
    }

    /// The pickups that drivers told of.
    pub fn take_pickups(&mut self) -> Vec<Pickup> {
        std::mem::take(&mut self.pickups)
    }

    /// The records to publish, in order.
    pub fn take_facts(&mut self) -> Vec<Fact> {
        std::mem::take(&mut self.facts)
    }
}

fn invalid(field: &str, problem: impl std::fmt::Display) -> Verdict {
    Verdict::Reject(Reject::new("invalid_field", format!("{field}: {problem}")))
}
