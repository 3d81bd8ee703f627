//! The Stripe adapter against a server that answers in the shapes recorded from Stripe's API reference, idempotency
//! included: what is sent, what each answer means, and that a repetition is safe.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use chrono::{DateTime, TimeDelta, Utc};
use contracts::value::Money;
use payments::gateway::stripe::{ApiKey, VERSION};
use payments::gateway::{Call, Gateway, Outcome, StripeGateway};
use serde_json::{Value, json};
use uuid::Uuid;

const ORDER: Uuid = Uuid::from_u128(7);
const SECRET: &str = "sk_test_4eC39HqLyjWDarjtT1zdp7dc";

/// A request as the server saw it.
#[derive(Clone, Debug)]
struct Seen {
    line: String,
    key: Option<String>,
    authorization: String,
    version: String,
    form: BTreeMap<String, String>,
}

/// What the server answers to a request, by `METHOD path`: the first answers first, the last one for ever. An answer to
/// an idempotency key is remembered, as long as it is not of status 409, 429 or 5xx.
#[derive(Default)]
struct Script {
    answers: HashMap<&'static str, Vec<(u16, Value)>>,
    by_key: HashMap<String, (u16, Value)>,
    seen: Vec<Seen>,
}

type Shared = Arc<Mutex<Script>>;

async fn answer(State(script): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let header = |name: &str| {
        parts
            .headers
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned())
    };
    let pairs = if parts.method == "GET" {
        parts.uri.query().unwrap_or_default().as_bytes()
    } else {
        &body
    };
    let seen = Seen {
        line: format!("{} {}", parts.method, parts.uri.path()),
        key: header("idempotency-key"),
        authorization: header("authorization").unwrap_or_default(),
        version: header("stripe-version").unwrap_or_default(),
        form: form_urlencoded::parse(pairs).into_owned().collect(),
    };
    let mut script = script.lock().unwrap();
    let known = seen.key.as_ref().and_then(|key| script.by_key.get(key));
    let (status, body) = if let Some(known) = known {
        known.clone()
    } else {
        let answers = script.answers.get_mut(seen.line.as_str()).unwrap();
        let answer = if answers.len() > 1 {
            answers.remove(0)
        } else {
            answers[0].clone()
        };
        if let Some(key) = &seen.key
            && !matches!(answer.0, 409 | 429 | 500..)
        {
            script.by_key.insert(key.clone(), answer.clone());
        }
        answer
    };
    script.seen.push(seen);
    let status = StatusCode::from_u16(status).unwrap();
    (status, Json(body)).into_response()
}

struct Stripe {
    adapter: StripeGateway,
    script: Shared,
}

