//! Every interleaving of requests, answers, losses and crashes, against a gateway that is remembered by key: money moves
//! at most once each way, and the events say exactly what the gateway's ledger says.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use chrono::Utc;
use contracts::payments::{PaymentRequested, RefundRequested};
use contracts::value::Money;
use payments::decide::{self, Fact};
use payments::gateway::{Call, Operation};
use payments::payment::{Payment, Status, Step};
use proptest::prelude::*;
use runtime::{Trace, Verdict};
use world::{Fate, Happening, ORDER, World, charge, happening, money, refund};

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn money_moves_at_most_once_each_way_and_the_events_say_so(
        declines in any::<bool>(),
        expires_s in proptest::option::of(0..90_u8),
        happenings in proptest::collection::vec(happening(), 0..40),
    ) {
        let mut world = World::new(declines, expires_s);
        happenings.into_iter().for_each(|happening| world.happen(happening));
        world.settle();
        let captured = world.count(|fact| matches!(fact, Fact::Captured { .. }));
        let declined = world.count(|fact| matches!(fact, Fact::Declined { .. }));
        let refunded = world.count(|fact| matches!(fact, Fact::Refunded { .. }));
        let asked = !world.done.is_empty();
        prop_assert_eq!(captured + declined, usize::from(asked), "each charge is answered once: {:?}", world.facts);
        prop_assert_eq!(world.bank.captured, 1250 * captured as i64);
        prop_assert_eq!(world.bank.refunded, 1250 * refunded as i64);
        prop_assert!(refunded <= captured);
        let delays = world.count(|fact| matches!(fact, Fact::Delayed));
        prop_assert!(delays <= 1 && (delays == 0 || expires_s.is_some()), "told once: {:?}", world.facts);
        let end = world.facts.iter().position(|fact| !matches!(fact, Fact::Delayed));
        let delay = world.facts.iter().position(|fact| matches!(fact, Fact::Delayed));
        prop_assert!(delay.is_none() || delay < end, "nothing is late that is over: {:?}", world.facts);
        if world.done.contains(&"refund") {
            prop_assert_eq!(world.bank.captured, world.bank.refunded, "what is to be given back is given back");
        }
        let step = world.slot.as_ref().map_or(Step::Rest, |payment| payment.step);
        prop_assert_eq!(step, Step::Rest, "nothing is left to do");
        let keys: Vec<&String> = world.bank.performed.keys().collect();
        prop_assert!(keys.len() <= 2, "one key per operation: {:?}", keys);
    }
}

fn requested() -> World {
    let mut world = World::new(false, None);
    world.happen(Happening::Charge);
    world
}

#[test]
fn a_failed_call_is_tried_again_after_one_two_and_four_seconds_and_then_deferred() {
    let mut world = requested();
    for expected in [1.0, 2.0, 4.0, 30.0, 30.0] {
        world.happen(Happening::Call(Fate::TimedOut));
        let Step::Wait(at) = world.slot.as_ref().unwrap().step else {
            panic!("it must wait")
        };
        let pause = (at - world.now).as_seconds_f64();
        assert!(
            (0.8 * expected..=1.2 * expected).contains(&pause),
            "{pause} s instead of about {expected}"
        );
        world.happen(Happening::Tick(40));
    }
    assert!(
        world.facts.is_empty(),
        "no error fails a payment: {:?}",
        world.facts
    );
}

#[test]
fn all_tries_carry_the_same_key() {
    let mut world = requested();
    let first = world.calls[0].clone();
    world.happen(Happening::Call(Fate::TimedOut));
    world.happen(Happening::Tick(40));
    assert_eq!(world.calls, std::slice::from_ref(&first));
    let Call::Capture { key, .. } = first else {
        panic!("{first:?}")
    };
    assert_eq!(
        key,
        format!("capture:{ORDER}:1"),
        "a changed derivation would charge open payments twice"
    );
}

#[test]
fn an_open_breaker_defers_and_is_no_failure() {
    let mut world = requested();
    world.happen(Happening::Turns(false));
    world.happen(Happening::Call(Fate::Deferred));
    let payment = world.slot.as_ref().unwrap();
    assert_eq!((payment.tries, payment.exposed), (0, false));
    assert_eq!(payment.step, Step::Call, "it waits for its turn");
    assert_eq!((world.calls.len(), world.facts.len()), (0, 0));
    world.happen(Happening::Turns(true));
    assert_eq!(world.calls.len(), 1);
}

