//! A whole day in virtual time, with services that answer at once: the city alone, without Kafka.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod services;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use city::{City, Clock, Content, Plan, Size, World};
use contracts::Catalogue;
use contracts::streams::{DriverEvent, KitchenEvent, OrdersRequest};
use dispatch::At;
use services::Services;
use uuid::Uuid;

const START: At = At(1_800_000_000_000_000);
const SIZE: Size = Size {
    orders: 12,
    couriers: 6,
    restaurants: 3,
    span_s: 1_200.0,
};

fn plan() -> Plan {
    Plan::generate(Catalogue::embedded().geo("berlin-mitte").unwrap(), 3, SIZE)
}

fn city(world: World, seed: u64) -> City {
    City::new(plan(), world, Clock::new(START, 60.0), seed).unwrap()
}

/// Lives until nothing is left to do, or an hour of the wall has passed.
fn live(city: &mut City) -> Services {
    live_with(Services::default(), city)
}

fn live_with(mut services: Services, city: &mut City) -> Services {
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
fn the_orders_of_a_trip_are_fetched_together_and_brought_in_turn() {
    let mut city = city(World::default(), 5);
    let services = live_with(Services::with_trips(3), &mut city);
    let progress = city.progress();
    assert!(city.is_over() && progress.busy == 0, "{progress:?}");
    assert_eq!((progress.delivered, progress.double_offers), (12, 0));
    assert!(services.shared > 1, "{} shared trips", services.shared);
    // A driver's word between two of his waits at a counter: pickups first, then drops, as many.
    let mut hands: HashMap<String, (usize, usize)> = HashMap::new();
    let mut most = 0;
    for (_, emission) in &services.said {
        match &emission.content {
            Content::Driver(DriverEvent::OrderPickedUp(event)) => {
                let (carried, dropped) = hands.entry(event.driver_id.clone()).or_default();
                assert_eq!(*dropped, 0, "{event:?} with meals still in the bag");
                *carried += 1;
                most = most.max(*carried);
            }
            Content::Driver(DriverEvent::OrderDropped(event)) => {
                let (carried, dropped) = hands.get_mut(&event.driver_id).unwrap();
                *dropped += 1;
                if dropped == carried {
                    (*carried, *dropped) = (0, 0);
                }
            }
            _ => {}
        }
    }
    assert!(most > 1, "nobody carried more than {most}");
}

#[test]
fn trips_survive_cancelled_declined_and_rejected_orders() {
    let world = World {
        cancels: 0.4,
        kitchen_rejections: 0.2,
        declines: 0.3,
        ..World::default()
    };
    let (mut delivered, mut shared) = (0, 0);
    for seed in 1..25 {
        let mut city = city(world, seed);
        shared += live_with(Services::with_trips(3), &mut city).shared;
        let progress = city.progress();
        assert!(city.is_over() && progress.busy == 0, "{progress:?}");
        assert!(progress.cancelled > 0, "{progress:?}");
        delivered += progress.delivered;
    }
    assert!(delivered > 10 && shared > 7, "{delivered}, {shared}");
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
                ready.insert(event.order_id, *at);
            }
            Content::Driver(DriverEvent::DriverArrived(event)) => {
                arrived.insert(event.order_id, *at);
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
fn drivers_come_when_and_where_they_announced_before() {
    let services = live(&mut city(World::default(), 5));
    let mut announced = HashMap::new();
    let mut came = 0;
    for (_, emission) in services.said {
        match emission.content {
            Content::Driver(DriverEvent::ShiftAnnounced(event)) => {
                assert!(
                    announced
                        .insert(event.driver_id, event.shift.unwrap())
                        .is_none()
                );
            }
            Content::Driver(DriverEvent::DriverOnline(event)) => {
                let shift = &announced[&event.driver_id];
                assert_eq!(shift.starts_at, event.occurred_at);
                assert_eq!(Some(shift.ends_at), event.shift_ends_at);
                assert_eq!(shift.location, event.location);
                came += 1;
            }
            _ => {}
        }
    }
    assert_eq!(came, SIZE.couriers);
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
                announced.insert(placed.order_id, placed.ready_at);
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

#[test]
fn drivers_who_vanish_keep_silent_with_and_without_the_meal() {
    let world = World {
        vanishing: 1.0,
        ..World::default()
    };
    let mut city = city(world, 5);
    live(&mut city);
    let progress = city.progress();
    assert_eq!((progress.vanished, progress.delivered), (6, 0));
    assert_eq!(
        progress.slack_at_pickup_s.len(),
        3,
        "every second one has it"
    );
    assert_eq!(progress.drivers, 0, "nobody is heard any more");
}