impl Stripe {
    async fn start(answers: &[(&'static str, &[(u16, Value)])]) -> Self {
        let script = Shared::default();
        let lines = answers
            .iter()
            .map(|(line, answers)| (*line, answers.to_vec()));
        script.lock().unwrap().answers = lines.collect();
        let router = Router::new().fallback(answer).with_state(script.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let (key, timeout) = (ApiKey::new(SECRET).unwrap(), Duration::from_secs(5));
        let adapter = StripeGateway::new(&url, key, timeout, timeout).unwrap();
        Self { adapter, script }
    }

    fn seen(&self) -> Vec<Seen> {
        self.script.lock().unwrap().seen.clone()
    }

    fn lines(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.line).collect()
    }
}

const CREATE: &str = "POST /v1/payment_intents";
const RETRIEVE: &str = "GET /v1/payment_intents/pi_1";
const SEARCH: &str = "GET /v1/payment_intents/search";
const REFUND: &str = "POST /v1/refunds";
const RETRIEVE_REFUND: &str = "GET /v1/refunds/re_1";
const REFUNDS: &str = "GET /v1/refunds";

fn intent(status: &str) -> Value {
    let received = if status == "succeeded" { 1250 } else { 0 };
    json!({
        "id": "pi_1", "object": "payment_intent", "amount": 1250, "amount_received": received, "currency": "eur",
        "capture_method": "automatic", "created": 1_767_225_600, "status": status, "last_payment_error": null,
        "latest_charge": "ch_1", "livemode": false, "metadata": {"idempotency_key": format!("capture:{ORDER}:1")},
    })
}

fn refund(status: &str) -> Value {
    json!({
        "id": "re_1", "object": "refund", "amount": 1250, "currency": "eur", "charge": "ch_1", "payment_intent": "pi_1",
        "created": 1_767_225_600, "status": status, "metadata": {"idempotency_key": format!("refund:{ORDER}:1")},
    })
}

fn error(kind: &str, code: &str, more: Value) -> Value {
    let mut error = json!({ "type": kind, "code": code, "message": "Said Stripe." });
    for (name, value) in more.as_object().unwrap() {
        error[name] = value.clone();
    }
    json!({ "error": error })
}

fn card_declined() -> (u16, Value) {
    let more = json!({ "decline_code": "insufficient_funds", "payment_intent": intent("requires_payment_method") });
    (402, error("card_error", "card_declined", more))
}

fn euros() -> Money {
    Money {
        amount_minor: 1250,
        currency: "EUR".into(),
    }
}

fn charge(asked_at: DateTime<Utc>) -> Call {
    Call::Capture {
        order_id: ORDER,
        key: format!("capture:{ORDER}:1"),
        amount: euros(),
        payment_method: "pm_card_visa".into(),
        asked_at,
        traceparent: String::new(),
    }
}

fn give_back(asked_at: DateTime<Utc>) -> Call {
    Call::Refund {
        order_id: ORDER,
        key: format!("refund:{ORDER}:1"),
        capture_reference: "pi_1".into(),
        amount: euros(),
        asked_at,
        traceparent: String::new(),
    }
}

fn at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600, 0).unwrap()
}

fn captured() -> Outcome {
    Outcome::Captured {
        reference: "pi_1".into(),
        at: at(),
    }
}

fn refunded() -> Outcome {
    Outcome::Refunded {
        reference: "re_1".into(),
        at: at(),
    }
}