#[test]
fn a_gateway_that_is_back_ends_the_deferral_but_not_the_first_pauses() {
    let mut world = requested();
    for tries in 1..=4 {
        world.happen(Happening::Call(Fate::TimedOut));
        world.happen(Happening::Back);
        assert_eq!(world.calls.len(), usize::from(tries == 4), "try {tries}");
        world.happen(Happening::Tick(40));
    }
}

#[test]
fn a_refund_before_the_gateway_could_see_the_charge_ends_it_without_a_call() {
    let mut world = requested();
    world.happen(Happening::Call(Fate::NotSent));
    world.happen(Happening::Refund);
    assert!(matches!(&world.facts[..], [Fact::Declined { code, .. }] if code == decide::WITHDRAWN));
    world.settle();
    assert_eq!(world.bank.captured, 0);
}

#[test]
fn a_refund_while_the_outcome_is_unknown_waits_for_it() {
    let mut world = requested();
    world.happen(Happening::Call(Fate::HalfAnswered));
    world.happen(Happening::Refund);
    assert_eq!(
        (world.slot.as_ref().unwrap().status, &world.facts[..]),
        (Status::Requested, &[][..])
    );
    world.settle();
    assert!(
        matches!(
            world.facts[..],
            [Fact::Captured { .. }, Fact::Refunded { .. }]
        ),
        "{:?}",
        world.facts
    );
}

#[test]
fn a_refund_that_overtakes_its_charge_is_remembered() {
    let mut world = World::new(false, None);
    world.happen(Happening::Refund);
    world.happen(Happening::Charge);
    world.settle();
    assert_eq!(
        (world.bank.captured, world.done.as_slice()),
        (0, &["refund"][..])
    );
}

#[test]
fn a_charge_that_expires_unseen_is_declined_and_one_that_may_have_been_seen_is_not() {
    for (fate, expected) in [(Fate::NotSent, 0), (Fate::TimedOut, 1250)] {
        let mut world = World::new(false, Some(5));
        world.happen(Happening::Charge);
        world.happen(Happening::Call(fate));
        world.happen(Happening::Tick(60));
        world.settle();
        assert_eq!(world.bank.captured, expected, "{fate:?}");
        match (&world.facts[..], fate) {
            ([Fact::Declined { code, .. }], Fate::NotSent) => assert_eq!(code, decide::EXPIRED),
            ([Fact::Delayed, Fact::Captured { .. }], Fate::TimedOut) => {}
            (facts, _) => panic!("{fate:?}: {facts:?}"),
        }
    }
}

#[test]
fn a_charge_that_expires_while_it_waits_for_its_turn_is_declined() {
    let mut world = World::new(false, Some(5));
    world.happen(Happening::Turns(false));
    world.happen(Happening::Charge);
    world.happen(Happening::Tick(4));
    assert_eq!(world.facts, []);
    world.happen(Happening::Tick(1));
    assert!(matches!(&world.facts[..], [Fact::Declined { code, .. }] if code == decide::EXPIRED));
}

#[test]
fn a_call_under_way_when_the_charge_expires_is_heard_first() {
    let mut world = World::new(false, Some(5));
    world.happen(Happening::Charge);
    world.happen(Happening::Tick(10));
    assert_eq!(world.facts, []);
    world.happen(Happening::Call(Fate::HalfAnswered));
    assert_eq!(world.facts, [Fact::Delayed]);
    world.settle();
    assert!(matches!(
        world.facts[..],
        [Fact::Delayed, Fact::Captured { .. }]
    ));
}

#[test]
fn amounts_that_make_no_sense_are_rejected_naming_field_and_value() {
    let reject = |amount: Money| {
        let request = PaymentRequested {
            amount,
            ..charge(None)
        };
        match decide::requested(&mut None, request, &Trace::root(), Utc::now()).0 {
            Verdict::Reject(reject) => reject.message,
            other => panic!("{other:?}"),
        }
    };
    assert!(reject(money(0)).contains("amount.amount_minor = 0"));
    assert!(
        reject(Money {
            amount_minor: 1,
            currency: "EURO".into()
        })
        .contains("amount.currency = \"EURO\"")
    );
    let mut world = requested();
    world.happen(Happening::Call(Fate::Answered));
    for amount in [
        money(1251),
        Money {
            amount_minor: 1250,
            currency: "USD".into(),
        },
    ] {
        let request = RefundRequested { amount, ..refund() };
        let (verdict, fact) =
            decide::refund_requested(&mut world.slot, request, &Trace::root(), world.now);
        assert!(matches!(verdict, Verdict::Reject(_)), "{verdict:?}");
        assert_eq!(fact, None);
    }
    let operation = world.slot.as_ref().and_then(Payment::operation);
    assert_eq!(
        operation, None::<Operation>,
        "a rejected refund changes nothing"
    );
}
