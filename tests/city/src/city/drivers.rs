//! Drivers and their phones: on duty, offered an order, on the way, at the counter, at the door, free where they stand.
//!
//! A phone learns of its orders from `driver_assignment.events` and of nothing else, and may read two partitions of it in
//! any order: an offer that comes before the release of the last order waits for it, and the orders of one trip come one by
//! one. All of them are fetched together, once all are ready, and brought in the order that the offers name.

use contracts::driver::{
    AssignmentAccepted, AssignmentDeclined, DriverArrived, DriverLocation, DriverOffline,
    DriverOnline, OrderDropped, OrderPickedUp, Shift, ShiftAnnounced,
};
use contracts::driver_assignment::{AssignmentReleased, DriverAssigned};
use contracts::value::Point;
use dispatch::{At, Seconds};
use rand::seq::index;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use uuid::Uuid;

use super::agenda::Due;
use super::{City, PING_S, PING_WALL_S};
use crate::clock::{Clock, instant};
use crate::driver::{Carried, Doom, Drive, Driver, Job, Leg};
use crate::emission::{Content, Trace};
use crate::plan::Plan;
use crate::world::World;

/// The drivers of a plan, at home. `run` makes their ids this run's own.
pub(super) fn roster(
    plan: &Plan,
    world: &World,
    clock: &Clock,
    seed: u64,
    run: &str,
) -> Vec<Driver> {
    let driver = |(place, courier): (usize, &crate::plan::Courier)| Driver {
        id: format!("{}-{run}-{}", plan.geo, courier.name),
        place: courier.start.clone(),
        on_duty: false,
        off_at: clock.at(Seconds(courier.off_s)),
        free_at: clock.start(),
        job: None,
        next: Vec::new(),
        turn: 0,
        doom: None,
        gone: false,
        rng: ChaCha8Rng::seed_from_u64(seed.wrapping_add(place as u64).rotate_left(31)),
    };
    let mut drivers: Vec<Driver> = plan.couriers.iter().enumerate().map(driver).collect();
    let doomed = (world.vanishing * drivers.len() as f64).ceil() as usize;
    let mut rng = ChaCha8Rng::seed_from_u64(seed.rotate_left(43));
    let dooms = [Doom::WithTheMeal, Doom::OnTheWay].into_iter().cycle();
    let places = index::sample(&mut rng, drivers.len(), doomed.min(drivers.len()));
    for (doom, place) in dooms.zip(places) {
        drivers[place].doom = Some(doom);
    }
    drivers
}

impl City {
    pub(super) fn schedule_shifts(&mut self) {
        for (driver, courier) in self.plan.couriers.iter().enumerate() {
            if courier.on_s > 0.0 {
                self.agenda.add(self.clock.start(), Due::Announce(driver));
            }
            self.agenda
                .add(self.clock.at(Seconds(courier.on_s)), Due::GoOnline(driver));
            self.agenda
                .add(self.clock.at(Seconds(courier.off_s)), Due::ShiftEnd(driver));
        }
    }

    /// His phone says nothing any more, and nobody hears of him or of what he carries.
    fn vanish(&mut self, driver: usize) {
        let driver = &mut self.drivers[driver];
        (driver.gone, driver.on_duty, driver.job) = (true, false, None);
        driver.next.clear();
        driver.turn += 1;
        self.progress.vanished += 1;
    }

    /// The shifts of the day are known when it begins.
    pub(super) fn announce(&mut self, driver: usize, now: At) {
        let on_at = self.clock.at(Seconds(self.plan.couriers[driver].on_s));
        let (event_id, trace) = (self.id(), self.new_trace());
        let phone = &self.drivers[driver];
        let announced = ShiftAnnounced {
            event_id,
            occurred_at: instant(now),
            geo: self.plan.geo.to_string(),
            driver_id: phone.id.clone(),
            shift: Some(Shift {
                starts_at: instant(on_at),
                ends_at: instant(phone.off_at),
                location: phone.place.clone(),
            }),
        };
        self.emit(trace, Content::Driver(announced.into()));
    }

