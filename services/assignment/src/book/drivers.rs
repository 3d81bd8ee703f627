//! What drivers say: on duty and off, where they are, and how far the orders they hold have come.

use chrono::{DateTime, Utc};
use contracts::driver::{DriverOffline, DriverOnline, ShiftAnnounced};
use contracts::driver_assignment::{MissingReason, ReleaseReason};
use contracts::streams::DriverEvent;
use contracts::value;
use dispatch::{
    Applied, Assignment, At, DriverId, Input, LastDrop, OrderId, Phase, Point, Seconds, Shift,
};
use runtime::{Reject, Verdict};
use uuid::Uuid;

use super::{Book, Origin, invalid};
use crate::decide::{Outcome, Standing, Word, decide};
use crate::event::happened_at;
use crate::facts::{About, Fact};
use crate::order::{Driver, OrderState};
use crate::units;

/// How well driver and food met.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pickup {
    /// From being ready to being picked up.
    pub food_waited: Seconds,
    /// From arriving to picking up, if he told of his arrival.
    pub driver_waited: Option<Seconds>,
    /// From arriving to the food being ready, likewise; negative: the food was there first.
    pub slack: Option<Seconds>,
}

/// What a driver speaks of.
pub(super) enum Spoken<'a> {
    Online(&'a DriverOnline),
    Offline(&'a DriverOffline),
    Announced(&'a ShiftAnnounced),
    OfOrder(Said<'a>),
}

/// A driver's word about an order.
pub(super) struct Said<'a> {
    pub(super) word: Word,
    pub(super) driver_id: &'a str,
    pub(super) order_id: Uuid,
    event_id: Uuid,
    occurred_at: DateTime<Utc>,
    pub(super) location: Option<&'a value::Point>,
}

impl Book {
    pub(super) fn driver(
        &mut self,
        event: &DriverEvent,
        origin: Origin<'_>,
        now: DateTime<Utc>,
    ) -> Verdict {
        match spoken(event) {
            Spoken::Online(event) => self.online(event, origin),
            Spoken::Offline(event) => self.offline(event, origin, now),
            Spoken::Announced(event) => self.announced(event, origin),
            Spoken::OfOrder(said) => self.says(&said, origin, now),
        }
    }

    fn online(&mut self, event: &DriverOnline, origin: Origin<'_>) -> Verdict {
        let point = match units::point(&event.location) {
            Ok(point) => point,
            Err(error) => return invalid("location", error),
        };
        let (driver_id, at) = (
            DriverId::new(&*event.driver_id),
            happened_at(event.occurred_at, origin.timestamp_ms),
        );
        let shift_end = event.shift_ends_at.map(units::at);
        let online = Input::DriverOnline {
            driver_id: driver_id.clone(),
            at,
            shift_end,
        };
        if self.scheduler.apply(online) != Applied::Changed {
            return Verdict::Skip("overtaken");
        }
        let driver = self
            .drivers
            .entry(driver_id.clone())
            .or_insert_with(Driver::unknown);
        if !driver.on_duty {
            driver.free_since = driver.free_since.max(at);
        }
        (driver.on_duty, driver.duty_at, driver.shift_end) = (true, at, shift_end);
        driver.next_shift = None;
        self.stood(&driver_id, point, at);
        self.touched.drivers.insert(driver_id);
        Verdict::Done
    }

    /// The driver need not be known: who will come for the first time counts as well.
    fn announced(&mut self, event: &ShiftAnnounced, origin: Origin<'_>) -> Verdict {
        let shift = match announced_shift(event) {
            Ok(shift) => shift,
            Err(reject) => return Verdict::Reject(reject),
        };
        let said_at = happened_at(event.occurred_at, origin.timestamp_ms);
        if shift.is_some_and(|shift| shift.ends <= said_at) {
            return Verdict::Skip("shift_is_over");
        }
        let driver_id = DriverId::new(&*event.driver_id);
        let announced = Input::ShiftAnnounced {
            driver_id: driver_id.clone(),
            shift,
        };
        if self.scheduler.apply(announced) != Applied::Changed {
            return Verdict::Skip("repeated");
        }
        let driver = self.drivers.entry(driver_id.clone());
        driver.or_insert_with(Driver::unknown).next_shift = shift.map(Box::new);
        self.touched.drivers.insert(driver_id);
        Verdict::Done
    }

    /// What he has not picked up somebody else takes over; with the rest he has to be found.
    fn offline(
        &mut self,
        event: &DriverOffline,
        origin: Origin<'_>,
        now: DateTime<Utc>,
    ) -> Verdict {
        let (driver_id, at) = (
            DriverId::new(&*event.driver_id),
            happened_at(event.occurred_at, origin.timestamp_ms),
        );
        if !self.drivers.contains_key(&driver_id) {
            return Verdict::Skip("unknown_driver");
        }
        let legs = self.scheduler.trip_of(&driver_id).iter();
        let carried: Vec<(OrderId, Phase, bool)> = legs
            .map(|leg| (leg.request.order_id, leg.phase, leg.reported))
            .collect();
        if self.scheduler.apply(Input::DriverOffline {
            driver_id: driver_id.clone(),
            at,
        }) != Applied::Changed
        {
            return Verdict::Skip("overtaken");
        }
        if let Some(driver) = self.drivers.get_mut(&driver_id) {
            (driver.on_duty, driver.duty_at, driver.shift_end) = (false, at, None);
        }
        self.touched.drivers.insert(driver_id.clone());
        for (order_id, phase, known) in carried {
            if phase < Phase::PickedUp {
                let cause = (ReleaseReason::DriverOffline, Some(event.event_id));
                self.give_back(order_id, &driver_id, at, cause, now);
            } else if !known {
                let since = (MissingReason::WentOffline, at);
                self.miss(order_id, since, Some(event.event_id), now);
            }
        }
        Verdict::Done
    }

    fn says(&mut self, said: &Said<'_>, origin: Origin<'_>, now: DateTime<Utc>) -> Verdict {
        let location = match said.location.map(units::point).transpose() {
            Ok(location) => location,
            Err(error) => return invalid("location", error),
        };
        let (order_id, driver_id) = (OrderId(said.order_id), DriverId::new(said.driver_id));
        let at = happened_at(said.occurred_at, origin.timestamp_ms);
        match decide(self.standing(order_id, &driver_id), said.word) {
            Outcome::Skip(reason) => return Verdict::Skip(reason),
            Outcome::Reject(kind) => {
                let message = format!(
                    "order_id = {order_id}, driver_id = {driver_id}, {:?}",
                    said.word
                );
                return Verdict::Reject(Reject::new(kind, message));
            }
            Outcome::GiveBack => {
                let cause = (ReleaseReason::DriverDeclined, Some(said.event_id));
                self.give_back(order_id, &driver_id, at, cause, now);
            }
            Outcome::Reach(phase) => {
                // Places on the way come with pings. This one counts even without, so it has to be in the driver's row,
                // or a rebuilt lane would know less.
                if phase == Phase::Delivered
                    && let Some(point) = location
                {
                    self.stood(&driver_id, point, at);
                }
                self.reach(order_id, &driver_id, phase, at, said.event_id, now);
            }
        }
        Verdict::Done
    }

    pub(super) fn standing(&self, order_id: OrderId, driver_id: &DriverId) -> Standing {
        match self.orders.get(&order_id).map(|order| &order.state) {
            None | Some(OrderState::Announced { .. }) => Standing::Unknown,
            Some(OrderState::Closed { delivered_by })
                if delivered_by.as_ref() == Some(driver_id) =>
            {
                Standing::DeliveredByHim
            }
            Some(OrderState::Closed { .. }) => Standing::Ended,
            Some(OrderState::Open(_)) => match self.scheduler.assignment_of(order_id) {
                None => Standing::Waiting,
                Some(assignment) if assignment.driver_id == *driver_id => {
                    Standing::Held(assignment.phase)
                }
                Some(_) => Standing::HeldByAnother,
            },
        }
    }

    fn reach(
        &mut self,
        order_id: OrderId,
        driver_id: &DriverId,
        phase: Phase,
        at: At,
        cause: Uuid,
        now: DateTime<Utc>,
    ) {
        let assignment = self.scheduler.assignment_of(order_id);
        let customer = assignment.map(|assignment| assignment.request.customer);
        if phase == Phase::PickedUp {
            self.pickups.extend(assignment.map(|it| met(it, at)));
        }
        if phase == Phase::Delivered {
            self.learn(order_id, at);
        }
        let input = Input::Progress {
            order_id,
            driver_id: driver_id.clone(),
            phase,
            at,
        };
        let applied = self.scheduler.apply(input);
        debug_assert_eq!(
            applied,
            Applied::Changed,
            "decided on what the scheduler holds"
        );
        let Some(order) = self.orders.get(&order_id) else {
            return;
        };
        let (row_version, order_version) = (order.row_version, order.order_version);
        if let Some(open) = order.open()
            && let Some(held) = &open.held
        {
            let about = About {
                geo: &self.geo,
                order_id: order_id.0,
                order_version,
                attempt: held.attempt,
                now,
            };
            let fact = about.reached(phase, driver_id.as_str(), units::instant(at), cause);
            let (partition, traceparent) = (open.partition, open.traceparent.clone());
            self.facts.extend(fact.map(|record| Fact {
                partition,
                traceparent,
                record,
            }));
        }
        if phase == Phase::Delivered {
            self.put_down(order_id, at, "delivered", None, now);
            if let Some((customer, driver)) = customer.zip(self.drivers.get_mut(driver_id)) {
                driver.dropped(LastDrop { at, customer });
            }
            self.close(
                order_id,
                row_version,
                order_version,
                Some(driver_id.clone()),
            );
        } else {
            self.touched.phases.insert(order_id);
        }
    }

    /// The driver does not take the order after all: it competes again, not for him.
    pub(super) fn give_back(
        &mut self,
        order_id: OrderId,
        driver_id: &DriverId,
        at: At,
        released: (ReleaseReason, Option<Uuid>),
        now: DateTime<Utc>,
    ) {
        let applied = self.scheduler.apply(Input::Declined {
            order_id,
            driver_id: driver_id.clone(),
            at,
        });
        debug_assert_eq!(
            applied,
            Applied::Changed,
            "decided on what the scheduler holds"
        );
        self.put_down(order_id, at, "released", Some(released), now);
    }

    /// The driver is gone with a meal: since when, and how it is known.
    pub(super) fn miss(
        &mut self,
        order_id: OrderId,
        (reason, since): (MissingReason, At),
        cause: Option<Uuid>,
        now: DateTime<Utc>,
    ) {
        let Some(order) = self.orders.get(&order_id) else {
            return;
        };
        let order_version = order.order_version;
        let Some(open) = order.open() else { return };
        let Some(held) = &open.held else { return };
        let about = About {
            geo: &self.geo,
            order_id: order_id.0,
            order_version,
            attempt: held.attempt,
            now,
        };
        let driver = held.driver_id.as_str();
        tracing::warn!(%order_id, driver, reason = reason.symbol(), "a driver is gone with a meal");
        metrics::counter!("assignment_drivers_missing_total", "geo" => self.geo.to_string())
            .increment(1);
        let record = about.missing(driver, reason, units::instant(since), cause);
        self.facts.push(Fact {
            partition: open.partition,
            traceparent: open.traceparent.clone(),
            record: record.into(),
        });
        self.touched.phases.insert(order_id);
    }

    /// Where he was by his own word, which is in his row.
    fn stood(&mut self, driver_id: &DriverId, position: Point, at: At) {
        self.scheduler.apply(Input::DriverStood {
            driver_id: driver_id.clone(),
            position,
            at,
        });
        if let Some(driver) = self.drivers.get_mut(driver_id)
            && driver.seen.is_none_or(|(_, known)| known <= at)
        {
            driver.seen = Some((position, at));
        }
    }

    /// A position, in memory only.
    pub(super) fn sight(&mut self, driver_id: &DriverId, position: Point, at: At) {
        self.scheduler.apply(Input::DriverPing {
            driver_id: driver_id.clone(),
            position,
            at,
        });
    }
}

pub(super) fn spoken(event: &DriverEvent) -> Spoken<'_> {
    macro_rules! said {
        ($word:ident, $event:expr, $location:expr) => {
            Spoken::OfOrder(Said {
                word: Word::$word,
                driver_id: &$event.driver_id,
                order_id: $event.order_id,
                event_id: $event.event_id,
                occurred_at: $event.occurred_at,
                location: $location,
            })
        };
    }
    match event {
        DriverEvent::DriverOnline(event) => Spoken::Online(event),
        DriverEvent::DriverOffline(event) => Spoken::Offline(event),
        DriverEvent::ShiftAnnounced(event) => Spoken::Announced(event),
        DriverEvent::AssignmentAccepted(event) => said!(Accepted, event, None),
        DriverEvent::AssignmentDeclined(event) => said!(Declined, event, None),
        DriverEvent::DriverArrived(event) => said!(Arrived, event, event.location.as_ref()),
        DriverEvent::OrderPickedUp(event) => said!(PickedUp, event, event.location.as_ref()),
        DriverEvent::OrderDropped(event) => said!(Dropped, event, event.location.as_ref()),
    }
}

/// The shift as dispatch has it, `None` where one is withdrawn; one that cannot be is rejected by name.
pub fn announced_shift(event: &ShiftAnnounced) -> Result<Option<Shift>, Reject> {
    let Some(shift) = &event.shift else {
        return Ok(None);
    };
    let start = units::point(&shift.location);
    let start =
        start.map_err(|error| Reject::new("invalid_field", format!("shift.location: {error}")))?;
    if shift.ends_at <= shift.starts_at {
        let problem = format!(
            "shift.ends_at = {}, must be after shift.starts_at = {}",
            shift.ends_at, shift.starts_at
        );
        return Err(Reject::new("invalid_field", problem));
    }
    Ok(Some(Shift {
        begins: units::at(shift.starts_at),
        ends: units::at(shift.ends_at),
        start,
    }))
}

fn met(assignment: &Assignment, picked_up_at: At) -> Pickup {
    let ready_at = assignment.request.ready_at;
    let arrived = (assignment.phase == Phase::AtRestaurant).then_some(assignment.phase_at);
    Pickup {
        food_waited: picked_up_at.since(ready_at).max(Seconds::ZERO),
        driver_waited: arrived.map(|at| picked_up_at.since(at)),
        slack: arrived.map(|at| ready_at.since(at)),
    }
}
