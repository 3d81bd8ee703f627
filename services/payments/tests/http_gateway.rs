//! The HTTP adapter against the mock gateway: what counts as sent, as declined, as unknown; and that a repetition is safe.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use chrono::Utc;
use contracts::value::Money;
use gateway::{Behaviour, Gateway as MockGateway, Totals};
use payments::gateway::{BreakerPolicy, Call, Gate, Gateway, HttpGateway, Outcome, Room};
use uuid::Uuid;

const ORDER: Uuid = Uuid::from_u128(7);

fn adapter(url: &str) -> HttpGateway {
    HttpGateway::new(url, Duration::from_millis(250), Duration::from_millis(250)).unwrap()
}

fn capture(payment_method: &str) -> Call {
    Call::Capture {
        order_id: ORDER,
        key: format!("capture:{ORDER}:1"),
        amount: euros(1250),
        payment_method: payment_method.into(),
        asked_at: Utc::now(),
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into(),
    }
}

fn refund(capture_reference: String) -> Call {
    let key = format!("refund:{ORDER}:1");
    Call::Refund {
        order_id: ORDER,
        key,
        capture_reference,
        amount: euros(1250),
        asked_at: Utc::now(),
        traceparent: String::new(),
    }
}

fn euros(amount_minor: i64) -> Money {
    Money {
        amount_minor,
        currency: "EUR".into(),
    }
}

fn is_unknown(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed { sent: true, .. })
}

#[tokio::test]
async fn a_charge_is_captured_and_given_back_once() {
    let mock = MockGateway::local(Behaviour::instant(), 1).await.unwrap();
    let adapter = adapter(&mock.url());
    let captured = adapter.perform(&capture("card")).await;
    let Outcome::Captured { reference, .. } = captured.clone() else {
        panic!("{captured:?}")
    };
    assert_eq!(adapter.perform(&capture("card")).await, captured);
    for _ in 0..2 {
        assert!(matches!(
            adapter.perform(&refund(reference.clone())).await,
            Outcome::Refunded { .. }
        ));
    }
    assert_eq!(
        mock.books().totals["EUR"],
        Totals {
            captured_minor: 1250,
            refunded_minor: 1250
        }
    );
}

#[tokio::test]
async fn a_decline_is_an_answer_and_a_senseless_request_a_final_one() {
    let mock = MockGateway::local(Behaviour::instant(), 1).await.unwrap();
    let adapter = adapter(&mock.url());
    let declined = adapter.perform(&capture("declined-card")).await;
    assert!(
        matches!(&declined, Outcome::Declined { invalid: false, code, .. } if code == "insufficient_funds")
    );
    let Call::Capture {
        order_id,
        payment_method,
        asked_at,
        traceparent,
        ..
    } = capture("card")
    else {
        unreachable!()
    };
    let nothing = Call::Capture {
        order_id,
        key: "k".into(),
        amount: euros(0),
        payment_method,
        asked_at,
        traceparent,
    };
    let invalid = adapter.perform(&nothing).await;
    assert!(
        matches!(&invalid, Outcome::Declined { invalid: true, message: Some(why), .. } if why.contains("amount_minor = 0"))
    );
}

