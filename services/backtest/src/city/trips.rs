//! The trips of a simulated city: to the restaurant, with the meals from door to door, and free again.

use dispatch::{At, Decision, DriverId, Input, OrderId, Phase, Point, TripId};

use super::{City, Delivered, Fate, Step};

pub(super) struct Trip {
    pub driver_id: DriverId,
    /// Where he set out, or the last door.
    pub from: Point,
    pub restaurant: Point,
    pub departs_at: At,
    pub arrives_at: At,
    pub at_counter: Option<At>,
    pub picked_up_at: Option<At>,
    /// Not delivered yet, in the order of delivery.
    pub orders: Vec<OrderId>,
    /// Since when the work for the next order counts.
    pub counts_from: At,
    pub last: Option<OrderId>,
    /// He is beyond the first door: `from` is one.
    pub dropped: bool,
}

impl City {
    pub(super) fn depart(&mut self, trip_id: TripId, decisions: &[Decision]) {
        let driver_id = decisions[0].driver_id.clone();
        let orders: Vec<OrderId> = decisions.iter().map(|decision| decision.order_id).collect();
        let restaurant = self.meals.get(&orders[0]).map(|m| m.request.restaurant);
        for order_id in &orders {
            if let Some(meal) = self.meals.get_mut(order_id) {
                meal.decided_at = self.now;
            }
            self.progress(*order_id, &driver_id, Phase::Accepted);
        }
        let Some(rider) = self.riders.get_mut(&driver_id) else {
            return;
        };
        rider.trip = Some(trip_id);
        let Some(restaurant) = restaurant else {
            return;
        };
        let from = rider.position.unwrap_or(restaurant);
        let arrives_at = self.now.plus(self.way(from, restaurant, self.now));
        let trip = Trip {
            driver_id,
            from,
            restaurant,
            departs_at: self.now,
            arrives_at,
            at_counter: None,
            picked_up_at: None,
            orders,
            counts_from: self.now,
            last: None,
            dropped: false,
        };
        self.trips.insert(trip_id, trip);
        self.agenda.note(arrives_at, Step::Arrive(trip_id));
    }

    pub(super) fn arrive(&mut self, trip_id: TripId) {
        let (now, half_pickup) = (self.now, self.half_pickup);
        let Some(trip) = self.trips.get_mut(&trip_id) else {
            return;
        };
        trip.at_counter = Some(now.plus(half_pickup));
        let (driver_id, orders) = (trip.driver_id.clone(), trip.orders.clone());
        for order_id in orders {
            self.progress(order_id, &driver_id, Phase::AtRestaurant);
        }
        self.wait_for_food(trip_id);
    }

    /// When the driver at the counter gets his meals, as far as is known; what is noted too early is looked at again then.
    pub(super) fn wait_for_food(&mut self, trip_id: TripId) {
        let at = self.pickup_at(trip_id).max(self.now);
        self.agenda.note(at, Step::PickUp(trip_id));
    }

    fn pickup_at(&self, trip_id: TripId) -> At {
        let Some(trip) = self.trips.get(&trip_id) else {
            return self.now;
        };
        let meals = trip.orders.iter().filter_map(|order| self.meals.get(order));
        let ready = meals.map(|meal| {
            let speaks = self.speaking.contains(&meal.request.restaurant_id);
            match speaks && !meal.said {
                true => meal.ready_at.plus(self.patience),
                false => meal.ready_at,
            }
        });
        ready.fold(trip.at_counter.unwrap_or(self.now), At::max)
    }

    pub(super) fn pick_up(&mut self, trip_id: TripId) {
        let too_early = self.pickup_at(trip_id) > self.now;
        let now = self.now;
        let Some(trip) = self.trips.get_mut(&trip_id) else {
            return;
        };
        if trip.picked_up_at.is_some() || trip.orders.is_empty() {
            return;
        }
        if too_early {
            return self.wait_for_food(trip_id);
        }
        trip.picked_up_at = Some(now);
        let (driver_id, orders) = (trip.driver_id.clone(), trip.orders.clone());
        for order_id in orders {
            self.progress(order_id, &driver_id, Phase::PickedUp);
        }
        self.set_out(trip_id, now.plus(self.half_pickup));
    }

    /// To the next door.
    pub(super) fn set_out(&mut self, trip_id: TripId, leaves_at: At) {
        let Some(trip) = self.trips.get(&trip_id) else {
            return;
        };
        let from = match trip.dropped {
            true => trip.from,
            false => trip.restaurant,
        };
        let next = trip.orders.first().and_then(|order| self.meals.get(order));
        if let Some(to) = next.map(|meal| meal.request.customer) {
            let way = self.way(from, to, leaves_at);
            let at = leaves_at.plus(way).plus(self.half_dropoff).max(self.now);
            self.agenda.note(at, Step::Drop(trip_id));
        }
    }

    pub(super) fn deliver(&mut self, trip_id: TripId) {
        let now = self.now;
        let Some(trip) = self.trips.get_mut(&trip_id) else {
            return;
        };
        if trip.orders.is_empty() {
            return;
        }
        let order_id = trip.orders.remove(0);
        (trip.last, trip.dropped) = (Some(order_id), true);
        if let Some(meal) = self.meals.get(&order_id) {
            trip.from = meal.request.customer;
            let turns_at = now.plus(self.half_dropoff);
            let delivered = Delivered {
                driver_id: trip.driver_id.clone(),
                placed_at: meal.request.placed_at,
                ready_at: meal.ready_at,
                decided_at: meal.decided_at,
                at_counter: trip.at_counter.unwrap_or(trip.arrives_at),
                picked_up_at: trip.picked_up_at.unwrap_or(now),
                delivered_at: now,
                busy: turns_at.since(trip.counts_from),
            };
            trip.counts_from = turns_at;
            let (driver_id, more) = (trip.driver_id.clone(), !trip.orders.is_empty());
            self.end(order_id, Fate::Delivered(delivered));
            if more {
                self.progress(order_id, &driver_id, Phase::Delivered);
                self.set_out(trip_id, turns_at);
            } else {
                self.agenda.note(turns_at, Step::Turn(trip_id));
            }
        }
    }

    /// The driver turns from the last door: for the scheduler he is free now.
    pub(super) fn turn(&mut self, trip_id: TripId) {
        let Some(trip) = self.trips.remove(&trip_id) else {
            return;
        };
        if let Some(order_id) = trip.last {
            self.progress(order_id, &trip.driver_id, Phase::Delivered);
        }
        self.free(&trip.driver_id, trip.from);
    }

    pub(super) fn free(&mut self, driver_id: &DriverId, position: Point) {
        let Some(rider) = self.riders.get_mut(driver_id) else {
            return;
        };
        rider.trip = None;
        rider.position = Some(position);
        if rider.watched {
            self.sight(driver_id, position);
        } else {
            // Silent all the while.
            let (driver_id, at) = (driver_id.clone(), self.now);
            self.scheduler.apply(Input::DriverLeft { driver_id, at });
        }
    }
}

/// Where a driver is who has not picked up yet: as far along his way as he is through its time.
pub(super) fn on_the_way(trip: &Trip, now: At) -> Point {
    let whole = trip.arrives_at.since(trip.departs_at).0;
    let share = match whole > 0.0 {
        true => (now.since(trip.departs_at).0 / whole).clamp(0.0, 1.0),
        false => 1.0,
    };
    let between = |from: f64, to: f64| from + (to - from) * share;
    let (from, to) = (trip.from, trip.restaurant);
    Point::degrees(between(from.lat(), to.lat()), between(from.lon(), to.lon())).unwrap_or(to)
}