    pub(super) fn go_online(&mut self, driver: usize, now: At) {
        self.drivers[driver].on_duty = true;
        let (event_id, trace) = (self.id(), self.new_trace());
        let online = DriverOnline {
            event_id,
            occurred_at: instant(now),
            geo: self.plan.geo.to_string(),
            driver_id: self.drivers[driver].id.clone(),
            location: self.drivers[driver].place.clone(),
            shift_ends_at: Some(instant(self.drivers[driver].off_at)),
        };
        self.emit(trace, Content::Driver(online.into()));
        self.ping(driver, now);
    }

    /// Who carries an order brings it home first.
    pub(super) fn shift_end(&mut self, driver: usize, now: At) {
        if self.drivers[driver].job.is_none() {
            self.go_offline(driver, now);
        }
    }

    pub(super) fn go_offline(&mut self, driver: usize, now: At) {
        if !std::mem::take(&mut self.drivers[driver].on_duty) {
            return;
        }
        let (event_id, trace) = (self.id(), self.new_trace());
        let offline = DriverOffline {
            event_id,
            occurred_at: instant(now),
            geo: self.plan.geo.to_string(),
            driver_id: self.drivers[driver].id.clone(),
            reason: None,
        };
        self.emit(trace, Content::Driver(offline.into()));
    }

    pub(super) fn ping(&mut self, driver: usize, now: At) {
        if !self.drivers[driver].on_duty {
            return;
        }
        let (event_id, trace) = (self.id(), self.new_trace());
        let ping = DriverLocation {
            event_id,
            occurred_at: instant(now),
            geo: self.plan.geo.to_string(),
            driver_id: self.drivers[driver].id.clone(),
            location: self.drivers[driver].position(now),
            heading_deg: None,
            speed_mps: None,
            accuracy_m: Some(5.0),
        };
        self.emit(trace, Content::Location(ping.into()));
        let pause = self.wall(PING_S).max(Seconds(PING_WALL_S));
        self.agenda.add(now.plus(pause), Due::Ping(driver));
    }

    pub(super) fn offered(&mut self, offer: DriverAssigned, trace: Option<u128>, now: At) {
        let Some(&driver) = self.phones.get(&offer.driver_id) else {
            return;
        };
        let phone = &mut self.drivers[driver];
        match &phone.job {
            _ if phone.gone => {}
            Some(job) if job.holds(offer.order_id) => {}
            Some(job) if job.trip != offer.trip_id || job.trip.is_none() => {
                phone.next.push((offer, trace));
            }
            Some(_) | None => self.consider(driver, offer, trace, now),
        }
    }

    /// An offer of a new trip, or of one more order of the trip that he is on.
    fn consider(&mut self, driver: usize, offer: DriverAssigned, trace: Option<u128>, now: At) {
        let trace = self
            .know(offer.order_id, trace, crate::clock::at(offer.occurred_at))
            .trace;
        let (declines, silence) = (self.world.declines, self.world.silence);
        let phone = &mut self.drivers[driver];
        let (mood, reaction) = (phone.rng.random::<f64>(), phone.rng.random_range(1.0..8.0));
        let order = Carried {
            order_id: offer.order_id,
            order_version: offer.order_version,
            trace,
            customer: offer.customer_location,
            position: offer.trip_position,
        };
        let leg = phone.job.as_ref().map(|job| &job.leg);
        let too_late = !phone.on_duty || matches!(leg, Some(Leg::ToCustomer(_)));
        if too_late || mood < declines {
            self.progress.refused_offers += 1;
            return self.decline(driver, &order, now);
        }
        if mood < declines + silence && offer.offer_expires_at.is_some() {
            self.progress.refused_offers += 1;
            return;
        }
        match &mut phone.job {
            Some(job) => {
                let answered = !matches!(job.leg, Leg::Offered);
                job.add(order.clone());
                if answered {
                    self.accept_order(driver, &order, now);
                }
            }
            None => {
                phone.turn += 1;
                phone.job = Some(Job {
                    trip: offer.trip_id,
                    restaurant: offer.restaurant.location,
                    orders: vec![order],
                    leg: Leg::Offered,
                });
                let answer = Due::Answer(driver, phone.turn);
                self.agenda.add(now.plus(self.wall(reaction)), answer);
            }
        }
    }

    fn decline(&mut self, driver: usize, order: &Carried, now: At) {
        let declined = AssignmentDeclined {
            event_id: self.id(),
            occurred_at: instant(now),
            geo: self.plan.geo.to_string(),
            driver_id: self.drivers[driver].id.clone(),
            order_id: order.order_id,
            order_version: order.order_version,
            reason: None,
        };
        self.emit(order.trace, Content::Driver(declined.into()));
    }

