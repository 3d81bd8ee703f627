//! The gateway as an HTTP server: one task per connection, faults as configured, the books behind one lock.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::Utc;
use futures::stream;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::behaviour::{Behaviour, Fault};
use crate::ledger::{Books, Capture, Ledger, Operation, Refund, Refusal};

/// A running gateway; dropping it stops it, and its books go with it.
pub struct Gateway {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

struct Shared {
    seed: u64,
    behaviour: Mutex<Behaviour>,
    ledger: Mutex<Ledger>,
    /// How many requests each key has seen: the try that a fault is drawn for.
    tries: Mutex<HashMap<String, u32>>,
    /// Requests under way, and the most there ever were.
    load: Mutex<Load>,
}

#[derive(Default)]
struct Load {
    now: usize,
    most: usize,
}

impl Gateway {
    /// Serves on an address of this machine; port 0 takes a free one.
    pub async fn start(address: SocketAddr, behaviour: Behaviour, seed: u64) -> io::Result<Self> {
        behaviour.check().map_err(io::Error::other)?;
        let shared = Arc::new(Shared {
            seed,
            behaviour: Mutex::new(behaviour),
            ledger: Mutex::default(),
            tries: Mutex::default(),
            load: Mutex::default(),
        });
        let router = Router::new()
            .route("/v1/captures", post(capture))
            .route("/v1/refunds", post(refund))
            .route("/v1/operations/{key}", get(operation))
            .route("/v1/ledger", get(books))
            .route("/admin/behaviour", get(show_behaviour).put(set_behaviour))
            .with_state(shared.clone());
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let server = tokio::spawn(async move {
            // Serving ends with the task only: accept errors are retried within.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            address,
            shared,
            server,
        })
    }

    /// On a free port of the loopback address.
    pub async fn local(behaviour: Behaviour, seed: u64) -> io::Result<Self> {
        Self::start(SocketAddr::from(([127, 0, 0, 1], 0)), behaviour, seed).await
    }

    /// `http://ADDRESS:PORT`, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes how requests from now on are treated.
    pub fn behave(&self, behaviour: Behaviour) -> Result<(), String> {
        behaviour.check()?;
        *lock(&self.shared.behaviour) = behaviour;
        Ok(())
    }

    pub fn books(&self) -> Books {
        lock(&self.shared.ledger).books()
    }

    /// How many requests came with this key, performed or not.
    pub fn requests(&self, key: &str) -> u32 {
        lock(&self.shared.tries)
            .get(key)
            .copied()
            .unwrap_or_default()
    }

    /// The most requests that were under way at once, ever.
    pub fn most_at_once(&self) -> usize {
        lock(&self.shared.load).most
    }

