//! `/health/live`, `/health/ready` and `/metrics`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;

use crate::config::{ConfigError, HttpSettings};
use crate::health::Health;

#[derive(Clone)]
struct Served {
    health: Arc<Health>,
    metrics: PrometheusHandle,
}

/// Starts serving; returns where.
pub(crate) async fn serve(
    service: &str,
    settings: &HttpSettings,
    health: Arc<Health>,
    metrics: PrometheusHandle,
) -> Result<SocketAddr, ConfigError> {
    let invalid = |error: std::io::Error| {
        ConfigError::invalid("http.listen", settings.listen, error.to_string())
    };
    let listener = TcpListener::bind(settings.listen).await.map_err(invalid)?;
    let address = listener.local_addr().map_err(invalid)?;
    let router = Router::new()
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/metrics", get(scrape))
        .with_state(Served { health, metrics });
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "serving health and metrics");
        }
    });
    if let Some(file) = &settings.announce {
        let line = serde_json::json!({"name": service, "http": format!("http://{address}"), "pid": std::process::id()});
        std::fs::write(file, format!("{line}\n")).map_err(|error| {
            ConfigError::invalid("http.announce", file.display(), error.to_string())
        })?;
    }
    Ok(address)
}

async fn live(State(served): State<Served>) -> (StatusCode, String) {
    let still = served.health.still_for().as_secs();
    if served.health.is_live() {
        (StatusCode::OK, "live\n".to_owned())
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("lanes with work have not moved for {still} s\n"),
        )
    }
}

async fn ready(State(served): State<Served>) -> (StatusCode, &'static str) {
    if served.health.is_ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "not ready: joining the group, recovering lanes, or stopping\n",
        )
    }
}

async fn scrape(State(served): State<Served>) -> String {
    served.metrics.run_upkeep();
    served.metrics.render()
}
