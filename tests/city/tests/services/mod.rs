//! The services as a city meets them, at their best: every valid order is confirmed at once and given to anybody who is
//! free, alone or with others of its restaurant.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use chrono::{DateTime, Utc};
use city::{City, Content, Emission, Seen};
use contracts::driver_assignment::{AssignmentReleased, DriverAssigned, ReleaseReason};
use contracts::orders::*;
use contracts::streams::{DriverEvent, KitchenEvent, OrdersRequest};
use contracts::value::{Contact, Money, Place, Point};
use dispatch::At;
use uuid::Uuid;

/// What a test's services know.
#[derive(Default)]
pub struct Services {
    open: Vec<OrderPlaced>,
    online: BTreeMap<String, Point>,
    busy: HashMap<String, BTreeSet<Uuid>>,
    /// How many orders beside the first a trip may carry.
    companions: usize,
    /// How many trips had some.
    pub shared: usize,
    placed: HashMap<Uuid, OrderPlaced>,
    /// Everything the city said, and when.
    pub said: Vec<(DateTime<Utc>, Emission)>,
}

impl Services {
    /// Services that let so many orders of a restaurant share a trip.
    pub fn with_trips(of: usize) -> Self {
        Self {
            companions: of - 1,
            ..Self::default()
        }
    }

    /// Answers come in the order of their causes, as they would from one partition.
    pub fn hear(&mut self, city: &mut City, said: Vec<Emission>, now: At) {
        let (mut said, mut seen) = (VecDeque::from(said), VecDeque::new());
        loop {
            if let Some(emission) = said.pop_front() {
                seen.extend(self.answer(emission, now));
                seen.extend(self.assign(now));
            } else if let Some(next) = seen.pop_front() {
                said.extend(city.observe(next, Some(1), now));
            } else {
                return;
            }
        }
    }

    fn answer(&mut self, emission: Emission, now: At) -> Vec<Seen> {
        self.said.push((instant(now), emission.clone()));
        match emission.content {
            Content::Checkout(OrdersRequest::OrderPlaced(placed)) => self.accept(placed, now),
            Content::Checkout(OrdersRequest::OrderCancelRequested(request)) => {
                self.cancel(request.order_id, now)
            }
            Content::Kitchen(KitchenEvent::KitchenRejected(event)) => {
                self.cancel(event.order_id, now)
            }
            Content::Driver(event) => self.driver(event, now),
            Content::Location(_) | Content::Kitchen(_) | Content::Poison(..) => Vec::new(),
        }
    }

    fn accept(&mut self, placed: OrderPlaced, now: At) -> Vec<Seen> {
        let total: i64 = placed
            .items
            .iter()
            .map(|i| i64::from(i.quantity) * i.unit_price_minor)
            .sum();
        let right = total + placed.delivery_fee_minor + placed.tip_minor
            == placed.total.amount_minor
            && !placed.items.is_empty()
            && placed.items.iter().all(|item| item.quantity > 0)
            && placed.geo == "berlin-mitte";
        let (order_id, geo) = (placed.order_id, placed.geo.clone());
        let (customer, restaurant) = contacts(&placed);
        if !right {
            return vec![Seen::Order(
                OrderRejected {
                    event_id: order_id,
                    occurred_at: instant(now),
                    geo,
                    correlation_id: placed.event_id,
                    order_id,
                    order_version: 1,
                    customer,
                    restaurant,
                    reasons: vec![],
                }
                .into(),
            )];
        }
        self.open.push(placed.clone());
        self.placed.insert(order_id, placed.clone());
        vec![Seen::Order(
            OrderConfirmed {
                event_id: order_id,
                occurred_at: instant(now),
                geo,
                correlation_id: placed.event_id,
                order_id,
                order_version: 2,
                customer,
                restaurant,
                items: placed.items,
                total: placed.total,
                placed_at: placed.placed_at,
                ready_at: placed.ready_at,
            }
            .into(),
        )]
    }

    fn cancel(&mut self, order_id: Uuid, now: At) -> Vec<Seen> {
        let Some(placed) = self.placed.remove(&order_id) else {
            return vec![];
        };
        self.open.retain(|open| open.order_id != order_id);
        let driver = self
            .busy
            .iter()
            .find(|(_, held)| held.contains(&order_id))
            .map(|(driver, _)| driver.clone());
        let (customer, restaurant) = contacts(&placed);
        let mut seen = vec![Seen::Order(
            OrderCancelled {
                event_id: order_id,
                occurred_at: instant(now),
                geo: placed.geo.clone(),
                correlation_id: None,
                order_id,
                order_version: 9,
                customer,
                restaurant,
                cancelled_by: Actor::Customer,
                reason: None,
                refund: None,
                driver_id: driver.clone(),
            }
            .into(),
        )];
        seen.extend(
            driver.map(|driver| self.release(&placed, driver, ReleaseReason::OrderCancelled, now)),
        );
        seen
    }

