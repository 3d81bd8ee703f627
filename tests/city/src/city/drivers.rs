//! Drivers and their phones: on duty, offered an order, on the way, at the counter, at the door, free where they stand.
//!
//! A phone learns of its orders from `driver_assignment.events` and of nothing else, and may read two partitions of it in
//! any order: an offer that comes before the release of the last order waits for it.

use contracts::driver::{
    AssignmentAccepted, AssignmentDeclined, DriverArrived, DriverLocation, DriverOffline,
    DriverOnline, OrderDropped, OrderPickedUp,
};
use contracts::driver_assignment::{AssignmentReleased, DriverAssigned};
use dispatch::{At, Seconds};
use rand::seq::index;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use uuid::Uuid;

use super::agenda::Due;
use super::{City, PING_S, PING_WALL_S};
use crate::clock::{Clock, instant};
use crate::driver::{Doom, Drive, Driver, Job, Leg};
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
        next: None,
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
            self.agenda
                .add(self.clock.at(Seconds(courier.on_s)), Due::GoOnline(driver));
            self.agenda
                .add(self.clock.at(Seconds(courier.off_s)), Due::ShiftEnd(driver));
        }
    }

    /// His phone says nothing any more, and nobody hears of him or of what he carries.
    fn vanish(&mut self, driver: usize) {
        let driver = &mut self.drivers[driver];
        (driver.gone, driver.on_duty, driver.job, driver.next) = (true, false, None, None);
        driver.turn += 1;
        self.progress.vanished += 1;
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
        match &self.drivers[driver].job {
            _ if self.drivers[driver].gone => {}
            Some(job) if job.order_id == offer.order_id => {}
            Some(_) => self.drivers[driver].next = Some((offer, trace)),
            None => self.consider(driver, offer, trace, now),
        }
    }

    fn consider(&mut self, driver: usize, offer: DriverAssigned, trace: Option<u128>, now: At) {
        let trace = self
            .know(offer.order_id, trace, crate::clock::at(offer.occurred_at))
            .trace;
        let (declines, silence) = (self.world.declines, self.world.silence);
        let phone = &mut self.drivers[driver];
        let (mood, reaction) = (phone.rng.random::<f64>(), phone.rng.random_range(1.0..8.0));
        let off_duty = !phone.on_duty;
        if off_duty || mood < declines {
            self.progress.refused_offers += 1;
            return self.decline(driver, &offer, trace, now);
        }
        if mood < declines + silence && offer.offer_expires_at.is_some() {
            self.progress.refused_offers += 1;
            return;
        }
        phone.turn += 1;
        let turn = phone.turn;
        phone.job = Some(Job {
            order_id: offer.order_id,
            order_version: offer.order_version,
            trace,
            restaurant: offer.restaurant.location,
            customer: offer.customer_location,
            leg: Leg::Offered,
        });
        let answer_at = now.plus(self.wall(reaction));
        self.agenda.add(answer_at, Due::Answer(driver, turn));
    }

    fn decline(&mut self, driver: usize, offer: &DriverAssigned, trace: Trace, now: At) {
        let declined = AssignmentDeclined {
            event_id: self.id(),
            occurred_at: instant(now),
            geo: self.plan.geo.to_string(),
            driver_id: self.drivers[driver].id.clone(),
            order_id: offer.order_id,
            order_version: offer.order_version,
            reason: None,
        };
        self.emit(trace, Content::Driver(declined.into()));
    }

    pub(super) fn accept(&mut self, driver: usize, now: At) {
        let Some(job) = self.drivers[driver].job.clone() else {
            return;
        };
        let accepted = AssignmentAccepted {
            event_id: self.id(),
            occurred_at: instant(now),
            geo: self.plan.geo.to_string(),
            driver_id: self.drivers[driver].id.clone(),
            order_id: job.order_id,
            order_version: job.order_version,
        };
        self.emit(job.trace, Content::Driver(accepted.into()));
        if let Some(state) = self.orders.get_mut(&job.order_id) {
            state.carrier = Some(driver);
        }
        let phone = &self.drivers[driver];
        let (from, depart) = (phone.place.clone(), now.max(phone.free_at));
        let arrive = depart.plus(self.drive_time(&from, &job.restaurant, depart));
        self.set_leg(
            driver,
            Leg::ToRestaurant(Drive {
                from,
                to: job.restaurant,
                depart,
                arrive,
            }),
        );
        self.agenda
            .add(arrive, Due::Arrive(driver, self.drivers[driver].turn));
        if self.drivers[driver].doom == Some(Doom::OnTheWay) {
            self.vanish(driver);
        }
    }

    pub(super) fn arrive(&mut self, driver: usize, now: At) {
        let Some(job) = self.drivers[driver].job.clone() else {
            return;
        };
        self.drivers[driver].place = job.restaurant.clone();
        self.set_leg(
            driver,
            Leg::AtRestaurant {
                since: now,
                asked: false,
            },
        );
        let arrived = DriverArrived {
            event_id: self.id(),
            occurred_at: instant(now),
            geo: self.plan.geo.to_string(),
            driver_id: self.drivers[driver].id.clone(),
            order_id: job.order_id,
            order_version: job.order_version,
            location: Some(job.restaurant),
        };
        self.emit(job.trace, Content::Driver(arrived.into()));
        let ask_at = now.plus(self.wall(self.plan.pickup_service_s / 2.0));
        self.agenda
            .add(ask_at, Due::Collect(driver, self.drivers[driver].turn));
    }

    /// The driver has parked and stands at the counter. An order no kitchen here knows of is handed over at once.
    pub(super) fn ask_for_meal(&mut self, driver: usize, now: At) {
        let Some(Job {
            order_id,
            leg: Leg::AtRestaurant { asked, .. },
            ..
        }) = &mut self.drivers[driver].job
        else {
            return;
        };
        *asked = true;
        let food = self
            .orders
            .get(order_id)
            .and_then(|state| state.food.as_ref());
        if food.is_none_or(|food| food.ready) {
            self.pick_up(driver, now);
        }
    }

    /// The kitchen calls out an order.
    pub(super) fn meal_is_there(&mut self, driver: usize, order: Uuid, now: At) {
        let job = self.drivers[driver]
            .job
            .as_ref()
            .filter(|job| job.order_id == order);
        if job.is_some_and(|job| matches!(job.leg, Leg::AtRestaurant { asked: true, .. })) {
            self.pick_up(driver, now);
        }
    }

    fn pick_up(&mut self, driver: usize, now: At) {
        let Some(job) = self.drivers[driver].job.clone() else {
            return;
        };
        let picked_up = OrderPickedUp {
            event_id: self.id(),
            occurred_at: instant(now),
            geo: self.plan.geo.to_string(),
            driver_id: self.drivers[driver].id.clone(),
            order_id: job.order_id,
            order_version: job.order_version,
            location: Some(job.restaurant.clone()),
        };
        self.emit(job.trace, Content::Driver(picked_up.into()));
        let food = self
            .orders
            .get(&job.order_id)
            .and_then(|state| state.food.as_ref());
        if let (Leg::AtRestaurant { since, .. }, Some(food)) = (&job.leg, food) {
            let slack = self.clock.city(food.ready_at) - self.clock.city(*since);
            self.progress.slack_at_pickup_s.push(slack.0);
        }
        let depart = now.plus(self.wall(self.plan.pickup_service_s / 2.0));
        let arrive = depart.plus(self.drive_time(&job.restaurant, &job.customer, depart));
        self.set_leg(
            driver,
            Leg::ToCustomer(Drive {
                from: job.restaurant,
                to: job.customer,
                depart,
                arrive,
            }),
        );
        let drop_at = arrive.plus(self.wall(self.plan.dropoff_service_s / 2.0));
        self.agenda
            .add(drop_at, Due::Drop(driver, self.drivers[driver].turn));
        if self.drivers[driver].doom == Some(Doom::WithTheMeal) {
            self.vanish(driver);
        }
    }

    pub(super) fn drop_off(&mut self, driver: usize, now: At) {
        let Some(job) = self.drivers[driver].job.clone() else {
            return;
        };
        let dropped = OrderDropped {
            event_id: self.id(),
            occurred_at: instant(now),
            geo: self.plan.geo.to_string(),
            driver_id: self.drivers[driver].id.clone(),
            order_id: job.order_id,
            order_version: job.order_version,
            location: Some(job.customer),
        };
        self.emit(job.trace, Content::Driver(dropped.into()));
        self.drivers[driver].free_at = now.plus(self.wall(self.plan.dropoff_service_s / 2.0));
        // No release came for this order, so the one offered meanwhile was one too many.
        self.progress.double_offers += usize::from(self.drivers[driver].next.is_some());
        self.let_go(driver, now);
    }

    pub(super) fn released(&mut self, released: &AssignmentReleased, now: At) {
        let Some(&driver) = self.phones.get(&released.driver_id) else {
            return;
        };
        let phone = &mut self.drivers[driver];
        // An offer that was still waiting may be taken back, too.
        phone
            .next
            .take_if(|(offer, _)| offer.order_id == released.order_id);
        if phone
            .job
            .as_ref()
            .is_some_and(|job| job.order_id == released.order_id)
        {
            self.let_go(driver, now);
        }
    }

    /// The driver has no order any more and stays where he is.
    fn let_go(&mut self, driver: usize, now: At) {
        let order = self.drivers[driver].job.as_ref().map(|job| job.order_id);
        self.drivers[driver].let_go(now);
        if let Some(state) = order.and_then(|order| self.orders.get_mut(&order)) {
            state.carrier = state.carrier.filter(|carrier| *carrier != driver);
        }
        match self.drivers[driver].next.take() {
            Some((offer, trace)) => self.consider(driver, offer, trace, now),
            None if now >= self.drivers[driver].off_at => self.go_offline(driver, now),
            None => {}
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