    fn accept_order(&mut self, driver: usize, order: &Carried, now: At) {
        let accepted = AssignmentAccepted {
            event_id: self.id(),
            occurred_at: instant(now),
            geo: self.plan.geo.to_string(),
            driver_id: self.drivers[driver].id.clone(),
            order_id: order.order_id,
            order_version: order.order_version,
        };
        self.emit(order.trace, Content::Driver(accepted.into()));
        if let Some(state) = self.orders.get_mut(&order.order_id) {
            state.carrier = Some(driver);
        }
    }

    pub(super) fn accept(&mut self, driver: usize, now: At) {
        let Some(job) = self.drivers[driver].job.clone() else {
            return;
        };
        for order in &job.orders {
            self.accept_order(driver, order, now);
        }
        let depart = now.max(self.drivers[driver].free_at);
        let drive = self.drive(driver, job.restaurant, depart);
        let arrive = Due::Arrive(driver, self.drivers[driver].turn);
        self.agenda.add(drive.arrive, arrive);
        self.set_leg(driver, Leg::ToRestaurant(drive));
        if self.drivers[driver].doom == Some(Doom::OnTheWay) {
            self.vanish(driver);
        }
    }

    /// The way from where he stands.
    fn drive(&self, driver: usize, to: Point, depart: At) -> Drive {
        let from = self.drivers[driver].place.clone();
        let arrive = depart.plus(self.drive_time(&from, &to, depart));
        Drive {
            from,
            to,
            depart,
            arrive,
        }
    }

    pub(super) fn arrive(&mut self, driver: usize, now: At) {
        let Some(job) = self.drivers[driver].job.clone() else {
            return;
        };
        self.drivers[driver].place = job.restaurant.clone();
        let (since, asked) = (now, false);
        self.set_leg(driver, Leg::AtRestaurant { since, asked });
        for order in job.orders {
            let arrived = DriverArrived {
                event_id: self.id(),
                occurred_at: instant(now),
                geo: self.plan.geo.to_string(),
                driver_id: self.drivers[driver].id.clone(),
                order_id: order.order_id,
                order_version: order.order_version,
                location: Some(job.restaurant.clone()),
            };
            self.emit(order.trace, Content::Driver(arrived.into()));
        }
        let ask_at = now.plus(self.wall(self.plan.pickup_service_s / 2.0));
        self.agenda
            .add(ask_at, Due::Collect(driver, self.drivers[driver].turn));
    }

    /// The driver has parked and stands at the counter.
    pub(super) fn ask_for_meals(&mut self, driver: usize, now: At) {
        if let Some(job) = &mut self.drivers[driver].job
            && let Leg::AtRestaurant { asked, .. } = &mut job.leg
        {
            *asked = true;
        }
        self.pick_up_if_ready(driver, now);
    }

    /// The kitchen calls out an order, or one that he waited for was taken from him. An order that no kitchen here knows
    /// of is handed over at once.
    pub(super) fn pick_up_if_ready(&mut self, driver: usize, now: At) {
        let Some(job) = &self.drivers[driver].job else {
            return;
        };
        let ready = |order: &Carried| {
            let state = self.orders.get(&order.order_id);
            let food = state.and_then(|state| state.food.as_ref());
            food.is_none_or(|food| food.ready)
        };
        if matches!(job.leg, Leg::AtRestaurant { asked: true, .. }) && job.orders.iter().all(ready)
        {
            self.pick_up(driver, now);
        }
    }

    fn pick_up(&mut self, driver: usize, now: At) {
        let Some(job) = self.drivers[driver].job.clone() else {
            return;
        };
        for order in &job.orders {
            let picked_up = OrderPickedUp {
                event_id: self.id(),
                occurred_at: instant(now),
                geo: self.plan.geo.to_string(),
                driver_id: self.drivers[driver].id.clone(),
                order_id: order.order_id,
                order_version: order.order_version,
                location: Some(job.restaurant.clone()),
            };
            self.emit(order.trace, Content::Driver(picked_up.into()));
            let state = self.orders.get(&order.order_id);
            let food = state.and_then(|state| state.food.as_ref());
            if let (Leg::AtRestaurant { since, .. }, Some(food)) = (&job.leg, food) {
                let slack = self.clock.city(food.ready_at) - self.clock.city(*since);
                self.progress.slack_at_pickup_s.push(slack.0);
            }
        }
        let depart = now.plus(self.wall(self.plan.pickup_service_s / 2.0));
        self.go_to_customer(driver, depart);
        if self.drivers[driver].doom == Some(Doom::WithTheMeal) {
            self.vanish(driver);
        }
    }