    /// Serves until it fails.
    pub async fn wait(mut self) -> io::Result<()> {
        (&mut self.server).await.map_err(io::Error::other)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn capture(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Json(body): Json<Capture>,
) -> Response {
    perform(shared, &headers, move |shared, key| {
        let declined = body.payment_method.starts_with("declined")
            || lock(&shared.behaviour).declines(shared.seed, key);
        let reason = declined.then_some("insufficient_funds");
        lock(&shared.ledger).capture(key, body, reason, Utc::now())
    })
    .await
}

async fn refund(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Json(body): Json<Refund>,
) -> Response {
    perform(shared, &headers, move |shared, key| {
        lock(&shared.ledger).refund(key, body, Utc::now())
    })
    .await
}

/// Performs a request as well or as badly as the behaviour of this moment says.
async fn perform(
    shared: Arc<Shared>,
    headers: &HeaderMap,
    execute: impl FnOnce(&Shared, &str) -> Result<Operation, Refusal> + Send + 'static,
) -> Response {
    let key = headers
        .get("idempotency-key")
        .and_then(|key| key.to_str().ok())
        .filter(|key| !key.is_empty());
    let Some(key) = key.map(str::to_owned) else {
        return refusal(StatusCode::BAD_REQUEST, "header Idempotency-Key is missing");
    };
    let _under_way = UnderWay::count(shared.clone());
    let nth = count_request(&shared, &key);
    let behaviour = *lock(&shared.behaviour);
    let arrived = Instant::now();
    let answered = arrived + behaviour.latency(shared.seed, &key, nth);
    match behaviour.fault(shared.seed, &key, nth) {
        Fault::None => {
            // waits: the latency of a gateway
            sleep_until(answered).await;
            answer(execute(&shared, &key))
        }
        Fault::Error => {
            // waits: the latency of a gateway
            sleep_until(answered).await;
            refusal(StatusCode::INTERNAL_SERVER_ERROR, "something went wrong")
        }
        Fault::HalfAnswered => {
            // waits: the latency of a gateway
            sleep_until(answered).await;
            match execute(&shared, &key) {
                Ok(_) => cut_connection(),
                refused => answer(refused),
            }
        }
        Fault::Hang => {
            let performed_at = arrived + std::time::Duration::from_millis(behaviour.hang_ms);
            // A task of its own: it happens although the client has long hung up.
            let late = tokio::spawn(async move {
                // waits: the hang is what is simulated
                sleep_until(performed_at).await;
                answer(execute(&shared, &key))
            });
            late.await
                .unwrap_or_else(|_| refusal(StatusCode::INTERNAL_SERVER_ERROR, "stopped"))
        }
    }
}

/// A request that somebody waits for; a client that hangs up ends it.
struct UnderWay(Arc<Shared>);

impl UnderWay {
    fn count(shared: Arc<Shared>) -> Self {
        let mut load = lock(&shared.load);
        load.now += 1;
        load.most = load.most.max(load.now);
        drop(load);
        Self(shared)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        lock(&self.0.load).now -= 1;
    }
}

fn count_request(shared: &Shared, key: &str) -> u32 {
    let mut tries = lock(&shared.tries);
    let nth = tries.entry(key.to_owned()).or_default();
    *nth += 1;
    *nth
}

async fn operation(State(shared): State<Arc<Shared>>, Path(key): Path<String>) -> Response {
    match lock(&shared.ledger).operation(&key) {
        Some(operation) => Json(operation.clone()).into_response(),
        None => refusal(StatusCode::NOT_FOUND, "no operation of this key"),
    }
}

async fn books(State(shared): State<Arc<Shared>>) -> Json<Books> {
    Json(lock(&shared.ledger).books())
}

async fn show_behaviour(State(shared): State<Arc<Shared>>) -> Json<Behaviour> {
    Json(*lock(&shared.behaviour))
}

async fn set_behaviour(
    State(shared): State<Arc<Shared>>,
    Json(behaviour): Json<Behaviour>,
) -> Response {
    if let Err(wrong) = behaviour.check() {
        return refusal(StatusCode::BAD_REQUEST, &wrong);
    }
    *lock(&shared.behaviour) = behaviour;
    Json(behaviour).into_response()
}

fn answer(outcome: Result<Operation, Refusal>) -> Response {
    match outcome {
        Ok(operation) => Json(operation).into_response(),
        Err(why) => {
            let status = match why {
                Refusal::Invalid(_) => StatusCode::BAD_REQUEST,
                Refusal::UnknownCapture(_) => StatusCode::NOT_FOUND,
                Refusal::KeyReused | Refusal::ExceedsCapture { .. } => {
                    StatusCode::UNPROCESSABLE_ENTITY
                }
            };
            refusal(status, &why.to_string())
        }
    }
}

fn refusal(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "error": message }))).into_response()
}

/// An answer that breaks off: the server closes the connection when a body fails.
fn cut_connection() -> Response {
    let cut = stream::once(async {
        Err::<Vec<u8>, _>(io::Error::from(io::ErrorKind::ConnectionAborted))
    });
    Body::from_stream(cut).into_response()
}

/// A lock that a panicking test does not spoil: every change under it is complete in itself.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
