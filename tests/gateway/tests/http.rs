//! The gateway over HTTP, as a client sees it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use gateway::{Behaviour, Books, Gateway, Operation, Status};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};

fn order(amount_minor: i64) -> Value {
    json!({ "amount_minor": amount_minor, "currency": "EUR", "reference": "o-1", "payment_method": "card" })
}

async fn post(gateway: &Gateway, path: &str, key: &str, body: &Value) -> reqwest::Result<Response> {
    let client = Client::builder().timeout(Duration::from_secs(10)).build()?;
    client
        .post(format!("{}{path}", gateway.url()))
        .header("Idempotency-Key", key)
        .json(body)
        .send()
        .await
}

async fn asked(gateway: &Gateway, key: &str) -> Response {
    reqwest::get(format!("{}/v1/operations/{key}", gateway.url()))
        .await
        .unwrap()
}

#[tokio::test]
async fn the_outcome_of_a_key_is_remembered() {
    let gateway = Gateway::local(Behaviour::instant(), 1).await.unwrap();
    let first: Operation = post(&gateway, "/v1/captures", "k", &order(990))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    // A worse behaviour changes nothing about what has happened.
    gateway
        .behave(Behaviour {
            decline_rate: 1.0,
            ..Behaviour::instant()
        })
        .unwrap();
    let again: Operation = post(&gateway, "/v1/captures", "k", &order(990))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let looked_up: Operation = asked(&gateway, "k").await.json().await.unwrap();
    assert_eq!(first.status, Status::Captured);
    assert_eq!((&again, &looked_up), (&first, &first));
    let declined: Operation = post(&gateway, "/v1/captures", "k2", &order(990))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(declined.status, Status::Declined);
    assert!(declined.reason.is_some());
}

#[tokio::test]
async fn a_key_with_another_body_is_refused() {
    let gateway = Gateway::local(Behaviour::instant(), 1).await.unwrap();
    post(&gateway, "/v1/captures", "k", &order(990))
        .await
        .unwrap();
    let refused = post(&gateway, "/v1/captures", "k", &order(991))
        .await
        .unwrap();
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(gateway.books().totals["EUR"].captured_minor, 990);
}

#[tokio::test]
async fn a_half_answered_capture_has_happened_and_can_be_asked_for() {
    let gateway = Gateway::local(
        Behaviour {
            half_answered_rate: 1.0,
            ..Behaviour::instant()
        },
        1,
    )
    .await
    .unwrap();
    let cut = async {
        post(&gateway, "/v1/captures", "k", &order(990))
            .await?
            .json::<Operation>()
            .await
    }
    .await;
    assert!(cut.is_err(), "the connection must be cut: {cut:?}");
    let operation: Operation = asked(&gateway, "k").await.json().await.unwrap();
    assert_eq!(
        (operation.status, operation.amount_minor),
        (Status::Captured, 990)
    );
}

#[tokio::test]
async fn an_error_performs_nothing() {
    let gateway = Gateway::local(
        Behaviour {
            error_rate: 1.0,
            ..Behaviour::instant()
        },
        1,
    )
    .await
    .unwrap();
    let failed = post(&gateway, "/v1/captures", "k", &order(990))
        .await
        .unwrap();
    assert_eq!(failed.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(asked(&gateway, "k").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(gateway.requests("k"), 1);
}

#[tokio::test]
async fn a_hanging_capture_happens_after_the_client_has_gone() {
    let behaviour = Behaviour {
        hang_rate: 1.0,
        hang_ms: 300,
        ..Behaviour::instant()
    };
    let gateway = Gateway::local(behaviour, 1).await.unwrap();
    let client = Client::builder()
        .timeout(Duration::from_millis(50))
        .build()
        .unwrap();
    let request = client.post(format!("{}/v1/captures", gateway.url()));
    let gone = request
        .header("Idempotency-Key", "k")
        .json(&order(990))
        .send()
        .await;
    assert!(gone.is_err_and(|error| error.is_timeout()));
    assert!(
        gateway.books().operations.is_empty(),
        "it happened before the client had gone"
    );
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while asked(&gateway, "k").await.status() == StatusCode::NOT_FOUND {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the late capture never happened"
        );
    }
    assert_eq!(gateway.books().totals["EUR"].captured_minor, 990);
}

#[tokio::test]
async fn the_ledger_adds_up_captures_and_refunds_by_currency() {
    let gateway = Gateway::local(Behaviour::instant(), 1).await.unwrap();
    let taken: Operation = post(&gateway, "/v1/captures", "a", &order(990))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    post(&gateway, "/v1/captures", "b", &order(10))
        .await
        .unwrap();
    let mut declined = order(77);
    declined["payment_method"] = json!("declined-card");
    post(&gateway, "/v1/captures", "c", &declined)
        .await
        .unwrap();
    let back = json!({ "capture_id": taken.id, "amount_minor": 990 });
    for _ in 0..2 {
        assert_eq!(
            post(&gateway, "/v1/refunds", "r", &back)
                .await
                .unwrap()
                .status(),
            StatusCode::OK
        );
    }
    let too_much = post(
        &gateway,
        "/v1/refunds",
        "r2",
        &json!({ "capture_id": taken.id, "amount_minor": 1 }),
    )
    .await;
    assert_eq!(too_much.unwrap().status(), StatusCode::UNPROCESSABLE_ENTITY);
    let unknown = post(
        &gateway,
        "/v1/refunds",
        "r3",
        &json!({ "capture_id": "ch_0", "amount_minor": 1 }),
    )
    .await;
    assert_eq!(unknown.unwrap().status(), StatusCode::NOT_FOUND);
    let books: Books = reqwest::get(format!("{}/v1/ledger", gateway.url()))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(books, gateway.books());
    assert_eq!(books.operations.len(), 4);
    assert_eq!(
        (
            books.totals["EUR"].captured_minor,
            books.totals["EUR"].refunded_minor
        ),
        (1000, 990)
    );
}

#[tokio::test]
async fn behaviour_changes_at_run_time_and_a_wrong_one_is_named() {
    let gateway = Gateway::local(Behaviour::instant(), 1).await.unwrap();
    let put = |body: Value| {
        Client::new()
            .put(format!("{}/admin/behaviour", gateway.url()))
            .json(&body)
            .send()
    };
    assert_eq!(
        put(json!({ "latency_min_ms": 0, "error_rate": 1.0 }))
            .await
            .unwrap()
            .status(),
        StatusCode::OK
    );
    let failed = post(&gateway, "/v1/captures", "k", &order(1))
        .await
        .unwrap();
    assert_eq!(failed.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let wrong = put(json!({ "error_rate": 2.0 })).await.unwrap();
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
    assert!(wrong.text().await.unwrap().contains("error_rate = 2"));
}
