//! A whole day in virtual time, with services that answer at once: the city alone, without Kafka.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use chrono::{DateTime, Utc};
use city::{City, Clock, Content, Emission, Plan, Seen, Size, World};
use contracts::Catalogue;
use contracts::driver_assignment::{AssignmentReleased, DriverAssigned, ReleaseReason};
use contracts::orders::*;
use contracts::streams::{DriverEvent, KitchenEvent, OrdersRequest};
use contracts::value::{Contact, Money, Place, Point};
use dispatch::At;
use uuid::Uuid;

const START: At = At(1_800_000_000_000_000);
const SIZE: Size = Size {
    orders: 12,
    couriers: 6,
    restaurants: 3,
    span_s: 1_200.0,
};

/// What a test's services know.
#[derive(Default)]
struct Services {
    open: Vec<OrderPlaced>,
    online: BTreeMap<String, Point>,
    busy: HashMap<String, Uuid>,
    placed: HashMap<Uuid, OrderPlaced>,
    said: Vec<(DateTime<Utc>, Emission)>,
}

fn plan() -> Plan {
    Plan::generate(Catalogue::embedded().geo("berlin-mitte").unwrap(), 3, SIZE)
}

fn city(world: World, seed: u64) -> City {
    City::new(plan(), world, Clock::new(START, 60.0), seed).unwrap()
}

fn instant(at: At) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(at.0).unwrap()
}

/// Lives until nothing is left to do, or an hour of the wall has passed.
fn live(city: &mut City) -> Services {
    let mut services = Services::default();
    while let Some(now) = city
        .next_due()
        .filter(|now| now.0 < START.0 + 3_600_000_000)
    {
        let said = city.advance(now);
        services.hear(city, said, now);
        if city.is_over() {
            break;
        }
    }
    services
}

impl Services {
    /// Answers come in the order of their causes, as they would from one partition.
    fn hear(&mut self, city: &mut City, said: Vec<Emission>, now: At) {
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
            Content::Location(_) | Content::Kitchen(_) | Content::Poison(_) => Vec::new(),
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

#[test]
fn every_order_is_delivered_and_nobody_is_offered_two() {
    let mut city = city(World::default(), 5);
    live(&mut city);
    let progress = city.progress();
    assert!(city.is_over(), "{progress:?}");
    assert_eq!(
        (progress.placed, progress.delivered, progress.double_offers),
        (12, 12, 0)
    );
    assert_eq!(
        (
            progress.slack_at_pickup_s.len(),
            progress.click_to_door_s.len()
        ),
        (12, 12)
    );
    assert!(
        progress.click_to_door_s.iter().all(|took| *took > 480.0),
        "{progress:?}"
    );
}

#[test]
fn a_seed_gives_the_same_messages_and_another_seed_others() {
    let messages = |seed| {
        live(&mut city(
            World {
                declines: 0.3,
                ..World::default()
            },
            seed,
        ))
        .said
    };
    assert_eq!(messages(5), messages(5));
    assert_ne!(messages(5), messages(6));
}

#[test]
fn a_meal_is_taken_when_driver_and_food_are_there_and_never_before() {
    let services = live(&mut city(World::default(), 5));
    let mut ready = HashMap::new();
    let mut arrived = HashMap::new();
    let mut taken = 0;
    for (at, emission) in &services.said {
        match &emission.content {
            Content::Kitchen(KitchenEvent::FoodReady(event)) => {
                drop(ready.insert(event.order_id, *at))
            }
            Content::Driver(DriverEvent::DriverArrived(event)) => {
                drop(arrived.insert(event.order_id, *at))
            }
            Content::Driver(DriverEvent::OrderPickedUp(event)) => {
                assert!(ready[&event.order_id] <= *at && arrived[&event.order_id] < *at);
                taken += 1;
            }
            _ => {}
        }
    }
    assert_eq!(taken, 12);
}

#[test]
fn all_ids_of_a_run_differ_and_so_do_those_of_the_next_run() {
    let ids = |start: i64| {
        let mut city = City::new(
            plan(),
            World::default(),
            Clock::new(At(START.0 + start), 60.0),
            5,
        )
        .unwrap();
        let said = live(&mut city).said;
        let orders: Vec<Uuid> = said
            .into_iter()
            .filter_map(|(_, emission)| match emission.content {
                Content::Checkout(OrdersRequest::OrderPlaced(placed)) => {
                    Some([placed.event_id, placed.order_id])
                }
                _ => None,
            })
            .flatten()
            .collect();
        orders
    };
    let all: BTreeSet<Uuid> = ids(0).into_iter().chain(ids(1)).collect();
    assert_eq!(all.len(), 48);
}

#[test]
fn a_phone_tells_its_place_while_on_duty_and_not_too_often() {
    let services = live(&mut city(World::default(), 5));
    let mut pings: BTreeMap<String, Vec<DateTime<Utc>>> = BTreeMap::new();
    for (at, emission) in services.said {
        if let Content::Location(contracts::streams::DriverLocation::DriverLocation(ping)) =
            emission.content
        {
            pings.entry(ping.driver_id).or_default().push(at);
        }
    }
    assert_eq!(pings.len(), SIZE.couriers);
    for times in pings.values() {
        let gaps = times
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).num_milliseconds());
        assert!(
            times.len() > 10 && gaps.clone().all(|gap| gap == 750),
            "{gaps:?}"
        );
    }
}

#[test]
fn bad_orders_are_rejected_and_only_those() {
    let mut city = city(
        World {
            bad_orders: 4,
            ..World::default()
        },
        5,
    );
    live(&mut city);
    let progress = city.progress();
    assert_eq!((progress.rejected, progress.delivered), (4, 8));
}

#[test]
fn declined_orders_find_another_driver() {
    let mut city = city(
        World {
            declines: 0.4,
            ..World::default()
        },
        5,
    );
    live(&mut city);
    let progress = city.progress();
    assert!(
        progress.refused_offers > 0 && progress.delivered == 12,
        "{progress:?}"
    );
}

#[test]
fn cancelled_orders_free_their_drivers() {
    let mut city = city(
        World {
            cancels: 0.5,
            kitchen_rejections: 0.2,
            ..World::default()
        },
        5,
    );
    live(&mut city);
    let progress = city.progress();
    assert!(
        progress.cancelled > 0 && progress.delivered > 0,
        "{progress:?}"
    );
    assert!(city.is_over() && progress.busy == 0, "{progress:?}");
}

#[test]
fn a_delay_is_told_before_the_food_was_announced_to_be_ready() {
    let services = live(&mut city(
        World {
            delays: 1.0,
            ..World::default()
        },
        5,
    ));
    let mut announced = HashMap::new();
    let (mut told, mut later) = (0, 0);
    for (at, emission) in &services.said {
        match &emission.content {
            Content::Checkout(OrdersRequest::OrderPlaced(placed)) => {
                drop(announced.insert(placed.order_id, placed.ready_at));
            }
            Content::Kitchen(KitchenEvent::PrepTimeChanged(event)) => {
                assert!(
                    *at < announced[&event.order_id] && announced[&event.order_id] < event.ready_at
                );
                told += 1;
            }
            Content::Kitchen(KitchenEvent::FoodReady(event)) => {
                later += usize::from(event.ready_at > announced[&event.order_id]);
            }
            _ => {}
        }
    }
    assert_eq!((told, later), (12, 12));
}
