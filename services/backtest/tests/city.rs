//! A city of one or two drivers: every instant can be told by hand.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use backtest::city::{City, Delivered, Fate};
use dispatch::{
    At, Config, DriverId, Drives, OrderId, Point, Policy, PolicySpec, Request, RestaurantId, Road,
    RoadConfig, SeenDrive, Snapshot,
};
use uuid::Uuid;

/// 36 km/h and no detours: 10 m/s; two minutes at each door.
fn city() -> City {
    city_after(Snapshot::default())
}

fn city_after(snapshot: Snapshot) -> City {
    let road = RoadConfig {
        detour: 1.0,
        speed_kmh: [36.0; 24],
        time_zone: "UTC".to_owned(),
    };
    let policy: Arc<dyn Policy> = PolicySpec::SlackGreedy.build();
    let travel = Arc::new(Road::new(&road).unwrap());
    let config = Config {
        max_wait_s: 900.0,
        ..Config::default()
    };
    City::new(&config, travel, policy, snapshot, second(0.0))
}

fn second(seconds: f64) -> At {
    At::from_seconds(1e9 + seconds)
}

/// So many metres north of the restaurant.
fn north(metres: f64) -> Point {
    Point::degrees(metres / 111_195.08, 13.4).unwrap()
}

fn order(number: u128) -> OrderId {
    OrderId(Uuid::from_u128(number))
}

fn request(number: u128, ready_s: f64) -> Request {
    Request {
        order_id: order(number),
        version: 1,
        attempt: 1,
        restaurant_id: RestaurantId::new("r"),
        restaurant: north(0.0),
        customer: north(3_000.0),
        placed_at: second(0.0),
        requested_at: second(0.0),
        ready_at: second(ready_s),
        ready_said_at: second(0.0),
        search_radius_m: 10_000.0,
        cooled: Default::default(),
    }
}

fn on_duty(city: &mut City, driver: &str, metres: f64) -> DriverId {
    let driver = DriverId::new(driver);
    city.online(&driver, north(metres), None);
    driver
}

/// Everybody's phone is heard all the while.
fn play(city: &mut City, until_s: f64) {
    city.keep_drivers();

    city.advance(second(until_s));
}

fn delivered(city: &mut City) -> Vec<Delivered> {
    let fates = city.take_fates().into_iter();
    let delivered = fates.filter_map(|(_, fate)| match fate {
        Fate::Delivered(delivered) => Some(delivered),
        Fate::Failed(_) | Fate::Cancelled => None,
    });
    delivered.collect()
}

/// To the second: places on a sphere are not exact to the metre.
fn seconds(at: At) -> f64 {
    at.since(second(0.0)).0.round()
}

#[test]
fn a_driver_leaves_when_the_order_is_due_and_takes_the_time_that_the_way_takes() {
    let mut city = city();
    let ada = on_duty(&mut city, "ada", 1_000.0);
    city.requested(request(1, 600.0));
    play(&mut city, 3_600.0);
    let it = &delivered(&mut city)[0];
    // Due 120 s of slack before 600 s less the way of 100 s; at the counter a minute after arriving.
    assert_eq!(
        [
            it.decided_at,
            it.at_counter,
            it.picked_up_at,
            it.delivered_at
        ]
        .map(seconds),
        [380.0, 540.0, 600.0, 600.0 + 60.0 + 300.0 + 60.0]
    );
    // Until he turns from the door.
    assert_eq!(it.busy.0.round(), 1_080.0 - 380.0);
    assert_eq!(it.driver_id, ada);
}

/// Twenty drives of this hour that took one and a half times as long as estimated.
fn slow_traffic() -> Snapshot {
    let hour = (second(0.0).0 / 3_600_000_000 % 24) as u8;
    let seen = |number| SeenDrive {
        hour,
        arrived_at: second(0.0),
        order_id: order(number),
        ratio: 1.5,
    };
    Snapshot {
        drives: Drives::new((100..120).map(seen).collect()),
        ..Snapshot::default()
    }
}

