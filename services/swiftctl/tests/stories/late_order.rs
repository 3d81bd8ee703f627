//! An order is late: its story, its lane, its driver, the decision and why.

use contracts::driver::{AssignmentAccepted, AssignmentDeclined, DriverLocation, DriverOnline};
use contracts::streams::{DriverEvent, DriverLocation as Locations, OrdersRequest};
use contracts::value::Point;
use harness::wait_for_value;
use serde_json::Value;
use uuid::Uuid;

use crate::platform::{DEADLINE, Platform, now};

/// A driver on duty, whose phone says once where he is.
async fn on_duty(platform: &Platform, driver: &str, location: &Point) {
    let online = DriverOnline {
        event_id: Uuid::new_v4(),
        occurred_at: now(),
        geo: platform.geo.clone(),
        driver_id: driver.to_owned(),
        location: location.clone(),
        shift_ends_at: None,
    };
    platform.send::<DriverEvent, _>(driver, &online).await;
    ping(platform, driver, location).await;
}

async fn ping(platform: &Platform, driver: &str, location: &Point) {
    let location = DriverLocation {
        event_id: Uuid::new_v4(),
        occurred_at: now(),
        geo: platform.geo.clone(),
        driver_id: driver.to_owned(),
        location: location.clone(),
        heading_deg: None,
        speed_mps: None,
        accuracy_m: None,
    };
    platform.send::<Locations, _>(driver, &location).await;
}

/// Waits for the n-th assignment of an order; the phones go on telling where the drivers are.
async fn assigned(platform: &Platform, order: &str, n: usize, drivers: &[(&str, Point)]) -> Value {
    wait_for_value(
        &format!("assignment {n} of {order}"),
        DEADLINE,
        async || {
            for (driver, location) in drivers {
                ping(platform, driver, location).await;
            }
            // Fails as long as nothing is written about the order.
            let story = platform.try_json(&["events", "show", order])?;
            let assigned = |event: &&Value| event["record"] == "DriverAssigned";
            let found = story.as_array()?.iter().filter(assigned).nth(n)?;
            Some(found["value"].clone())
        },
    )
    .await
}

#[tokio::test]
async fn an_order_is_late() {
    let mut platform = Platform::new("toronto-downtown").await;
    let near = platform.group("near");
    let far = platform.group("far");
    let drivers = [
        (near.as_str(), platform.north(300.0)),
        (far.as_str(), platform.north(2_500.0)),
    ];
    for (driver, location) in &drivers {
        on_duty(&platform, driver, location).await;
    }
    platform.start("orders", &[]);
    platform.start("payments", &[("PAYMENTS__GATEWAY", "instant")]);
    platform.start("assignment", &[]);
    let order_id = Uuid::new_v4();
    let mut placed = platform.placed(order_id);
    placed.ready_at = now() + chrono::TimeDelta::seconds(60);
    let order = order_id.to_string();
    platform.send::<OrdersRequest, _>(&order, &placed).await;

    // The one who was near declines: somebody from far away has to come.
    let first = assigned(&platform, &order, 0, &drivers).await;
    assert_eq!(first["driver_id"], near);
    let declined = AssignmentDeclined {
        event_id: Uuid::new_v4(),
        occurred_at: now(),
        geo: platform.geo.clone(),
        driver_id: near.clone(),
        order_id,
        order_version: first["order_version"].as_i64().unwrap().try_into().unwrap(),
        reason: Some("flat tyre".to_owned()),
    };
    platform.send::<DriverEvent, _>(&near, &declined).await;
    let second = assigned(&platform, &order, 1, &drivers).await;
    assert_eq!(second["driver_id"], far);
    let accepted = AssignmentAccepted {
        event_id: Uuid::new_v4(),
        occurred_at: now(),
        geo: platform.geo.clone(),
        driver_id: far.clone(),
        order_id,
        order_version: second["order_version"]
            .as_i64()
            .unwrap()
            .try_into()
            .unwrap(),
    };
    platform.send::<DriverEvent, _>(&far, &accepted).await;

    // What the operator finds out.
    let tail = [
        "events",
        "tail",
        "--geo",
        &platform.geo,
        "--order",
        &order,
        "--since",
        "5m",
    ];
    platform.sees(
        &[
            &tail[..],
            &["--record", "AssignmentAccepted", "--limit", "1"],
        ]
        .concat(),
    );
    platform.sees(&["events", "show", &order]);
    let story = platform.json(&["events", "show", &order]);
    is_told(&story, [&near, &far]);
    let orders = platform.group("orders");
    platform.sees(&[
        "lanes",
        "--service",
        "orders",
        "--group",
        &orders,
        "--geo",
        &platform.geo,
    ]);
    let lanes = platform.json(&[
        "lanes",
        "--service",
        "assignment",
        "--group",
        &platform.group("assignment"),
    ]);
    assert_eq!(
        (&lanes[0]["lane"], &lanes[0]["owner"], &lanes[0]["state"]),
        (&platform.geo.as_str().into(), &"0".into(), &"owned".into())
    );
    platform.sees(&["drivers", "show", &far]);
    let driver = platform.json(&["drivers", "show", &far]);
    assert_eq!(
        (
            &driver["drivers"][0]["status"],
            &driver["drivers"][0]["active_trip"],
            &driver["assignments"][0]["order_id"]
        ),
        (
            &"busy".into(),
            &driver["assignments"][0]["trip_id"],
            &order.as_str().into()
        )
    );
    let heard = driver["drivers"][0]["heard"]["lat"].as_f64().unwrap();
    assert!(
        (heard - platform.north(2_500.0).lat).abs() < 1e-6,
        "{driver:#}"
    );
    let drained = platform.sees(&["drain", "orders/0", "--group", &orders]);
    assert!(drained.contains("orders/0: drained"), "{drained}");
}

/// All steps, in an order in which none comes before its cause, under one trace, and the ticks that decided.
fn is_told(story: &Value, [near, far]: [&str; 2]) {
    let events = story.as_array().unwrap();
    let at = |record: &str, driver: Option<&str>| {
        let told = |event: &&Value| {
            event["record"] == record
                && driver.is_none_or(|driver| event["value"]["driver_id"] == driver)
        };
        let place = events.iter().position(|event| told(&event));
        place.unwrap_or_else(|| panic!("no {record} in {story:#}"))
    };
    let steps = [
        at("OrderPlaced", None),
        at("OrderAccepted", None),
        at("PaymentCaptured", None),
        at("OrderConfirmed", None),
        at("DriverAssigned", Some(near)),
        at("AssignmentDeclined", Some(near)),
        at("DriverAssigned", Some(far)),
    ];
    assert!(steps.is_sorted(), "{steps:?}");
    let assigned = &events[at("DriverAssigned", Some(far))]["value"];
    let ticks: Vec<&Value> = events
        .iter()
        .filter(|event| event["record"] == "DispatchTick")
        .collect();
    let of_it = ticks
        .iter()
        .find(|tick| tick["value"]["ticked_at"] == assigned["released_at"]);
    // The one who declined is free as well, but is not asked for this order again.
    assert_eq!(of_it.unwrap()["value"]["free_drivers"], 2);
    for event in events
        .iter()
        .filter(|event| event["record"] != "DispatchTick")
    {
        assert_eq!(
            event["trace"], "4bf92f3577b34da6a3ce929d0e0e4736",
            "{event}"
        );
        assert!(
            event["undecodable"].is_null() && event["died"].is_null(),
            "{event}"
        );
    }
}
