//! A city as a state machine: what is due, and what was seen, go in; messages come out.
//!
//! Pure: time is an argument, chance comes from seeds, nothing is read or written. The same plan, seed, start and
//! observations give the same messages, bit for bit. Chance is drawn per order and per driver, so it does not depend on
//! who is served first. The parts: `checkout` places orders, `kitchens` cook them, `drivers` carry them.

mod agenda;
mod checkout;
mod drivers;
mod kitchens;

use std::collections::HashMap;

use contracts::streams::{DriverAssignmentEvent, OrdersEvent};
use dispatch::{At, Road, RoadConfigError, Seconds, TravelTime};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use uuid::Uuid;

use crate::clock::{Clock, at};
use crate::driver::Driver;
use crate::emission::{Content, Emission, Trace};
use crate::generate::fingerprint;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::world::World;
use agenda::Agenda;
use checkout::Fate;
use kitchens::Food;

/// Pings of a phone, in city seconds.
const PING_S: f64 = 5.0;
/// The least wall time between two pings of a phone, seconds: a fast city must not drown the broker in positions.
const PING_WALL_S: f64 = 0.75;

/// One geo, alive.
pub struct City {
    plan: Plan,
    world: World,
    clock: Clock,
    road: Road,
    agenda: Agenda,
    /// Of every order that was placed here or seen on a topic.
    orders: HashMap<Uuid, OrderState>,
    /// What checkout will place, in the plan's order.
    fates: Vec<Fate>,
    drivers: Vec<Driver>,
    phones: HashMap<String, usize>,
    ids: ChaCha8Rng,
    out: Vec<Emission>,
    progress: Progress,
}

/// What a consumer in this city reads.
#[allow(clippy::large_enum_variant)] // It lives for a moment.
#[derive(Clone, Debug)]
pub enum Seen {
    Order(OrdersEvent),
    Assignment(DriverAssignmentEvent),
}

/// What the city knows of an order.
struct OrderState {
    /// Its place in the plan; `None` for an order that somebody else placed.
    own: Option<usize>,
    trace: Trace,
    placed_at: At,
    food: Option<Food>,
    /// The driver who has set out for it.
    carrier: Option<usize>,
    seen: Vec<Milestone>,
}

/// Something that happens to an order at most once, as far as counting goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Milestone {
    Accepted,
    Confirmed,
    Assigned,
    PickedUp,
    Ended,
}

