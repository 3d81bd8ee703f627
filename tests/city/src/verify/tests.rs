//! Each check against a history made by hand: the good one passes, and each violation is found by its own check.

use super::*;
use uuid::Uuid;

const ROOT: u128 = 0xfeed;

fn topic(family: &str, kind: &str) -> Topic {
    Topic {
        family: family.into(),
        kind: kind.into(),
        geo: "berlin-mitte".parse().unwrap(),
    }
}

/// The record `name` about order `order`, as a truthful writer puts it on its topic.
fn entry(family: &str, kind: &str, name: &str, order: u128, at: i64) -> Entry {
    let (event_id, order_id) = (
        Uuid::new_v5(&Uuid::nil(), format!("{name}{order}").as_bytes()),
        Uuid::from_u128(order),
    );
    let partition = if kind == "requests" && family == "orders" {
        7
    } else {
        3
    };
    let record = Record {
        full_name: format!("swifteats.{family}.{name}"),
        version: Some(1),
        event_id,
        occurred_at: at,
        geo: "berlin-mitte".into(),
        key: Some(order_id.to_string()),
        order_id: Some(order_id),
        order_version: Some(i32::try_from(at).unwrap()),
        driver_id: (family == "driver_assignment").then(|| "anna".to_owned()),
        trip_id: None,
        amount: (family == "payments").then(|| (2_500, "EUR".to_owned())),
        notification: (family == "notifications").then(|| format!("{order}/{at}")),
    };
    Entry {
        topic: topic(family, kind),
        partition,
        offset: at,
        key: record.key.clone(),
        event_type: Some(name.into()),
        event_id: Some(event_id.to_string()),
        schema_version: Some("1".into()),
        trace: Some(ROOT),
        content: Content::Record(record),
    }
}

fn delivered(order: u128, from: i64) -> Vec<Entry> {
    [
        ("orders", "requests", "OrderPlaced"),
        ("orders", "events", "OrderAccepted"),
        ("payments", "requests", "PaymentRequested"),
        ("payments", "events", "PaymentCaptured"),
        ("orders", "events", "OrderConfirmed"),
        ("driver_assignment", "events", "DriverAssigned"),
        ("notifications", "events", "NotificationSent"),
        ("driver_assignment", "events", "PickupConfirmed"),
        ("orders", "events", "OrderPickedUp"),
        ("driver_assignment", "events", "DeliveryConfirmed"),
        ("orders", "events", "OrderDelivered"),
    ]
    .into_iter()
    .enumerate()
    .map(|(step, (family, kind, name))| entry(family, kind, name, order, from + step as i64))
    .collect()
}

/// Two orders delivered by one driver, one after the other.
fn good() -> Vec<Entry> {
    [delivered(1, 0), delivered(2, 100)].concat()
}

fn judge(entries: &[Entry]) -> Report {
    let mut history = History::new(&Catalogue::embedded());
    entries.iter().for_each(|entry| history.add(entry));
    history.report(None)
}

/// The one place of the good history where `name` of order 1 stands.
fn find<'a>(entries: &'a mut [Entry], name: &str) -> &'a mut Entry {
    entries
        .iter_mut()
        .find(|entry| entry.event_type.as_deref() == Some(name))
        .unwrap()
}

fn record(entry: &mut Entry) -> &mut Record {
    match &mut entry.content {
        Content::Record(record) => record,
        Content::Unreadable(why) => panic!("{why}"),
    }
}

/// A copy of `name` of order 1 right behind it, under another event id.
fn again<'a>(entries: &'a mut Vec<Entry>, name: &str) -> &'a mut Entry {
    let mut copy = find(entries, name).clone();
    let at = entries.iter().position(|entry| *entry == copy).unwrap() + 1;
    let id = Uuid::from_u128(999);
    (copy.event_id, record(&mut copy).event_id) = (Some(id.to_string()), id);
    entries.insert(at, copy);
    &mut entries[at]
}

fn violated(report: &Report) -> Vec<Check> {
    let bad = report
        .checks
        .iter()
        .filter(|findings| findings.violations > 0);
    bad.map(|findings| findings.check).collect()
}

/// Exactly this check fails after the change.
fn finds(check: Check, change: impl FnOnce(&mut Vec<Entry>)) -> Report {
    let mut entries = good();
    change(&mut entries);
    let report = judge(&entries);
    assert_eq!(violated(&report), [check], "{report}");
    assert!(!report.holds());
    report
}

#[test]
fn a_good_history_holds_and_every_check_looked() {
    let report = judge(&good());
    assert!(report.holds(), "{report}");
    for findings in &report.checks {
        let unasked = [Check::Spread, Check::DeadLettered, Check::Ledger].contains(&findings.check);
        assert_eq!(findings.looked == 0, unasked, "{findings:?}");
    }
    let last = "demo: placed 2, delivered 2, rejected 0, undeliverable 0, lost 0, duplicated 0";
    assert_eq!(report.to_string().lines().last(), Some(last));
}

#[test]
fn nothing_at_all_does_not_hold() {
    assert!(!judge(&[]).holds());
}

