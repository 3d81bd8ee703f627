//! A city simulated on under other rules: fed what its topics hold as time goes by, so that it needs no more memory for a day
//! than for an hour.
//!
//! From outside come what no scheduler can change: orders, cancellations, when food is ready, who is on duty. The scheduler
//! under test decides; drivers do as they are told, take as long as the travel times say, and wait for the food. What is not
//! simulated: drivers who decline, get lost or are slower than they are said to be, and what a customer would have done had his meal come
//! at another time. So figures are compared with those of the same city under the old rules, not with what really happened.
//!
//! Food is there when its restaurant says so, if that restaurant ever does; otherwise when it was estimated.

mod trips;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dispatch::{
    At, Config, Decision, DriverId, FailureReason, Input, OrderId, Phase, Point, Policy, Request,
    RestaurantId, Scheduler, Seconds, Shift, Snapshot, TravelTime, TripId,
};

use crate::agenda::Agenda;
use trips::{Trip, on_the_way};

/// For bounds that the simulation does not have.
const NEVER_S: f64 = 1e9;
/// Shortest pause between two ticks, as live.
const PAUSE: Seconds = Seconds(0.02);
/// A restaurant that has said nothing so long after its estimate, as a share of an order's longest wait, is not waited for.
const PATIENCE: f64 = 1.0 / 3.0;

/// What became of an order.
#[derive(Debug, Clone, PartialEq)]
pub enum Fate {
    Delivered(Delivered),
    /// No driver was found in time.
    Failed(FailureReason),
    /// The customer cancelled it before it was picked up.
    Cancelled,
}

/// A delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivered {
    pub driver_id: DriverId,
    pub placed_at: At,
    pub ready_at: At,
    pub decided_at: At,
    /// When the driver stood at the counter.
    pub at_counter: At,
    pub picked_up_at: At,
    pub delivered_at: At,
    /// From setting out to being free again, shared among the orders of the trip.
    pub busy: Seconds,
}

/// What happens in the city by itself.
enum Step {
    Arrive(TripId),
    PickUp(TripId),
    Drop(TripId),
    Turn(TripId),
    /// Look whether the driver is still heard.
    Silence(DriverId),
}

struct Meal {
    request: Request,
    ready_at: At,
    /// Its restaurant has said that it is ready.
    said: bool,
    decided_at: At,
}

struct Rider {
    position: Option<Point>,
    trip: Option<TripId>,
    heard_at: At,
    /// An entry of the agenda looks after his silence.
    watched: bool,
}

/// See the module.
pub struct City {
    scheduler: Scheduler,
    travel: Arc<dyn TravelTime>,
    /// By hour of day, how many times what `travel` says drivers need.
    pace: [f64; 24],
    half_pickup: Seconds,
    half_dropoff: Seconds,
    /// After so long without a word a driver is not there.
    ttl: Seconds,
    patience: Seconds,
    agenda: Agenda<Step>,
    riders: BTreeMap<DriverId, Rider>,
    trips: BTreeMap<TripId, Trip>,
    meals: BTreeMap<OrderId, Meal>,
    /// Restaurants that say when food is ready.
    speaking: BTreeSet<RestaurantId>,
    fates: Vec<(OrderId, Fate)>,
    now: At,
    last_tick: At,
}

impl City {
    /// The city as it was at `now`: trips under way go on as estimated.
    pub fn new(
        config: &Config,
        travel: Arc<dyn TravelTime>,
        policy: Arc<dyn Policy>,
        snapshot: Snapshot,
        now: At,
    ) -> City {
        // Nobody is silent, refuses or gets lost in here: silence is told by `City::heard`.
        let own = Config {
            location_ttl_s: NEVER_S,
            offer_timeout_s: None,
            vanish_after_s: None,
            abandon_after_s: None,
            ..config.clone()
        };
        let mut city = City {
            half_pickup: Seconds(config.pickup_service_s / 2.0),
            half_dropoff: Seconds(config.dropoff_service_s / 2.0),
            ttl: Seconds(config.location_ttl_s),
            patience: Seconds(config.max_wait_s * PATIENCE),
            agenda: Agenda::default(),
            riders: BTreeMap::new(),
            trips: BTreeMap::new(),
            meals: BTreeMap::new(),
            speaking: BTreeSet::new(),
            fates: Vec::new(),
            last_tick: At::MIN,
            pace: [1.0; 24],
            now,
            scheduler: Scheduler::restore(own, travel.clone(), policy, snapshot.clone()),
            travel,
        };
        city.go_on(snapshot);
        city
    }

