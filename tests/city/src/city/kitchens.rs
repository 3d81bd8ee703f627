//! Kitchens: an order that is paid is cooked, is ready at its time, late and announced so, or refused.

use contracts::kitchen::{FoodReady, KitchenRejected, PrepTimeChanged};
use contracts::orders::OrderConfirmed;
use dispatch::{At, Seconds};
use uuid::Uuid;

use super::City;
use super::agenda::Due;
use crate::clock::{at, instant};
use crate::emission::Content;

/// The food of an order in the making.
#[derive(Clone, Debug)]
pub(super) struct Food {
    pub restaurant_id: String,
    /// When it will be ready, or was.
    pub ready_at: At,
    pub ready: bool,
}

impl City {
    /// Orders from elsewhere are cooked as announced in the event.
    pub(super) fn start_cooking(&mut self, event: &OrderConfirmed, now: At) {
        let order = event.order_id;
        let Some(state) = self.orders.get(&order) else {
            return;
        };
        if state.food.is_some() {
            return;
        }
        let fate = state
            .own
            .map(|place| (&self.plan.orders[place], &self.fates[place]));
        let announced = fate
            .map_or(at(event.ready_at), |(order, _)| {
                self.clock.at(Seconds(order.ready_s))
            })
            .max(now);
        if fate.is_some_and(|(_, fate)| fate.kitchen_rejects) {
            return self.refuse_to_cook(order, &event.restaurant.id, now);
        }
        let delay = fate
            .and_then(|(_, fate)| fate.delay_s)
            .map(|delay| self.wall(delay));
        let ready_at = delay.map_or(announced, |delay| announced.plus(delay));
        if delay.is_some() {
            self.agenda
                .add(now.plus(announced.since(now) * 0.5), Due::DelayTold(order));
        }
        self.agenda.add(ready_at, Due::FoodReady(order));
        let food = Food {
            restaurant_id: event.restaurant.id.clone(),
            ready_at,
            ready: false,
        };
        if let Some(state) = self.orders.get_mut(&order) {
            state.food = Some(food);
        }
    }

    fn refuse_to_cook(&mut self, order: Uuid, restaurant_id: &str, now: At) {
        let rejected = KitchenRejected {
            event_id: self.id(),
            occurred_at: instant(now),
            geo: self.plan.geo.to_string(),
            order_id: order,
            order_version: 0,
            restaurant_id: restaurant_id.to_owned(),
            reason: Some("out of stock".to_owned()),
        };
        let trace = self.orders[&order].trace;
        self.emit(trace, Content::Kitchen(rejected.into()));
    }

    pub(super) fn tell_delay(&mut self, order: Uuid, now: At) {
        if let Some((food, trace)) = self.food_of_open(order) {
            let changed = PrepTimeChanged {
                event_id: self.id(),
                occurred_at: instant(now),
                geo: self.plan.geo.to_string(),
                order_id: order,
                order_version: 0,
                restaurant_id: food.restaurant_id,
                ready_at: instant(food.ready_at),
            };
            self.emit(trace, Content::Kitchen(changed.into()));
        }
    }

    pub(super) fn food_ready(&mut self, order: Uuid, now: At) {
        let Some((food, trace)) = self.food_of_open(order) else {
            return;
        };
        let ready = FoodReady {
            event_id: self.id(),
            occurred_at: instant(now),
            geo: self.plan.geo.to_string(),
            order_id: order,
            order_version: 0,
            restaurant_id: food.restaurant_id,
            ready_at: instant(food.ready_at),
        };
        self.emit(trace, Content::Kitchen(ready.into()));
        let carrier = self.orders.get_mut(&order).and_then(|state| {
            state.food.as_mut()?.ready = true;
            state.carrier
        });
        if let Some(driver) = carrier {
            self.pick_up_if_ready(driver, now);
        }
    }

    fn food_of_open(&self, order: Uuid) -> Option<(Food, crate::emission::Trace)> {
        let state = self.orders.get(&order).filter(|_| !self.has_ended(order))?;
        Some((state.food.clone()?, state.trace))
    }
}