#[tokio::test]
async fn a_gateway_that_cannot_be_reached_has_been_sent_nothing() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let outcome = adapter(&url).perform(&capture("card")).await;
    assert!(
        matches!(&outcome, Outcome::Failed { sent: false, error } if error.contains("refused")),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_cut_answer_is_unknown_and_the_repetition_tells() {
    let mock = MockGateway::local(
        Behaviour {
            half_answered_rate: 1.0,
            ..Behaviour::instant()
        },
        1,
    )
    .await
    .unwrap();
    let adapter = adapter(&mock.url());
    let cut = adapter.perform(&capture("card")).await;
    assert!(is_unknown(&cut), "{cut:?}");
    assert_eq!(
        mock.books().totals["EUR"].captured_minor,
        1250,
        "the fault happened: captured, not answered"
    );
    mock.behave(Behaviour::instant()).unwrap();
    assert!(matches!(
        adapter.perform(&capture("card")).await,
        Outcome::Captured { .. }
    ));
    assert_eq!(mock.books().totals["EUR"].captured_minor, 1250);
}

#[tokio::test]
async fn a_charge_that_hangs_is_given_up_in_time_and_taken_once() {
    let hanging = Behaviour {
        hang_rate: 1.0,
        hang_ms: 600,
        ..Behaviour::instant()
    };
    let mock = MockGateway::local(hanging, 1).await.unwrap();
    let adapter = adapter(&mock.url());
    let given_up = adapter.perform(&capture("card")).await;
    assert!(is_unknown(&given_up), "{given_up:?}");
    mock.behave(Behaviour::instant()).unwrap();
    let captured = adapter.perform(&capture("card")).await;
    assert!(matches!(captured, Outcome::Captured { .. }), "{captured:?}");
    // The hanging request is performed too, in its own time; the key makes it the same charge.
    harness::wait_for("both requests", Duration::from_secs(10), async || {
        mock.requests(capture("card").key()) == 2
    })
    .await;
    assert_eq!(mock.books().totals["EUR"].captured_minor, 1250);
}

#[tokio::test]
async fn errors_and_answers_about_another_amount_are_unknown() {
    let mock = MockGateway::local(
        Behaviour {
            error_rate: 1.0,
            ..Behaviour::instant()
        },
        1,
    )
    .await
    .unwrap();
    let adapter = adapter(&mock.url());
    let failed = adapter.perform(&capture("card")).await;
    assert!(
        matches!(&failed, Outcome::Failed { sent: true, error } if error.contains("500")),
        "{failed:?}"
    );
    mock.behave(Behaviour::instant()).unwrap();
    adapter.perform(&capture("card")).await;
    let Call::Capture {
        order_id,
        key,
        payment_method,
        asked_at,
        traceparent,
        ..
    } = capture("card")
    else {
        unreachable!()
    };
    let other = Call::Capture {
        order_id,
        key,
        amount: euros(9),
        payment_method,
        asked_at,
        traceparent,
    };
    let refused = adapter.perform(&other).await;
    assert!(
        matches!(&refused, Outcome::Failed { sent: true, error } if error.contains("422")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn the_breaker_keeps_calls_from_a_gateway_that_is_down_and_lets_them_through_again() {
    let mock = MockGateway::local(
        Behaviour {
            error_rate: 1.0,
            ..Behaviour::instant()
        },
        1,
    )
    .await
    .unwrap();
    let open = Duration::from_millis(200);
    let policy = BreakerPolicy {
        failures: 5,
        window: Duration::from_secs(60),
        open,
        trials: 1,
    };
    let gate = Gate::new(Box::new(adapter(&mock.url())), policy, 8);
    assert_eq!(gate.room(), Room::Calls(8));
    for _ in 0..5 {
        assert!(is_unknown(&gate.perform(&capture("card")).await));
    }
    let Room::Shut(wait) = gate.room() else {
        panic!("{:?}", gate.room())
    };
    assert!(wait <= open);
    assert_eq!(gate.perform(&capture("card")).await, Outcome::Deferred);
    assert_eq!(
        mock.requests(capture("card").key()),
        5,
        "an open breaker sends nothing"
    );
    mock.behave(Behaviour::instant()).unwrap();
    let back = async || {
        matches!(
            gate.perform(&capture("card")).await,
            Outcome::Captured { .. }
        )
    };
    harness::wait_for("the breaker to close", Duration::from_secs(10), back).await;
    assert_eq!((gate.closings(), gate.room()), (1, Room::Calls(8)));
}

#[tokio::test]
async fn no_more_calls_than_configured_reach_the_gateway_at_once() {
    let slow = Behaviour {
        latency_min_ms: 50,
        latency_max_ms: 50,
        ..Behaviour::instant()
    };
    let mock = MockGateway::local(slow, 1).await.unwrap();
    let policy = BreakerPolicy {
        failures: 5,
        window: Duration::from_secs(60),
        open: Duration::from_secs(1),
        trials: 1,
    };
    let patient = Duration::from_secs(10);
    let adapter = HttpGateway::new(&mock.url(), patient, patient).unwrap();
    let gate = Gate::new(Box::new(adapter), policy, 3);
    let calls = [(); 12].map(|()| capture("card"));
    let outcomes = futures::future::join_all(calls.iter().map(|call| gate.perform(call))).await;
    let captured = |it: &Outcome| matches!(it, Outcome::Captured { .. });
    assert!(outcomes.iter().all(captured), "{outcomes:?}");
    assert_eq!(mock.most_at_once(), 3);
}
