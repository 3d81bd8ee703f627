//! Orders and facts to test with.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test uses some of it, and fails by panicking"
)]

use chrono::{DateTime, TimeDelta, Utc};
use contracts::Geo;
use contracts::orders::{Actor, Customer, OrderItem, OrderPlaced, Restaurant};
use contracts::value::{Money, Point};
use orders::decide::{Consequences, Decider, Policy};
use orders::emission::{Body, Emission};
use orders::fact::{Fact, Said};
use orders::round_robin::RoundRobin;
use orders::working_set::WorkingSet;
use runtime::{Trace, Verdict};
use std::time::Duration;
use uuid::Uuid;

pub const GEO: &str = "berlin-mitte";
pub const LANE: &str = "kitchen.events.berlin-mitte/0";
pub const PARTITIONS: i32 = 12;

pub fn geo() -> Geo {
    GEO.parse().unwrap()
}

/// Seconds after the order was placed.
pub fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap() + TimeDelta::seconds(seconds)
}

/// A valid order: 2 x 9.50 + 1 x 3.00 + 2.99 + 1.01 = 26.00.
pub fn placed(order_id: Uuid) -> OrderPlaced {
    let item = |id: &str, quantity, unit_price_minor| OrderItem {
        id: id.into(),
        name: format!("dish {id}"),
        quantity,
        unit_price_minor,
    };
    OrderPlaced {
        event_id: Uuid::new_v5(&order_id, b"placed"),
        occurred_at: at(0),
        geo: GEO.into(),
        order_id,
        order_version: 1,
        customer: Customer {
            id: "c-1".into(),
            name: Some("Ada".into()),
            location: Point {
                lat: 52.52,
                lon: 13.4,
            },
            webhook_url: None,
        },
        restaurant: Restaurant {
            id: "r-1".into(),
            name: None,
            location: Point {
                lat: 52.51,
                lon: 13.39,
            },
            webhook_url: Some("http://r-1.example/hook".into()),
        },
        items: vec![item("a", 2, 950), item("b", 1, 300)],
        delivery_fee_minor: 299,
        tip_minor: 101,
        total: total(),
        payment_method: "token-1".into(),
        placed_at: at(0),
        ready_at: at(1_200),
        prep_total_s: 1_200,
    }
}

pub fn total() -> Money {
    Money {
        amount_minor: 2_600,
        currency: "EUR".into(),
    }
}

/// Something that was said of an order, `seconds` after it was placed.
pub fn fact(order_id: Uuid, seconds: i64, said: Said) -> Fact {
    let event_id = Uuid::new_v5(&order_id, format!("{seconds} {said:?}").as_bytes());
    Fact {
        order_id,
        event_id,
        occurred_at: at(seconds),
        geo: GEO.into(),
        said,
    }
}

pub fn captured() -> Said {
    Said::PaymentCaptured { amount: total() }
}

pub fn assigned(attempt: i32, driver: &str) -> Said {
    Said::DriverAssigned {
        attempt,
        driver_id: driver.into(),
        expected_pickup_at: Some(at(1_300)),
        expected_delivery_at: Some(at(1_900)),
    }
}

pub fn picked_up(driver: &str) -> Said {
    Said::PickupConfirmed {
        driver_id: driver.into(),
        picked_up_at: at(1_350),
    }
}

pub fn delivered(driver: &str) -> Said {
    Said::DeliveryConfirmed {
        driver_id: driver.into(),
        delivered_at: at(1_950),
    }
}

pub fn cancel() -> Said {
    Said::CancelRequested {
        by: Actor::Customer,
        reason: Some("not hungry".into()),
    }
}

pub fn kitchen_rejects(restaurant: &str) -> Said {
    Said::KitchenRejected {
        restaurant_id: restaurant.into(),
        reason: Some("closed".into()),
    }
}

pub fn ready_in(seconds: i64) -> Said {
    Said::PrepTimeChanged {
        restaurant_id: "r-1".into(),
        ready_at: at(seconds),
    }
}

pub fn food_ready(seconds: i64) -> Said {
    Said::FoodReady {
        restaurant_id: "r-1".into(),
        ready_at: at(seconds),
    }
}

/// A processor without broker and database: one set that lives as long as it does.
pub struct Bench {
    pub set: WorkingSet,
    pub dealer: RoundRobin,
    pub policy: Policy,
    pub now: DateTime<Utc>,
    /// Everything published so far.
    pub sent: Vec<Emission>,
    /// Timers set by the last decision.
    pub timers: Vec<(orders::decide::Timer, DateTime<Utc>)>,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(WorkingSet::default())
    }

    pub fn with(set: WorkingSet) -> Self {
        let policy = Policy {
            search_radius_m: 8_000,
            payment_expires: Duration::from_secs(900),
            early_max_age: Duration::from_secs(900),
            stuck_after: Duration::from_secs(1_800),
        };
        let dealer = RoundRobin::new([(geo(), PARTITIONS)]);
        Self {
            set,
            dealer,
            policy,
            now: at(1),
            sent: Vec::new(),
            timers: Vec::new(),
        }
    }

    pub fn decide<T>(&mut self, decide: impl FnOnce(&mut Decider<'_>) -> T) -> T {
        let mut decider = Decider {
            policy: &self.policy,
            now: self.now,
            dealer: &mut self.dealer,
            set: &mut self.set,
            then: Consequences::default(),
        };
        let answer = decide(&mut decider);
        self.sent.extend(decider.then.records);
        self.timers = decider.then.timers;
        answer
    }

    pub fn place(&mut self, placed: OrderPlaced) -> Verdict {
        self.decide(|d| d.place(placed, &geo(), &Trace::root()))
    }

    pub fn hear(&mut self, fact: Fact) -> Verdict {
        self.decide(|d| d.hear(fact, LANE, &Trace::root()))
    }

    /// An order that was placed, and then went through these; each must have moved it.
    pub fn order(&mut self, order_id: Uuid, story: impl IntoIterator<Item = Said>) {
        assert_eq!(self.place(placed(order_id)), Verdict::Done);
        for (second, said) in story.into_iter().enumerate() {
            let fact = fact(order_id, 10 + second as i64, said);
            assert_eq!(self.hear(fact.clone()), Verdict::Done, "{fact:?}");
        }
    }

    /// Names of the records published since the last call.
    pub fn take_names(&mut self) -> Vec<&'static str> {
        self.sent
            .drain(..)
            .map(|emission| name(&emission.body))
            .collect()
    }
}

pub fn name(body: &Body) -> &'static str {
    use contracts::Message;
    match body {
        Body::Orders(event) => event.contract().name,
        Body::Payments(request) => request.contract().name,
        Body::Assignment(request) => request.contract().name,
    }
}