    /// On to the first customer of those who have not got theirs.
    fn go_to_customer(&mut self, driver: usize, depart: At) {
        let job = self.drivers[driver].job.as_ref();
        let Some(order) = job.and_then(|job| job.orders.first()) else {
            return;
        };
        let drive = self.drive(driver, order.customer.clone(), depart);
        let drop_at = drive
            .arrive
            .plus(self.wall(self.plan.dropoff_service_s / 2.0));
        self.agenda
            .add(drop_at, Due::Drop(driver, self.drivers[driver].turn));
        self.set_leg(driver, Leg::ToCustomer(drive));
    }

    pub(super) fn drop_off(&mut self, driver: usize, now: At) {
        let Some(job) = &mut self.drivers[driver].job else {
            return;
        };
        let order = job.orders.remove(0);
        let is_last = job.orders.is_empty();
        let dropped = OrderDropped {
            event_id: self.id(),
            occurred_at: instant(now),
            geo: self.plan.geo.to_string(),
            driver_id: self.drivers[driver].id.clone(),
            order_id: order.order_id,
            order_version: order.order_version,
            location: Some(order.customer.clone()),
        };
        self.emit(order.trace, Content::Driver(dropped.into()));
        self.forget_carrier(driver, order.order_id);
        let free_at = now.plus(self.wall(self.plan.dropoff_service_s / 2.0));
        self.drivers[driver].place = order.customer;
        if is_last {
            self.drivers[driver].free_at = free_at;
            // No release came for this order, so the one offered meanwhile was one too many.
            let early = !self.drivers[driver].next.is_empty();
            self.progress.double_offers += usize::from(early);
            self.let_go(driver, now);
        } else {
            self.go_to_customer(driver, free_at);
        }
    }

    pub(super) fn released(&mut self, released: &AssignmentReleased, now: At) {
        let Some(&driver) = self.phones.get(&released.driver_id) else {
            return;
        };
        let phone = &mut self.drivers[driver];
        // An offer that was still waiting may be taken back, too.
        phone
            .next
            .retain(|(offer, _)| offer.order_id != released.order_id);
        let place = phone.position(now);
        let Some(job) = phone
            .job
            .as_mut()
            .filter(|job| job.holds(released.order_id))
        else {
            return;
        };
        let heading_there =
            matches!(job.leg, Leg::ToCustomer(_)) && job.orders[0].order_id == released.order_id;
        job.orders
            .retain(|order| order.order_id != released.order_id);
        if job.orders.is_empty() {
            self.let_go(driver, now);
        } else if heading_there {
            (phone.place, phone.turn) = (place, phone.turn + 1);
            self.go_to_customer(driver, now);
        } else {
            self.pick_up_if_ready(driver, now);
        }
        self.forget_carrier(driver, released.order_id);
    }

    fn forget_carrier(&mut self, driver: usize, order: Uuid) {
        if let Some(state) = self.orders.get_mut(&order) {
            state.carrier = state.carrier.filter(|carrier| *carrier != driver);
        }
    }

    /// The driver has no order any more and stays where he is.
    fn let_go(&mut self, driver: usize, now: At) {
        let phone = &mut self.drivers[driver];
        phone.let_go(now);
        let next = std::mem::take(&mut phone.next);
        if next.is_empty() && now >= phone.off_at {
            return self.go_offline(driver, now);
        }
        for (offer, trace) in next {
            self.offered(offer, trace, now);
        }
    }

    fn set_leg(&mut self, driver: usize, leg: Leg) {
        if let Some(job) = &mut self.drivers[driver].job {
            job.leg = leg;
        }
    }

    fn new_trace(&mut self) -> Trace {
        Trace {
            id: self.ids.random::<u128>() | 1,
            span: 0,
        }
    }
}
