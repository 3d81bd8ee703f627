//! The Stripe adapter against stripe-mock, Stripe's own mock server: every request is checked there against Stripe's
//! published specification, and every answer comes in its shapes.
//!
//! stripe-mock has no memory: a PaymentIntent is never captured there, so what this shows is that requests are well
//! formed and answers are read; `stripe.rs` shows what they mean. It is a Go program and is built once, by the `go` tool,
//! into the target directory; without Go, or without a way to its modules, this test fails and says so.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use contracts::value::Money;
use payments::gateway::stripe::ApiKey;
use payments::gateway::{Call, Gateway, Outcome, StripeGateway};
use uuid::Uuid;

const MODULE: &str = "github.com/stripe/stripe-mock";
const VERSION: &str = "v0.203.0";

/// The program, built if it is not there yet.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("stripe-mock-{VERSION}"));
        let program = home.join("stripe-mock");
        if !program.exists() {
            let building = home.join(format!("building-{}", std::process::id()));
            let built = Command::new("go")
                .args(["install", &format!("{MODULE}@{VERSION}")])
                .env("GOBIN", &building)
                .status();
            let built = built.unwrap_or_else(|error| {
                panic!("stripe-mock is built by Go, and `go` cannot be run: {error}. Install Go 1.22 or newer.")
            });
            assert!(built.success(), "go install {MODULE}@{VERSION}: {built}");
            // At once: whoever finds it finds all of it.
            fs::rename(building.join("stripe-mock"), &program).unwrap();
            fs::remove_dir(building).unwrap();
        }
        program
    })
}

struct StripeMock {
    url: String,
    child: Child,
}

impl StripeMock {
    async fn start() -> Self {
        let program = program();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let child = Command::new(program)
            .args(["-http-port", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let url = format!("http://127.0.0.1:{port}");
        let there = async || reqwest::get(&url).await.is_ok();
        harness::wait_for("stripe-mock to listen", Duration::from_secs(30), there).await;
        Self { url, child }
    }

    fn adapter(&self) -> StripeGateway {
        let (key, timeout) = (ApiKey::new("sk_test_123").unwrap(), Duration::from_secs(10));
        StripeGateway::new(&self.url, key, timeout, timeout).unwrap()
    }
}

impl Drop for StripeMock {
    fn drop(&mut self) {
        // It may have ended by itself, which the test's own assertions tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn dollars(amount_minor: i64) -> Money {
    Money {
        amount_minor,
        currency: "USD".into(),
    }
}

fn capture(age: TimeDelta, amount: Money) -> Call {
    Call::Capture {
        order_id: Uuid::from_u128(7),
        key: "capture:7:1".into(),
        amount,
        payment_method: "pm_card_visa".into(),
        asked_at: Utc::now() - age,
        traceparent: String::new(),
    }
}

fn refund(age: TimeDelta, amount: Money) -> Call {
    Call::Refund {
        order_id: Uuid::from_u128(7),
        key: "refund:7:1".into(),
        capture_reference: "pi_1".into(),
        amount,
        asked_at: Utc::now() - age,
        traceparent: String::new(),
    }
}

fn unclear(outcome: Outcome) -> String {
    match outcome {
        Outcome::Unclear { error } => error,
        other => panic!("the request was not taken or the answer not read: {other:?}"),
    }
}

#[tokio::test]
async fn every_request_is_well_formed_and_every_answer_is_read() {
    let mock = StripeMock::start().await;
    let adapter = mock.adapter();
    let (now, old) = (TimeDelta::zero(), TimeDelta::hours(24));

    // Created and asked for by its id. Nothing is ever captured there, and that is not taken for a success.
    let error = unclear(adapter.perform(&capture(now, dollars(1099))).await);
    assert!(error.ends_with("is requires_payment_method"), "{error}");
    // The answer to a creation echoes the amount, the one to the question by its id does not: that is noticed.
    let error = unclear(adapter.perform(&capture(now, dollars(4711))).await);
    assert!(error.contains("is about 1099 usd"), "{error}");
    // Searched for.
    let error = unclear(adapter.perform(&capture(old, dollars(1099))).await);
    assert!(error.ends_with("is requires_payment_method"), "{error}");

    let outcome = adapter.perform(&refund(now, dollars(4711))).await;
    assert!(
        matches!(&outcome, Outcome::Refunded { reference, .. } if reference.starts_with("re_")),
        "{outcome:?}"
    );
    let outcome = adapter.perform(&refund(old, dollars(4711))).await;
    assert!(matches!(outcome, Outcome::Refunded { .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_request_that_stripe_does_not_specify_would_be_refused() {
    let mock = StripeMock::start().await;
    let answer = reqwest::Client::new()
        .post(format!("{}/v1/payment_intents", mock.url))
        .bearer_auth("sk_test_123")
        .header("content-type", "application/x-www-form-urlencoded")
        .body("amount=1099&currency=usd&captured=true")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 400, "the other test would prove nothing");
}
