//! What a lane remembers of an order and of a driver beside the scheduler: the mirror of their rows.
//!
//! The facts that decide (request, trip, position) live in the scheduler alone; here is what tables and records need.
//! Orders that have ended are dropped after the cycle: the tables answer for them when something late arrives.

use std::sync::Arc;

use dispatch::{At, DriverId, DriverRecord, LastDrop, OrderId, Point, Shift, TripId};
use foldhash::HashMap;
use indexmap::IndexMap;
use uuid::Uuid;

/// Version of a row in the tables, for compare-and-set; 0: there is none yet.
pub type RowVersion = i32;

/// The orders of a lane that are open. Looked up, and gone through where the order does not matter.
pub type Orders = HashMap<OrderId, Order>;

/// All drivers of a lane: many, and none ever leaves, so they lie side by side.
pub type Drivers = IndexMap<DriverId, Driver, foldhash::fast::RandomState>;

/// An order that assignment has heard of.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    pub row_version: RowVersion,
    /// Of the newest request or cancellation; 0 before any.
    pub order_version: i32,
    pub state: OrderState,
}

#[derive(Clone, Debug, PartialEq)]
pub enum OrderState {
    /// Only the kitchen has spoken of it.
    Announced { ready_at: At, said_at: At },
    /// It wants a driver, or has one.
    Open(OpenOrder),
    /// Withdrawn, failed, or delivered by this driver.
    Closed { delivered_by: Option<DriverId> },
}

#[derive(Clone, Debug, PartialEq)]
pub struct OpenOrder {
    /// The partition on which its request arrived: all facts about it go to the same number.
    pub partition: i32,
    /// event_id of the request that facts answer.
    pub request_id: Uuid,
    /// The trace that facts carry on.
    pub traceparent: Arc<str>,
    pub held: Option<Held>,
}

/// Who holds an order: the mirror of an active row of `assignments`.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    pub row_version: RowVersion,
    pub attempt: u32,
    pub driver_id: DriverId,
}

impl Order {
    pub fn open(&self) -> Option<&OpenOrder> {
        match &self.state {
            OrderState::Open(open) => Some(open),
            OrderState::Announced { .. } | OrderState::Closed { .. } => None,
        }
    }

    pub fn open_mut(&mut self) -> Option<&mut OpenOrder> {
        match &mut self.state {
            OrderState::Open(open) => Some(open),
            OrderState::Announced { .. } | OrderState::Closed { .. } => None,
        }
    }

    pub fn held(&self) -> Option<&Held> {
        self.open()?.held.as_ref()
    }
}

/// A driver as his row has him.
#[derive(Clone, Debug, PartialEq)]
pub struct Driver {
    pub row_version: RowVersion,
    pub on_duty: bool,
    /// Event time of the last online or offline.
    pub duty_at: At,
    pub shift_end: Option<At>,
    pub free_since: At,
    /// Where he came on duty or last delivered. The newest position is the scheduler's; which pings it had heard by then is
    /// not to be seen here, or the row would depend on which of two topics was read first.
    pub seen: Option<(Point, At)>,
    /// The trip that he is on.
    pub active_trip: Option<TripId>,
    /// The orders of it that he still holds, ascending: the active rows of `assignments`. One as a rule, so no set.
    pub held: Vec<OrderId>,
    /// His last delivery on it.
    pub last_drop: Option<Box<LastDrop>>,
    /// What was announced and has not begun. Boxed like the last delivery: there are many drivers, and few have either.
    pub next_shift: Option<Box<Shift>>,
}

impl Driver {
    pub fn unknown() -> Self {
        Self {
            row_version: 0,
            on_duty: false,
            duty_at: At(0),
            shift_end: None,
            free_since: At(0),
            seen: None,
            active_trip: None,
            held: Vec::new(),
            last_drop: None,
            next_shift: None,
        }
    }

    /// As the column `status` has it.
    pub fn status(&self) -> &'static str {
        match (self.active_trip, self.on_duty) {
            (Some(_), _) => "busy",
            (None, true) => "free",
            (None, false) => "offline",
        }
    }

    /// The order is one of the trip that he sets out for, or is on.
    pub fn take_up(&mut self, order: OrderId, trip: TripId) {
        self.active_trip = Some(trip);
        if let Err(place) = self.held.binary_search(&order) {
            self.held.reserve_exact(1);
            self.held.insert(place, order);
        }
    }

    /// He does not hold the order any more; with the last one his trip is over.
    pub fn put_down(&mut self, order: OrderId, at: At) {
        self.held.retain(|held| *held != order);
        if self.held.is_empty() {
            self.held = Vec::new();
            (self.active_trip, self.last_drop) = (None, None);
            self.free_since = self.free_since.max(at);
        }
    }

    /// On a trip that goes on he has delivered here.
    pub fn dropped(&mut self, drop: LastDrop) {
        let newest = self
            .last_drop
            .as_ref()
            .is_none_or(|known| known.at <= drop.at);
        if newest && self.active_trip.is_some() {
            self.last_drop = Some(Box::new(drop));
        }
    }

    /// What the scheduler is told of him when a lane is taken over.
    pub fn record(&self, id: &DriverId) -> DriverRecord {
        DriverRecord {
            driver_id: id.clone(),
            online: self.on_duty,
            duty_at: self.duty_at,
            shift_end: self.shift_end,
            free_since: self.free_since,
            position: self.seen.map(|(point, _)| point),
            seen_at: self.seen.map(|(_, at)| at),
            last_drop: self.last_drop.as_deref().copied(),
            next_shift: self.next_shift.as_deref().copied(),
        }
    }
}