#[test]
fn an_order_without_an_end_is_lost() {
    let report = finds(Check::Ended, |entries| {
        entries.retain(|e| e.event_type.as_deref() != Some("OrderDelivered"))
    });
    assert_eq!((report.placed, report.delivered, report.lost), (2, 0, 2));
}

#[test]
fn a_second_end_is_a_duplicate() {
    let report = finds(Check::EndedOnce, |entries| {
        let mut failed = entry("orders", "events", "OrderPaymentFailed", 1, 50);
        failed.offset = 50;
        entries.push(failed);
    });
    assert_eq!(report.duplicated, 1);
}

#[test]
fn an_event_that_stands_there_twice_is_a_duplicate() {
    let report = finds(Check::EventOnce, |entries| {
        let copy = find(entries, "DriverAssigned").clone();
        let at = entries.iter().position(|e| *e == copy).unwrap();
        // Released in between, so that nothing but the repeated id is wrong.
        let mut released = entry("driver_assignment", "events", "AssignmentReleased", 1, 5);
        record(&mut released).occurred_at = 5;
        entries.splice(at + 1..=at, [released, copy]);
    });
    assert_eq!(report.duplicated, 1);
}

#[test]
fn a_step_taken_twice_under_two_ids_is_a_duplicate() {
    let report = finds(Check::StepOnce, |entries| {
        again(entries, "OrderAccepted");
    });
    assert_eq!(report.duplicated, 1);
}

#[test]
fn a_message_sent_twice_is_a_duplicate() {
    let report = finds(Check::NotifiedOnce, |entries| {
        again(entries, "NotificationSent");
    });
    assert_eq!(report.duplicated, 1);
}

#[test]
fn an_order_that_nobody_placed_is_found() {
    finds(Check::Placed, |entries| {
        entries.retain(|e| e.topic.kind != "requests" || e.offset != 0)
    });
}

#[test]
fn a_version_that_goes_down_is_found() {
    finds(Check::VersionOrder, |entries| {
        record(find(entries, "OrderPickedUp")).order_version = Some(0)
    });
}

#[test]
fn an_order_on_two_partitions_is_found() {
    finds(Check::OnePartition, |entries| {
        find(entries, "PaymentCaptured").partition = 4
    });
}

#[test]
fn a_driver_on_two_trips_at_once_is_found() {
    let overlap = |entries: &mut Vec<Entry>| {
        record(find(&mut entries[11..], "DriverAssigned")).occurred_at = 6
    };
    let report = finds(Check::OneTripPerDriver, overlap);
    let example = &report
        .checks
        .iter()
        .find(|f| f.violations > 0)
        .unwrap()
        .examples[0];
    assert!(example.contains("anna"), "{example}");
}

/// Two orders of one trip: both assigned before either is delivered.
fn on_one_trip() -> Vec<Entry> {
    let mut entries = good();
    let trip = Some(Uuid::from_u128(77));
    let earlier = record(find(&mut entries[..11], "DriverAssigned")).occurred_at;
    record(find(&mut entries[..11], "DriverAssigned")).trip_id = trip;
    let second = record(find(&mut entries[11..], "DriverAssigned"));
    (second.trip_id, second.occurred_at) = (trip, earlier);
    entries
}

#[test]
fn the_orders_of_one_trip_are_held_together() {
    let report = judge(&on_one_trip());
    assert!(report.holds());
    assert_eq!(report.sharing, 2);
    assert_eq!(judge(&good()).sharing, 0);
}

#[test]
fn a_trip_of_too_many_orders_is_found() {
    let mut entries = on_one_trip();
    let assigned = find(&mut entries[11..], "DriverAssigned").clone();
    for number in [91, 92] {
        let mut more = assigned.clone();
        let id = Uuid::from_u128(number);
        record(&mut more).order_id = Some(id);
        record(&mut more).event_id = id;
        entries.push(more);
    }
    let report = judge(&entries);
    assert!(report.violations(Check::OneTripPerDriver) > 0);
}

#[test]
fn a_driver_who_was_never_freed_and_drives_on_is_found() {
    finds(Check::OneTripPerDriver, |entries| {
        let first = entries
            .iter()
            .position(|e| e.event_type.as_deref() == Some("DeliveryConfirmed"))
            .unwrap();
        entries.remove(first);
    });
}

#[test]
fn a_release_frees_the_driver_as_a_delivery_does() {
    let mut entries = good();
    let freed = find(&mut entries, "DeliveryConfirmed");
    let released = entry(
        "driver_assignment",
        "events",
        "AssignmentReleased",
        1,
        freed.offset,
    );
    *freed = released;
    assert!(judge(&entries).holds());
}

#[test]
fn an_order_charged_twice_or_never_is_found() {
    finds(Check::ChargedOnce, |entries| {
        again(entries, "PaymentCaptured");
    });
    finds(Check::ChargedOnce, |entries| {
        let captured = find(entries, "PaymentCaptured");
        *captured = entry("payments", "events", "PaymentDeclined", 1, 3);
    });
}

