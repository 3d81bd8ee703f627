//! Checkout and the customers behind it: orders are placed, some of them nonsense, some of them regretted.

use contracts::orders::{Actor, Customer, OrderCancelRequested, OrderPlaced, Restaurant};
use contracts::value::Money;
use dispatch::{At, Seconds};
use rand::seq::index;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use uuid::Uuid;

use super::agenda::Due;
use super::{City, OrderState, random_id};
use crate::clock::instant;
use crate::emission::{Content, Poisoned, Trace};
use crate::plan::Plan;
use crate::world::World;

/// What will become of an order of the plan, decided before the day begins.
#[derive(Clone, Debug)]
pub(super) struct Fate {
    pub order_id: Uuid,
    pub trace: Trace,
    pub flaw: Option<Flaw>,
    /// When the customer regrets it, city seconds.
    pub cancel_s: Option<f64>,
    pub kitchen_rejects: bool,
    /// City seconds that the food takes longer than announced.
    pub delay_s: Option<f64>,
}

/// Why an order is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    WrongTotal,
    NoItems,
    BadQuantity,
    ForeignGeo,
}

const FLAWS: [Flaw; 4] = [
    Flaw::WrongTotal,
    Flaw::NoItems,
    Flaw::BadQuantity,
    Flaw::ForeignGeo,
];

/// Draws the fates; ids come from `ids`, everything else from the seed alone.
pub(super) fn fates(plan: &Plan, world: &World, seed: u64, ids: &mut ChaCha8Rng) -> Vec<Fate> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed.rotate_left(17));
    let mut fates: Vec<Fate> = plan
        .orders
        .iter()
        .map(|order| Fate {
            order_id: random_id(ids),
            trace: Trace {
                id: ids.random::<u128>() | 1,
                span: ids.random(),
            },
            flaw: None,
            cancel_s: (rng.random::<f64>() < world.cancels)
                .then(|| rng.random_range(order.placed_s..=order.ready_s.max(order.placed_s))),
            kitchen_rejects: rng.random::<f64>() < world.kitchen_rejections,
            delay_s: (rng.random::<f64>() < world.delays).then(|| rng.random_range(60.0..600.0)),
        })
        .collect();
    let bad = index::sample(&mut rng, fates.len(), world.bad_orders.min(fates.len()));
    for (flaw, place) in FLAWS.into_iter().cycle().zip(bad) {
        fates[place].flaw = Some(flaw);
    }
    fates
}

impl City {
    pub(super) fn open_checkout(&mut self) {
        for (place, (order, fate)) in self.plan.orders.iter().zip(&self.fates).enumerate() {
            self.agenda
                .add(self.clock.at(Seconds(order.placed_s)), Due::Place(place));
            if let Some(cancel_s) = fate.cancel_s {
                self.agenda
                    .add(self.clock.at(Seconds(cancel_s)), Due::Cancel(place));
            }
        }
        let last = self.plan.last_placed_s();
        for number in 1..=self.world.poison {
            let at = last * number as f64 / (self.world.poison + 1) as f64;
            self.agenda
                .add(self.clock.at(Seconds(at)), Due::Poison(number));
        }
    }

    pub(super) fn place(&mut self, place: usize, now: At) {
        let fate = self.fates[place].clone();
        let placed = self.order_placed(place, &fate, now);
        let state = OrderState {
            own: Some(place),
            trace: fate.trace,
            placed_at: now,
            food: None,
            carrier: None,
            seen: Vec::new(),
        };
        self.orders.insert(fate.order_id, state);
        self.progress.placed += 1;
        self.emit(fate.trace, Content::Checkout(placed.into()));
    }

    fn order_placed(&mut self, place: usize, fate: &Fate, now: At) -> OrderPlaced {
        let event_id = self.id();
        let order = &self.plan.orders[place];
        let restaurant = &self.plan.restaurants[order.restaurant];
        let ready_at = self.clock.at(Seconds(order.ready_s));
        let mut placed = OrderPlaced {
            event_id,
            occurred_at: instant(now),
            geo: self.plan.geo.to_string(),
            order_id: fate.order_id,
            order_version: 1,
            customer: Customer {
                id: format!("customer-{}", place + 1),
                name: None,
                location: order.customer.clone(),
                webhook_url: None,
            },
            restaurant: Restaurant {
                id: restaurant.id.clone(),
                name: None,
                location: restaurant.location.clone(),
                webhook_url: None,
            },
            items: order.items.clone(),
            delivery_fee_minor: order.delivery_fee_minor,
            tip_minor: order.tip_minor,
            total: Money {
                amount_minor: order.total_minor(),
                currency: "EUR".to_owned(),
            },
            payment_method: "tok_city".to_owned(),
            placed_at: instant(now),
            ready_at: instant(ready_at),
            prep_total_s: ready_at.since(now).0.ceil() as i32,
        };
        match fate.flaw {
            None => {}
            Some(Flaw::WrongTotal) => placed.total.amount_minor -= 1,
            Some(Flaw::NoItems) => {
                placed.items.clear();
                placed.total.amount_minor = placed.delivery_fee_minor + placed.tip_minor;
            }
            Some(Flaw::BadQuantity) => {
                let line = &mut placed.items[0];
                placed.total.amount_minor -= i64::from(line.quantity) * line.unit_price_minor;
                line.quantity = 0;
            }
            Some(Flaw::ForeignGeo) => "atlantis".clone_into(&mut placed.geo),
        }
        placed
    }

    pub(super) fn want_cancelled(&mut self, place: usize, now: At) {
        let fate = self.fates[place].clone();
        if fate.flaw.is_some() || self.has_ended(fate.order_id) {
            return;
        }
        let request = OrderCancelRequested {
            event_id: self.id(),
            occurred_at: instant(now),
            geo: self.plan.geo.to_string(),
            order_id: fate.order_id,
            order_version: 0,
            requested_by: Actor::Customer,
            reason: Some("changed my mind".to_owned()),
        };
        self.emit(fate.trace, Content::Checkout(request.into()));
    }

    pub(super) fn poison(&mut self, number: usize) {
        let (trace, bytes) = (
            Trace {
                id: self.ids.random::<u128>() | 1,
                span: 0,
            },
            self.ids.random::<[u8; 16]>(),
        );
        // Never the envelope's zero byte: these are meant to be unreadable.
        let bytes = bytes.map(|byte| byte | 1).to_vec();
        let on = [Poisoned::Checkout, Poisoned::Driver][(number + 1) % 2];
        self.emit(trace, Content::Poison(on, bytes));
    }
}