    /// From here on drivers need so many times what the travel times say, by hour of day. The scheduler's estimates go by the
    /// drives of its snapshot and learn nothing more.
    pub fn drive_at(&mut self, pace: [f64; 24]) {
        self.pace = pace;
    }

    /// How long drivers really need for a way.
    fn way(&self, from: Point, to: Point, leaves_at: At) -> Seconds {
        let (from, to) = (self.travel.place(from), self.travel.place(to));
        let hour = self.travel.hour(leaves_at);
        self.travel.eta(from, to, leaves_at) * self.pace[usize::from(hour)]
    }

    /// Riders and trips of a snapshot.
    fn go_on(&mut self, snapshot: Snapshot) {
        let mut drops = Vec::new();
        for record in snapshot.drivers {
            drops.extend(
                record
                    .last_drop
                    .map(|drop| (record.driver_id.clone(), drop)),
            );
            let rider = Rider {
                position: record.position,
                trip: None,
                heard_at: record.seen_at.unwrap_or(At::MIN),
                watched: false,
            };
            self.riders.insert(record.driver_id.clone(), rider);
            self.watch(&record.driver_id);
        }
        for request in snapshot.pending {
            self.meal(request, At::MIN);
        }
        let mut under_way = snapshot.assignments;
        under_way.sort_by_key(|leg| (leg.trip_id, leg.position));
        for leg in under_way {
            let (order_id, trip_id) = (leg.request.order_id, leg.trip_id);
            let (phase, phase_at) = (leg.phase, leg.phase_at);
            if phase == Phase::Delivered {
                continue;
            }
            let from = self
                .riders
                .get(&leg.driver_id)
                .and_then(|rider| rider.position);
            let trip = self.trips.entry(trip_id).or_insert_with(|| Trip {
                driver_id: leg.driver_id.clone(),
                from: from.unwrap_or(leg.request.restaurant),
                restaurant: leg.request.restaurant,
                departs_at: leg.decided_at,
                arrives_at: leg.arrives_at,
                at_counter: None,
                picked_up_at: None,
                orders: Vec::new(),
                counts_from: leg.decided_at,
                last: None,
                dropped: false,
            });
            trip.orders.push(order_id);
            if phase >= Phase::AtRestaurant {
                trip.at_counter = Some(phase_at.plus(self.half_pickup));
            }
            if phase == Phase::PickedUp {
                trip.picked_up_at = Some(phase_at);
            }
            if let Some(rider) = self.riders.get_mut(&leg.driver_id) {
                rider.trip = Some(trip_id);
            }
            self.meal(leg.request, leg.decided_at);
        }
        for (driver_id, drop) in drops {
            let trip = self.riders.get(&driver_id).and_then(|rider| rider.trip);
            if let Some(trip) = trip.and_then(|trip| self.trips.get_mut(&trip)) {
                (trip.from, trip.dropped) = (drop.customer, true);
                trip.counts_from = drop.at;
            }
        }
        let trips: Vec<TripId> = self.trips.keys().copied().collect();
        for trip_id in trips {
            let trip = &self.trips[&trip_id];
            match (trip.at_counter, trip.picked_up_at) {
                (_, Some(_)) if trip.dropped => {
                    let leaves_at = trip.counts_from.plus(self.half_dropoff);
                    self.set_out(trip_id, leaves_at);
                }
                (_, Some(at)) => self.set_out(trip_id, at.plus(self.half_pickup)),
                (Some(_), None) => self.wait_for_food(trip_id),
                (None, None) => {
                    let at = trip.arrives_at.max(self.now);
                    self.agenda.note(at, Step::Arrive(trip_id));
                }
            }
        }
    }