    fn release(
        &mut self,
        placed: &OrderPlaced,
        driver: String,
        reason: ReleaseReason,
        now: At,
    ) -> Seen {
        self.put_down(&driver, placed.order_id);
        Seen::Assignment(
            AssignmentReleased {
                event_id: placed.order_id,
                occurred_at: instant(now),
                geo: placed.geo.clone(),
                correlation_id: None,
                order_id: placed.order_id,
                order_version: 3,
                attempt: 1,
                driver_id: driver,
                reason,
            }
            .into(),
        )
    }

    fn driver(&mut self, event: DriverEvent, now: At) -> Vec<Seen> {
        match event {
            DriverEvent::DriverOnline(event) => {
                self.online.insert(event.driver_id, event.location);
                vec![]
            }
            DriverEvent::AssignmentDeclined(event) => {
                // What was cancelled a moment ago was taken from him then.
                let Some(placed) = self.placed.get(&event.order_id).cloned() else {
                    return vec![];
                };
                self.open.push(placed.clone());
                vec![self.release(&placed, event.driver_id, ReleaseReason::DriverDeclined, now)]
            }
            DriverEvent::OrderDropped(event) => {
                assert!(self.put_down(&event.driver_id, event.order_id));
                let placed = self.placed.remove(&event.order_id).unwrap();
                let (customer, restaurant) = contacts(&placed);
                vec![Seen::Order(
                    OrderDelivered {
                        event_id: placed.order_id,
                        occurred_at: instant(now),
                        geo: placed.geo,
                        correlation_id: event.event_id,
                        order_id: placed.order_id,
                        order_version: 5,
                        customer,
                        restaurant,
                        driver_id: event.driver_id,
                        total: Money {
                            amount_minor: 0,
                            currency: "EUR".into(),
                        },
                        placed_at: placed.placed_at,
                        ready_at: placed.ready_at,
                        picked_up_at: None,
                        delivered_at: instant(now),
                    }
                    .into(),
                )]
            }
            _ => vec![],
        }
    }

    /// Whether the driver had the order; he is free once he has none.
    fn put_down(&mut self, driver: &str, order: Uuid) -> bool {
        let Some(held) = self.busy.get_mut(driver) else {
            return false;
        };
        let had = held.remove(&order);
        if held.is_empty() {
            self.busy.remove(driver);
        }
        had
    }

    /// Anybody who is free gets the oldest open order, with the oldest others of its restaurant.
    fn assign(&mut self, now: At) -> Vec<Seen> {
        let free: Vec<String> = self
            .online
            .keys()
            .filter(|driver| !self.busy.contains_key(*driver))
            .cloned()
            .collect();
        let mut seen = Vec::new();
        for driver in free {
            if self.open.is_empty() {
                break;
            }
            let mut trip = vec![self.open.remove(0)];
            while trip.len() <= self.companions
                && let Some(next) = self
                    .open
                    .iter()
                    .position(|open| open.restaurant.id == trip[0].restaurant.id)
            {
                trip.push(self.open.remove(next));
            }
            self.shared += usize::from(trip.len() > 1);
            let name = (trip.len() > 1).then_some(trip[0].order_id);
            // The last leg is read first, as may be when they stand on different partitions.
            for (place, placed) in (0..trip.len() as i32).zip(&trip).rev() {
                let held = self.busy.entry(driver.clone()).or_default();
                held.insert(placed.order_id);
                seen.push(offer(placed, driver.clone(), (name, place), now));
            }
        }
        let open: Vec<OrderPlaced> = self.placed.values().cloned().collect();
        let held: BTreeSet<Uuid> = self.busy.values().flatten().copied().collect();
        self.open = open
            .into_iter()
            .filter(|placed| !held.contains(&placed.order_id))
            .collect();
        self.open
            .sort_by_key(|placed| (placed.placed_at, placed.order_id));
        seen
    }
}

fn contacts(placed: &OrderPlaced) -> (Contact, Contact) {
    let contact = |id: &str| Contact {
        id: id.to_owned(),
        webhook_url: None,
    };
    (contact(&placed.customer.id), contact(&placed.restaurant.id))
}

fn offer(
    placed: &OrderPlaced,
    driver_id: String,
    (trip_id, trip_position): (Option<Uuid>, i32),
    now: At,
) -> Seen {
    Seen::Assignment(
        DriverAssigned {
            event_id: placed.order_id,
            occurred_at: instant(now),
            geo: placed.geo.clone(),
            correlation_id: placed.event_id,
            order_id: placed.order_id,
            order_version: 3,
            attempt: 1,
            driver_id,
            restaurant: Place {
                id: placed.restaurant.id.clone(),
                location: placed.restaurant.location.clone(),
            },
            customer_location: placed.customer.location.clone(),
            driver_eta_to_restaurant_s: 0,
            restaurant_to_customer_s: 0,
            slack_s: 0,
            due_at: instant(now),
            released_at: instant(now),
            score: 0.0,
            policy_name: "test".into(),
            policy_version: "1".into(),
            expected_pickup_at: None,
            expected_delivery_at: None,
            offer_expires_at: None,
            trip_id,
            trip_position,
        }
        .into(),
    )
}

fn instant(at: At) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(at.0).unwrap()
}
