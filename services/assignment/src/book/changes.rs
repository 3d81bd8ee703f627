//! What a cycle changed, as rows: the difference between the tables and the book.

use dispatch::{Assignment, At, DriverId, OrderId, Phase, Request};

use super::{Book, DriveRow};
use crate::order::{Driver, OpenOrder, OrderState, RowVersion};

/// A row to insert into `assignments`.
#[derive(Clone, Copy, Debug)]
pub struct Commitment<'a> {
    pub order_version: i32,
    pub assignment: &'a Assignment,
    /// When the driver came on duty here: if he has done so in another geo since, he is that one's. `None`: he may be had anyway.
    pub duty_at: Option<At>,
}

/// All changes but commitments and ends; versions are those the rows have now.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    pub phases: Vec<PhaseRow>,
    pub drivers: Vec<DriverRow>,
    pub orders: Vec<OrderRow>,
    pub drives: Vec<DriveRow>,
}

/// An assignment that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct EndedRow {
    pub order_id: OrderId,
    pub order_version: i32,
    pub attempt: u32,
    pub version: RowVersion,
    pub phase: &'static str,
    pub at: At,
}

/// An assignment that has come further.
#[derive(Clone, Debug, PartialEq)]
pub struct PhaseRow {
    pub order_id: OrderId,
    pub order_version: i32,
    pub attempt: u32,
    pub version: RowVersion,
    pub phase: &'static str,
    pub at: At,
    pub reported: bool,
}

/// A driver; `driver.row_version` is what the row has now, 0 when there is none.
#[derive(Clone, Debug, PartialEq)]
pub struct DriverRow {
    pub driver_id: DriverId,
    pub driver: Driver,
}

/// A row of `pending_assignments`.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderRow {
    pub order_id: OrderId,
    pub version: RowVersion,
    pub order_version: i32,
    pub row: RequestRow,
}

#[derive(Clone, Debug, PartialEq)]
// Most rows are open ones.
#[allow(clippy::large_enum_variant)]
pub enum RequestRow {
    Announced {
        ready_at: At,
        said_at: At,
    },
    Open {
        order: OpenOrder,
        request: Request,
    },
    /// A tombstone.
    Closed,
    /// Delivered: `assignments` tells the story.
    Gone,
}

impl Book {
    /// The changes of this cycle; the book takes them as stored and forgets the orders that have ended.
    pub fn take_changes(&mut self) -> Changes {
        let touched = std::mem::take(&mut self.touched);
        let mut changes = Changes {
            drives: touched.drives.into_values().collect(),
            ..Changes::default()
        };
        for order_id in touched.phases {
            changes.phases.extend(self.take_phase(order_id));
        }
        for driver_id in touched.drivers {
            let Some(driver) = self.drivers.get_mut(&driver_id) else {
                continue;
            };
            changes.drivers.push(DriverRow {
                driver_id,
                driver: driver.clone(),
            });
            driver.row_version += 1;
        }
        for order_id in touched.orders {
            changes.orders.extend(self.take_order(order_id));
        }
        for order_id in touched.recalled {
            if self
                .orders
                .get(&order_id)
                .is_some_and(|order| order.open().is_none())
            {
                self.orders.remove(&order_id);
            }
        }
        changes
    }

    fn take_phase(&mut self, order_id: OrderId) -> Option<PhaseRow> {
        let assignment = self.scheduler.assignment_of(order_id)?;
        let order = self.orders.get_mut(&order_id)?;
        let order_version = order.order_version;
        let held = order.open_mut()?.held.as_mut()?;
        let version = held.row_version;
        held.row_version += 1;
        Some(PhaseRow {
            order_id,
            order_version,
            attempt: held.attempt,
            version,
            phase: phase_name(assignment.phase),
            at: assignment.phase_at,
            reported: assignment.reported,
        })
    }

    fn take_order(&mut self, order_id: OrderId) -> Option<OrderRow> {
        let order = self.orders.get_mut(&order_id)?;
        let (version, order_version) = (order.row_version, order.order_version);
        let row = match &order.state {
            OrderState::Announced { ready_at, said_at } => RequestRow::Announced {
                ready_at: *ready_at,
                said_at: *said_at,
            },
            OrderState::Open(open) => {
                let assigned = || {
                    self.scheduler
                        .assignment_of(order_id)
                        .map(|assignment| &assignment.request)
                };
                let request = self
                    .scheduler
                    .request_of(order_id)
                    .or_else(assigned)?
                    .clone();
                RequestRow::Open {
                    order: open.clone(),
                    request,
                }
            }
            OrderState::Closed { delivered_by: None } => RequestRow::Closed,
            OrderState::Closed {
                delivered_by: Some(_),
            } => RequestRow::Gone,
        };
        order.row_version += 1;
        let open = matches!(row, RequestRow::Open { .. });
        if !open {
            self.orders.remove(&order_id);
        }
        // It may have come and gone within one cycle.
        (version > 0 || row != RequestRow::Gone).then_some(OrderRow {
            order_id,
            version,
            order_version,
            row,
        })
    }
}

/// As the column `phase` has it.
pub fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Offered => "offered",
        Phase::Accepted => "accepted",
        Phase::AtRestaurant => "at_restaurant",
        Phase::PickedUp => "picked_up",
        Phase::Delivered => "delivered",
    }
}

/// Of an active row; `None` for a name that no active row has.
pub fn active_phase(name: &str) -> Option<Phase> {
    [
        Phase::Offered,
        Phase::Accepted,
        Phase::AtRestaurant,
        Phase::PickedUp,
    ]
    .into_iter()
    .find(|phase| phase_name(*phase) == name)
}