    fn meal(&mut self, request: Request, decided_at: At) {
        let meal = Meal {
            ready_at: request.ready_at,
            said: false,
            decided_at,
            request,
        };
        self.meals.insert(meal.request.order_id, meal);
    }

    /// Lets everything happen until `until`, that instant excluded. Inputs are for the instant reached.
    pub fn advance(&mut self, until: At) {
        loop {
            let tick = self.scheduler.next_due();
            let tick = tick.map(|due| due.max(self.last_tick.plus(PAUSE)).max(self.now));
            let step = self.agenda.next_at();
            let next = [tick, step].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next < until) else {
                break;
            };
            self.now = self.now.max(next);
            if step == Some(next) {
                if let Some((_, step)) = self.agenda.pop() {
                    self.step(step);
                }
            } else {
                self.tick();
            }
        }
        self.now = self.now.max(until);
    }

    /// From here on drivers on duty stay on duty, heard or not.
    pub fn keep_drivers(&mut self) {
        self.ttl = Seconds(NEVER_S);
    }

    /// Plays on until nothing is left to happen, but not beyond `until`.
    pub fn finish(&mut self, until: At) {
        while self.now < until && !self.meals.is_empty() {
            let next = self.now.plus(Seconds(60.0)).min(until);
            self.advance(next);
        }
    }

    /// The orders whose fate is known, since the last call.
    pub fn take_fates(&mut self) -> Vec<(OrderId, Fate)> {
        std::mem::take(&mut self.fates)
    }

    pub fn requested(&mut self, request: Request) {
        if !self.meals.contains_key(&request.order_id) {
            self.meal(request.clone(), At::MIN);
            self.scheduler.apply(Input::Requested(request));
        }
    }

    /// The customer or the kitchen takes the order back; a meal that is under way comes all the same.
    pub fn withdrawn(&mut self, order_id: OrderId) {
        let trip_id = self.trip_of(order_id);
        let trip = trip_id.and_then(|id| self.trips.get(&id));
        if !self.meals.contains_key(&order_id)
            || trip.is_some_and(|trip| trip.picked_up_at.is_some())
        {
            return;
        }
        self.scheduler.apply(Input::Withdrawn {
            order_id,
            at: self.now,
        });
        self.end(order_id, Fate::Cancelled);
        let Some(trip_id) = trip_id else { return };
        let Some(trip) = self.trips.get_mut(&trip_id) else {
            return;
        };
        trip.orders.retain(|order| *order != order_id);
        if trip.orders.is_empty() {
            let (driver_id, position) = (trip.driver_id.clone(), on_the_way(trip, self.now));
            self.trips.remove(&trip_id);
            self.free(&driver_id, position);
        }
    }

    /// The kitchen moves its estimate, or says that the food is ready.
    pub fn ready(&mut self, order_id: OrderId, ready_at: At, said: bool) {
        let at = self.now;
        self.scheduler.apply(Input::ReadyAt {
            order_id,
            ready_at,
            at,
        });
        let Some(meal) = self.meals.get_mut(&order_id) else {
            return;
        };
        meal.ready_at = ready_at;
        meal.said |= said;
        if said {
            self.speaking.insert(meal.request.restaurant_id.clone());
        }
        if let Some(trip_id) = self.trip_of(order_id) {
            let trip = self.trips.get(&trip_id);
            if trip.is_some_and(|it| it.at_counter.is_some() && it.picked_up_at.is_none()) {
                self.wait_for_food(trip_id);
            }
        }
    }

    pub fn online(&mut self, driver_id: &DriverId, position: Point, shift_end: Option<At>) {
        let at = self.now;
        self.scheduler.apply(Input::DriverOnline {
            driver_id: driver_id.clone(),
            at,
            shift_end,
        });
        let rider = self.riders.entry(driver_id.clone()).or_insert(Rider {
            position: None,
            trip: None,
            heard_at: at,
            watched: false,
        });
        rider.heard_at = at;
        if rider.trip.is_none() {
            rider.position = Some(position);
            self.sight(driver_id, position);
        }
        self.watch(driver_id);
    }

    /// He will come on duty, or will not after all.
    pub fn announced(&mut self, driver_id: &DriverId, shift: Option<Shift>) {
        let driver_id = driver_id.clone();
        self.scheduler
            .apply(Input::ShiftAnnounced { driver_id, shift });
    }

    /// He finishes what he has.
    pub fn offline(&mut self, driver_id: &DriverId) {
        let (driver_id, at) = (driver_id.clone(), self.now);
        self.scheduler.apply(Input::DriverOffline { driver_id, at });
    }

    /// His phone was heard; where it was then does not matter here, where he may have been sent elsewhere.
    pub fn heard(&mut self, driver_id: &DriverId, position: Point) {
        let Some(rider) = self.riders.get_mut(driver_id) else {
            return;
        };
        let was_silent = !rider.watched;
        rider.heard_at = self.now;
        if was_silent {
            let position = *rider.position.get_or_insert(position);
            if rider.trip.is_none() {
                self.sight(driver_id, position);
            }
            self.watch(driver_id);
        }
    }

    /// Looks again when he could have been silent for too long.
    fn watch(&mut self, driver_id: &DriverId) {
        if let Some(rider) = self.riders.get_mut(driver_id)
            && !rider.watched
        {
            rider.watched = true;
            let at = rider.heard_at.plus(self.ttl).max(self.now);
            self.agenda.note(at, Step::Silence(driver_id.clone()));
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Arrive(trip_id) => self.arrive(trip_id),
            Step::PickUp(trip_id) => self.pick_up(trip_id),
            Step::Drop(trip_id) => self.deliver(trip_id),
            Step::Turn(trip_id) => self.turn(trip_id),
            Step::Silence(driver_id) => {
                let Some(rider) = self.riders.get_mut(&driver_id) else {
                    return;
                };
                rider.watched = false;
                if rider.heard_at.plus(self.ttl) > self.now {
                    self.watch(&driver_id);
                } else if rider.trip.is_none() {
                    let at = self.now;
                    self.scheduler.apply(Input::DriverLeft { driver_id, at });
                }
            }
        }
    }

    fn tick(&mut self) {
        self.last_tick = self.now;
        let tick = self.scheduler.tick(self.now);
        for failure in tick.failures {
            self.end(failure.order_id, Fate::Failed(failure.reason));
        }
        let mut trips: Vec<(TripId, Vec<Decision>)> = Vec::new();
        for decision in tick.decisions {
            match trips.iter_mut().find(|(id, _)| *id == decision.trip.id) {
                Some((_, decisions)) => decisions.push(decision),
                None => trips.push((decision.trip.id, vec![decision])),
            }
        }
        for (trip_id, mut decisions) in trips {
            decisions.sort_by_key(|decision| decision.trip.position);
            self.depart(trip_id, &decisions);
        }
    }

    fn sight(&mut self, driver_id: &DriverId, position: Point) {
        let (driver_id, at) = (driver_id.clone(), self.now);
        self.scheduler.apply(Input::DriverPing {
            driver_id,
            position,
            at,
        });
    }

    fn progress(&mut self, order_id: OrderId, driver_id: &DriverId, phase: Phase) {
        let (driver_id, at) = (driver_id.clone(), self.now);
        self.scheduler.apply(Input::Progress {
            order_id,
            driver_id,
            phase,
            at,
        });
    }

    fn trip_of(&self, order_id: OrderId) -> Option<TripId> {
        self.scheduler
            .assignment_of(order_id)
            .map(|leg| leg.trip_id)
    }

    fn end(&mut self, order_id: OrderId, fate: Fate) {
        self.meals.remove(&order_id);
        self.fates.push((order_id, fate));
    }
}