#[tokio::test]
async fn a_charge_is_one_request_that_confirms_and_captures() {
    let stripe = Stripe::start(&[(CREATE, &[(200, intent("succeeded"))])]).await;
    assert_eq!(
        stripe.adapter.perform(&charge(Utc::now())).await,
        captured()
    );
    let [seen] = &stripe.seen()[..] else {
        panic!("{:?}", stripe.seen())
    };
    assert_eq!(seen.key, Some(format!("capture:{ORDER}:1")));
    assert_eq!(seen.authorization, format!("Bearer {SECRET}"));
    assert_eq!(seen.version, VERSION);
    let expected = [
        ("amount", "1250"),
        ("automatic_payment_methods[allow_redirects]", "never"),
        ("automatic_payment_methods[enabled]", "true"),
        ("capture_method", "automatic"),
        ("confirm", "true"),
        ("currency", "eur"),
        ("error_on_requires_action", "true"),
        ("metadata[idempotency_key]", &format!("capture:{ORDER}:1")),
        ("metadata[order_id]", &ORDER.to_string()),
        ("payment_method", "pm_card_visa"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(seen.form, BTreeMap::from(expected));
}

#[tokio::test]
async fn a_refund_names_the_intent_and_has_a_key_of_its_own() {
    let stripe = Stripe::start(&[(REFUND, &[(200, refund("succeeded"))])]).await;
    assert_eq!(
        stripe.adapter.perform(&give_back(Utc::now())).await,
        refunded()
    );
    let seen = stripe.seen().remove(0);
    assert_eq!(seen.key, Some(format!("refund:{ORDER}:1")));
    assert_eq!(seen.form["payment_intent"], "pi_1");
    assert_eq!(seen.form["amount"], "1250");
}

#[tokio::test]
async fn a_refused_card_is_a_decline_and_stays_one() {
    let answers = [card_declined(), (200, intent("succeeded"))];
    let stripe = Stripe::start(&[(CREATE, &answers)]).await;
    for _ in 0..2 {
        let outcome = stripe.adapter.perform(&charge(Utc::now())).await;
        let expected = Outcome::Declined {
            invalid: false,
            code: "insufficient_funds".into(),
            message: Some("Said Stripe.".into()),
        };
        assert_eq!(outcome, expected);
    }
    assert_eq!(stripe.lines(), [CREATE, CREATE]);
}

#[tokio::test]
async fn what_is_wrong_with_the_order_is_final_and_what_is_wrong_with_us_is_not() {
    let kind = "invalid_request_error";
    let method = error(
        kind,
        "resource_missing",
        json!({ "param": "payment_method" }),
    );
    let small = error(kind, "amount_too_small", json!({}));
    for body in [method, small] {
        let stripe = Stripe::start(&[(CREATE, &[(400, body)])]).await;
        let outcome = stripe.adapter.perform(&charge(Utc::now())).await;
        assert!(
            matches!(outcome, Outcome::Declined { invalid: true, .. }),
            "{outcome:?}"
        );
    }
    let ours = error(kind, "parameter_unknown", json!({ "param": "confirm" }));
    for status in [400, 401, 403] {
        let stripe = Stripe::start(&[(CREATE, &[(status, ours.clone())])]).await;
        let outcome = stripe.adapter.perform(&charge(Utc::now())).await;
        assert!(
            matches!(outcome, Outcome::Failed { sent: true, .. }),
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn conflicts_limits_and_errors_are_unknown_and_the_repetition_tells() {
    for status in [409, 429, 500, 503] {
        let busy = (status, error("api_error", "lock_timeout", json!({})));
        let stripe = Stripe::start(&[(CREATE, &[busy, (200, intent("succeeded"))])]).await;
        let outcome = stripe.adapter.perform(&charge(Utc::now())).await;
        let Outcome::Failed { sent: true, error } = &outcome else {
            panic!("{status}: {outcome:?}")
        };
        assert!(error.contains(&status.to_string()), "{error}");
        assert_eq!(
            stripe.adapter.perform(&charge(Utc::now())).await,
            captured()
        );
        let keys: Vec<_> = stripe.seen().into_iter().map(|seen| seen.key).collect();
        assert_eq!(keys[0], keys[1]);
    }
}

#[tokio::test]
async fn a_stripe_that_does_not_answer_is_unknown_and_one_that_is_not_there_has_been_sent_nothing()
{
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let timeout = Duration::from_millis(100);
    let key = || ApiKey::new(SECRET).unwrap();
    let adapter = StripeGateway::new(&url, key(), timeout, timeout).unwrap();
    let outcome = adapter.perform(&charge(Utc::now())).await;
    assert!(
        matches!(outcome, Outcome::Failed { sent: true, .. }),
        "{outcome:?}"
    );
    drop(listener);
    let adapter = StripeGateway::new(&url, key(), timeout, timeout).unwrap();
    let outcome = adapter.perform(&charge(Utc::now())).await;
    assert!(
        matches!(outcome, Outcome::Failed { sent: false, .. }),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn an_intent_that_is_still_on_its_way_is_asked_for_by_its_id() {
    let processing = (200, intent("processing"));
    let later = [processing.clone(), (200, intent("succeeded"))];
    let stripe = Stripe::start(&[(CREATE, &[processing]), (RETRIEVE, &later)]).await;
    let outcome = stripe.adapter.perform(&charge(Utc::now())).await;
    let expected = Outcome::Unclear {
        error: "pi_1 is processing".into(),
    };
    assert_eq!(outcome, expected);
    // The answer to the key stays "processing"; the intent has moved on.
    assert_eq!(
        stripe.adapter.perform(&charge(Utc::now())).await,
        captured()
    );
    assert_eq!(stripe.lines(), [CREATE, RETRIEVE, CREATE, RETRIEVE]);
}

#[tokio::test]
async fn a_refund_that_is_still_on_its_way_is_asked_for_by_its_id() {
    let answers: &[_] = &[
        (REFUND, &[(200, refund("pending"))][..]),
        (RETRIEVE_REFUND, &[(200, refund("succeeded"))]),
    ];
    let stripe = Stripe::start(answers).await;
    assert_eq!(
        stripe.adapter.perform(&give_back(Utc::now())).await,
        refunded()
    );
}

#[tokio::test]
async fn after_a_day_what_became_of_a_charge_is_looked_up_before_it_is_repeated() {
    let yesterday = Utc::now() - TimeDelta::hours(24);
    let found = json!({ "object": "search_result", "data": [intent("succeeded")] });
    let stripe = Stripe::start(&[(SEARCH, &[(200, found)])]).await;
    assert_eq!(stripe.adapter.perform(&charge(yesterday)).await, captured());
    let seen = stripe.seen().remove(0);
    assert_eq!(
        seen.form["query"],
        format!("metadata['idempotency_key']:'capture:{ORDER}:1'")
    );

    let nothing = json!({ "object": "search_result", "data": [] });
    let answers: &[_] = &[
        (SEARCH, &[(200, nothing)][..]),
        (CREATE, &[(200, intent("succeeded"))]),
    ];
    let stripe = Stripe::start(answers).await;
    assert_eq!(stripe.adapter.perform(&charge(yesterday)).await, captured());
    assert_eq!(stripe.lines(), [SEARCH, CREATE]);

    let failing = Stripe::start(&[(SEARCH, &[(500, json!({}))])]).await;
    let outcome = failing.adapter.perform(&charge(yesterday)).await;
    assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    assert_eq!(
        failing.lines(),
        [SEARCH],
        "nothing is repeated unless it is known to be missing"
    );
}

#[tokio::test]
async fn after_a_day_what_became_of_a_refund_is_looked_up_before_it_is_repeated() {
    let mut other = refund("succeeded");
    other["metadata"] = json!({});
    other["id"] = "re_0".into();
    let list = json!({ "object": "list", "data": [other, refund("succeeded")] });
    let stripe = Stripe::start(&[(REFUNDS, &[(200, list)])]).await;
    let yesterday = Utc::now() - TimeDelta::hours(24);
    assert_eq!(
        stripe.adapter.perform(&give_back(yesterday)).await,
        refunded()
    );
    assert_eq!(stripe.seen()[0].form["payment_intent"], "pi_1");
}

#[tokio::test]
async fn a_charge_that_was_given_back_by_hand_is_refunded() {
    let gone = error(
        "invalid_request_error",
        "charge_already_refunded",
        json!({}),
    );
    let mut by_hand = refund("succeeded");
    by_hand["metadata"] = json!({});
    let list = json!({ "object": "list", "data": [refund("failed"), by_hand] });
    let answers: &[_] = &[(REFUND, &[(400, gone)][..]), (REFUNDS, &[(200, list)])];
    let stripe = Stripe::start(answers).await;
    assert_eq!(
        stripe.adapter.perform(&give_back(Utc::now())).await,
        refunded()
    );
}

#[tokio::test]
async fn an_answer_about_another_amount_or_currency_is_not_believed() {
    for (field, value) in [
        ("amount", json!(125)),
        ("amount_received", json!(125)),
        ("currency", json!("usd")),
    ] {
        let mut wrong = intent("succeeded");
        wrong[field] = value;
        let stripe = Stripe::start(&[(CREATE, &[(200, wrong)])]).await;
        let outcome = stripe.adapter.perform(&charge(Utc::now())).await;
        assert!(
            matches!(outcome, Outcome::Unclear { .. }),
            "{field}: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn the_secret_key_is_in_no_error_and_not_printed() {
    let leaky = error(
        "invalid_request_error",
        "api_key_expired",
        json!({ "message": format!("Expired API Key: {SECRET}") }),
    );
    let stripe = Stripe::start(&[(CREATE, &[(401, leaky)])]).await;
    let outcome = stripe.adapter.perform(&charge(Utc::now())).await;
    assert!(matches!(&outcome, Outcome::Failed { error, .. } if error.contains("STRIPE_API_KEY")));
    assert!(!format!("{outcome:?}").contains(SECRET));
    assert!(!format!("{:?}", ApiKey::new(SECRET)).contains(SECRET));
    assert!(ApiKey::new("").is_none() && ApiKey::new("sk\n").is_none());
}