#[test]
fn a_refund_that_is_missing_or_undue_is_found() {
    finds(Check::Refunded, |entries| {
        let end = find(entries, "OrderDelivered");
        let cancelled = entry("orders", "events", "OrderCancelled", 1, end.offset);
        *end = cancelled;
    });
    finds(Check::Refunded, |entries| {
        entries.push(entry("payments", "events", "PaymentRefunded", 1, 60))
    });
}

#[test]
fn a_record_that_has_no_place_on_its_topic_is_found() {
    finds(Check::Contract, |entries| {
        record(find(entries, "PaymentRequested")).full_name = "rogue.PaymentRequested".into()
    });
}

#[test]
fn an_unreadable_payload_of_ours_is_found() {
    finds(Check::Contract, |entries| {
        find(entries, "NotificationSent").content =
            Content::Unreadable("the registry does not know schema 9".into());
    });
}

#[test]
fn headers_that_are_missing_or_lie_are_found() {
    finds(Check::Headers, |entries| {
        find(entries, "PaymentCaptured").event_id = None
    });
    finds(Check::Headers, |entries| {
        find(entries, "PaymentCaptured").schema_version = Some("2".into())
    });
    finds(Check::Headers, |entries| {
        find(entries, "OrderPlaced").event_type = Some("OrderPlacd".into())
    });
}

#[test]
fn a_foreign_checkout_may_leave_the_headers_out() {
    let mut entries = good();
    let placed = find(&mut entries, "OrderPlaced");
    (
        placed.event_type,
        placed.event_id,
        placed.schema_version,
        placed.trace,
    ) = (None, None, None, None);
    assert!(judge(&entries).holds());
}

#[test]
fn a_key_or_a_geo_that_is_not_the_payloads_is_found() {
    finds(Check::KeyAndGeo, |entries| {
        find(entries, "OrderConfirmed").key = Some("other".into())
    });
    finds(Check::KeyAndGeo, |entries| {
        record(find(entries, "OrderConfirmed")).geo = "atlantis".into()
    });
}

#[test]
fn a_message_outside_the_orders_trace_is_found() {
    finds(Check::OneTrace, |entries| {
        find(entries, "DeliveryConfirmed").trace = Some(1)
    });
}

#[test]
fn poison_has_to_become_one_dead_letter() {
    let mut poison = entry("orders", "requests", "OrderPlaced", 3, 70);
    poison.content = Content::Unreadable("not in Confluent's wire format".into());
    let with_letters = |letters: usize| {
        let mut history = History::new(&Catalogue::embedded());
        good()
            .iter()
            .chain([&poison])
            .for_each(|entry| history.add(entry));
        let letter = DeadLetter {
            partition: Some(poison.partition),
            offset: Some(poison.offset),
        };
        (0..letters).for_each(|_| history.add_dead_letter(&poison.topic, letter.clone()));
        history.report(None)
    };
    assert_eq!(violated(&with_letters(0)), [Check::DeadLettered]);
    assert!(with_letters(1).holds());
    assert_eq!(violated(&with_letters(2)), [Check::DeadLettered]);
}

#[test]
fn a_spread_wider_than_allowed_is_found_where_asked_for() {
    let report = |max_spread| {
        let mut history = History::new(&Catalogue::embedded());
        good().iter().for_each(|entry| history.add(entry));
        history.report(max_spread)
    };
    assert!(report(Some(2)).holds());
    let narrow = report(Some(1));
    assert_eq!(violated(&narrow), [Check::Spread]);
    let Spread {
        partitions,
        accepted,
        least,
        most,
        ..
    } = narrow.spread[0].clone();
    assert_eq!((partitions, accepted, least, most), (12, 2, 0, 2));
}

#[test]
fn a_payment_that_nobody_answered_is_found() {
    finds(Check::PaymentAnswered, |entries| {
        entries.push(entry("orders", "requests", "OrderPlaced", 3, 200));
        entries.push(entry("payments", "requests", "PaymentRequested", 3, 201));
        entries.push(entry("orders", "events", "OrderCancelled", 3, 202));
    });
}

#[test]
fn money_that_the_gateway_tells_otherwise_is_found_to_the_cent() {
    let told = |cents: i64| {
        let mut history = History::new(&Catalogue::embedded());
        good().iter().for_each(|entry| history.add(entry));
        let mut ledger = Books::default();
        for order in [1, 2] {
            ledger.captured(&Uuid::from_u128(order).to_string(), "EUR", 2_500);
        }
        ledger.captured(&Uuid::from_u128(1).to_string(), "EUR", cents);
        // What the other order has too little does not make up for it.
        ledger.captured(&Uuid::from_u128(2).to_string(), "EUR", -cents);
        history.add_ledger(ledger);
        history.report(None)
    };
    assert_eq!((told(0).money_difference, told(0).holds()), (Some(0), true));
    let report = told(1);
    assert_eq!(report.money_difference, Some(2));
    assert_eq!(violated(&report), [Check::Ledger]);
    let said = Report {
        tell_all: true,
        ..report
    };
    assert!(said.to_string().ends_with("money difference 2\n"), "{said}");
}
