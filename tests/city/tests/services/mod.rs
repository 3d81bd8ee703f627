//! The services as a city meets them, at their best: every valid order is confirmed at once and given to anybody who is free.

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
    busy: HashMap<String, Uuid>,
    placed: HashMap<Uuid, OrderPlaced>,
    /// Everything the city said, and when.
    pub said: Vec<(DateTime<Utc>, Emission)>,
}

impl Services {
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
            .find(|(_, held)| **held == order_id)
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
        self.busy.remove(&driver);
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
                let placed = self.placed[&event.order_id].clone();
                self.open.push(placed.clone());
                vec![self.release(&placed, event.driver_id, ReleaseReason::DriverDeclined, now)]
            }
            DriverEvent::OrderDropped(event) => {
                assert_eq!(self.busy.remove(&event.driver_id), Some(event.order_id));
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

    /// Anybody who is free gets the oldest open order.
    fn assign(&mut self, now: At) -> Vec<Seen> {
        let free: Vec<String> = self
            .online
            .keys()
            .filter(|driver| !self.busy.contains_key(*driver))
            .cloned()
            .collect();
        let pairs = free.into_iter().zip(std::mem::take(&mut self.open));
        let (mut seen, mut taken) = (Vec::new(), BTreeSet::new());
        let open: Vec<OrderPlaced> = self.placed.values().cloned().collect();
        for (driver, placed) in pairs {
            self.busy.insert(driver.clone(), placed.order_id);
            taken.insert(placed.order_id);
            seen.push(offer(&placed, driver, now));
        }
        let held: BTreeSet<Uuid> = self.busy.values().copied().collect();
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

fn offer(placed: &OrderPlaced, driver_id: String, now: At) -> Seen {
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
            trip_id: None,
            trip_position: 0,
        }
        .into(),
    )
}

fn instant(at: At) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(at.0).unwrap()
}