#[test]
fn drivers_are_as_slow_as_is_said_and_estimates_as_was_learned() {
    // (what was learned of, how slow drivers are, decided, at the counter)
    for (learned, pace, decided_at, at_counter) in [
        (slow_traffic(), 1.5, 330.0, 540.0),
        (slow_traffic(), 1.0, 330.0, 490.0),
        (Snapshot::default(), 1.5, 380.0, 590.0),
    ] {
        let mut city = city_after(learned);
        city.drive_at([pace; 24]);
        on_duty(&mut city, "ada", 1_000.0);
        city.requested(request(1, 600.0));
        play(&mut city, 3_600.0);
        let it = &delivered(&mut city)[0];
        let drive = 300.0 * pace;
        assert_eq!(
            [it.decided_at, it.at_counter, it.delivered_at].map(seconds),
            [decided_at, at_counter, 600.0 + 60.0 + drive + 60.0]
        );
    }
}

#[test]
fn food_is_there_when_its_restaurant_says_so_if_it_ever_does() {
    let mut city = city();
    on_duty(&mut city, "ada", 1_000.0);
    city.keep_drivers();
    city.requested(request(1, 1_000.0));
    // The restaurant is known to speak, by another order.
    city.requested(request(2, 60.0));
    city.ready(order(2), second(60.0), true);
    // She stands at the counter again from 1,000 s on.
    city.advance(second(1_200.0));
    assert_eq!(delivered(&mut city).len(), 1);
    city.ready(order(1), second(1_200.0), true);
    city.advance(second(7_200.0));
    let late = &delivered(&mut city)[0];
    assert_eq!(
        [late.at_counter, late.picked_up_at, late.ready_at].map(seconds),
        [1_000.0, 1_200.0, 1_200.0]
    );
}

#[test]
fn nobody_is_waited_for_for_ever() {
    let mut city = city();
    on_duty(&mut city, "ada", 1_000.0);
    city.requested(request(1, 600.0));
    city.requested(request(2, 60.0));
    city.ready(order(2), second(60.0), true);
    city.keep_drivers();
    city.finish(second(7_200.0));
    let mut picked_up: Vec<f64> = delivered(&mut city)
        .iter()
        .map(|it| seconds(it.picked_up_at))
        .collect();
    picked_up.sort_by(f64::total_cmp);
    // A third of the 900 s that an order waits at most, after the estimate.
    assert_eq!(picked_up.len(), 2);
    assert!(picked_up[1] >= 900.0, "{picked_up:?}");
}

#[test]
fn who_is_not_heard_is_not_asked_until_he_is_heard_again() {
    let mut city = city();
    let ada = on_duty(&mut city, "ada", 1_000.0);
    city.requested(request(1, 600.0));
    city.advance(second(1_000.0));
    assert!(city.take_fates().is_empty());
    city.heard(&ada, north(1_000.0));
    city.keep_drivers();
    city.advance(second(3_000.0));
    let it = &delivered(&mut city)[0];
    assert_eq!(seconds(it.decided_at), 1_000.0);
}

#[test]
fn an_order_that_nobody_can_fetch_fails_and_one_that_is_taken_back_frees_its_driver_where_he_is() {
    let mut city = city();
    city.requested(request(1, 0.0));
    city.advance(second(1_200.0));
    let fates = city.take_fates();
    assert!(
        matches!(&fates[..], [(id, Fate::Failed(_))] if *id == order(1)),
        "{fates:?}"
    );

    let mut city = self::city();
    on_duty(&mut city, "ada", 4_000.0);
    city.keep_drivers();
    city.requested(request(1, 0.0));
    city.advance(second(100.0));
    city.withdrawn(order(1));
    assert_eq!(city.take_fates(), [(order(1), Fate::Cancelled)]);
    // 3,000 m are left of her way.
    city.requested(request(2, 0.0));
    city.advance(second(3_000.0));
    let it = &delivered(&mut city)[0];
    assert_eq!(seconds(it.at_counter), 100.0 + 300.0 + 60.0);
}