impl City {
    /// `seed` draws everybody's behaviour; ids also depend on when the clock starts, so that two runs never share one.
    pub fn new(plan: Plan, world: World, clock: Clock, seed: u64) -> Result<Self, RoadConfigError> {
        let seed = seed ^ fingerprint(plan.geo.as_str());
        let mut ids = ChaCha8Rng::seed_from_u64(seed ^ (clock.start().0 as u64).rotate_left(32));
        let run = format!("{:06x}", ids.random::<u32>() >> 8);
        let mut city = Self {
            road: Road::new(&plan.road)?,
            agenda: Agenda::default(),
            orders: HashMap::new(),
            fates: checkout::fates(&plan, &world, seed, &mut ids),
            drivers: drivers::roster(&plan, &world, &clock, seed, &run),
            phones: HashMap::new(),
            ids,
            out: Vec::new(),
            progress: Progress::default(),
            plan,
            world,
            clock,
        };
        city.phones = city
            .drivers
            .iter()
            .enumerate()
            .map(|(place, driver)| (driver.id.clone(), place))
            .collect();
        city.open_checkout();
        city.schedule_shifts();
        Ok(city)
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// When [`City::advance`] has something to do next.
    pub fn next_due(&self) -> Option<At> {
        self.agenda.next()
    }

    /// Lets everything happen that is due by `now`.
    pub fn advance(&mut self, now: At) -> Vec<Emission> {
        while let Some((due_at, due)) = self.agenda.take(now) {
            self.happen(due, due_at);
        }
        std::mem::take(&mut self.out)
    }

    /// Takes note of a message; `trace` is the trace id of its headers.
    pub fn observe(&mut self, seen: Seen, trace: Option<u128>, now: At) -> Vec<Emission> {
        match seen {
            Seen::Order(event) => self.order_event(event, trace, now),
            Seen::Assignment(DriverAssignmentEvent::DriverAssigned(offer)) => {
                self.offered(offer, trace, now)
            }
            Seen::Assignment(DriverAssignmentEvent::AssignmentReleased(released)) => {
                self.released(&released, now)
            }
            Seen::Assignment(_) => {}
        }
        std::mem::take(&mut self.out)
    }

    /// The end of the day: whoever is on duty goes home.
    pub fn close(&mut self, now: At) -> Vec<Emission> {
        (0..self.drivers.len()).for_each(|driver| self.go_offline(driver, now));
        std::mem::take(&mut self.out)
    }

    /// Whether every order was placed and has ended.
    pub fn is_over(&self) -> bool {
        self.progress.ended() == self.plan.orders.len()
    }

    pub fn progress(&self) -> Progress {
        let on_duty = self.drivers.iter().filter(|driver| driver.on_duty);
        let busy = on_duty
            .clone()
            .filter(|driver| driver.job.is_some())
            .count();
        Progress {
            drivers: on_duty.count(),
            busy,
            ..self.progress.clone()
        }
    }

    fn happen(&mut self, due: agenda::Due, now: At) {
        use agenda::Due;
        match due {
            Due::Place(order) => self.place(order, now),
            Due::Cancel(order) => self.want_cancelled(order, now),
            Due::Poison(number) => self.poison(number),
            Due::DelayTold(order) => self.tell_delay(order, now),
            Due::FoodReady(order) => self.food_ready(order, now),
            Due::Announce(driver) => self.announce(driver, now),
            Due::GoOnline(driver) => self.go_online(driver, now),
            Due::ShiftEnd(driver) => self.shift_end(driver, now),
            Due::Ping(driver) => self.ping(driver, now),
            Due::Answer(driver, turn) if self.is_current(driver, turn) => self.accept(driver, now),
            Due::Arrive(driver, turn) if self.is_current(driver, turn) => self.arrive(driver, now),
            Due::Collect(driver, turn) if self.is_current(driver, turn) => {
                self.ask_for_meals(driver, now)
            }
            Due::Drop(driver, turn) if self.is_current(driver, turn) => self.drop_off(driver, now),
            Due::Answer(..) | Due::Arrive(..) | Due::Collect(..) | Due::Drop(..) => {}
        }
    }

    fn is_current(&self, driver: usize, turn: u32) -> bool {
        self.drivers[driver].turn == turn
    }

    fn order_event(&mut self, event: OrdersEvent, trace: Option<u128>, now: At) {
        match event {
            OrdersEvent::OrderAccepted(event) => {
                self.reach(event.order_id, Milestone::Accepted, |progress| {
                    &mut progress.accepted
                });
            }
            OrdersEvent::OrderConfirmed(event) => {
                self.know(event.order_id, trace, at(event.placed_at));
                self.reach(event.order_id, Milestone::Confirmed, |progress| {
                    &mut progress.confirmed
                });
                self.start_cooking(&event, now);
            }
            OrdersEvent::OrderDriverAssigned(event) => {
                self.reach(event.order_id, Milestone::Assigned, |progress| {
                    &mut progress.assigned
                });
            }
            OrdersEvent::OrderPickedUp(event) => {
                self.reach(event.order_id, Milestone::PickedUp, |progress| {
                    &mut progress.picked_up
                });
            }
            OrdersEvent::OrderDelivered(event) => {
                let placed_at = self
                    .orders
                    .get(&event.order_id)
                    .map(|order| order.placed_at);
                if self.reach(event.order_id, Milestone::Ended, |progress| {
                    &mut progress.delivered
                }) && let Some(placed_at) = placed_at
                {
                    let took = self.clock.city(at(event.delivered_at)) - self.clock.city(placed_at);
                    self.progress.click_to_door_s.push(took.0);
                }
            }
            OrdersEvent::OrderRejected(event) => {
                self.reach(event.order_id, Milestone::Ended, |progress| {
                    &mut progress.rejected
                });
            }
            OrdersEvent::OrderPaymentFailed(event) => {
                self.reach(event.order_id, Milestone::Ended, |progress| {
                    &mut progress.payment_failed
                });
            }
            OrdersEvent::OrderCancelled(event) => {
                self.reach(event.order_id, Milestone::Ended, |progress| {
                    &mut progress.cancelled
                });
            }
            OrdersEvent::OrderCancelRefused(_) => self.progress.refused_cancels += 1,
            OrdersEvent::OrderUndeliverable(event) => {
                self.reach(event.order_id, Milestone::Ended, |progress| {
                    &mut progress.undeliverable
                });
            }
        }
    }

    /// Counts an order of this city that gets somewhere for the first time.
    fn reach(
        &mut self,
        order: Uuid,
        milestone: Milestone,
        count: fn(&mut Progress) -> &mut usize,
    ) -> bool {
        let Some(state) = self.orders.get_mut(&order) else {
            return false;
        };
        if state.seen.contains(&milestone) {
            return false;
        }
        state.seen.push(milestone);
        if state.own.is_some() {
            *count(&mut self.progress) += 1;
        }
        state.own.is_some()
    }

    fn has_ended(&self, order: Uuid) -> bool {
        self.orders
            .get(&order)
            .is_some_and(|state| state.seen.contains(&Milestone::Ended))
    }

    /// An order that was placed here, or turns up from elsewhere.
    fn know(&mut self, order: Uuid, trace: Option<u128>, placed_at: At) -> &mut OrderState {
        let (fresh, span) = (self.ids.random(), self.ids.random());
        self.orders.entry(order).or_insert_with(|| OrderState {
            own: None,
            trace: Trace {
                id: trace.unwrap_or(fresh),
                span,
            },
            placed_at,
            food: None,
            carrier: None,
            seen: Vec::new(),
        })
    }

    fn emit(&mut self, trace: Trace, content: Content) {
        let span = self.ids.random::<u64>() | 1;
        self.out.push(Emission {
            trace: Trace { span, ..trace },
            content,
        });
    }

    fn id(&mut self) -> Uuid {
        random_id(&mut self.ids)
    }

    fn wall(&self, city_s: f64) -> Seconds {
        self.clock.wall(Seconds(city_s))
    }

    /// How long a drive takes on the wall.
    fn drive_time(
        &self,
        from: &contracts::value::Point,
        to: &contracts::value::Point,
        depart: At,
    ) -> Seconds {
        let place = |point: &contracts::value::Point| {
            // A point that is none makes a drive of no length rather than an end of the city.
            dispatch::Point::degrees(point.lat, point.lon)
                .ok()
                .map(|point| self.road.place(point))
        };
        match (place(from), place(to)) {
            (Some(from), Some(to)) => self.clock.wall(self.road.eta(from, to, depart)),
            _ => Seconds::ZERO,
        }
    }
}

/// A random UUID (version 4) from a seed.
fn random_id(rng: &mut ChaCha8Rng) -> Uuid {
    uuid::Builder::from_random_bytes(rng.random()).into_uuid()
}
