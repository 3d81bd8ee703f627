//! Logs, metrics and traces of a process.

use std::io::IsTerminal;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{ConfigError, LogFormat, TelemetrySettings};

/// What has to outlive the engine.
pub(crate) struct Telemetry {
    pub(crate) metrics: PrometheusHandle,
    traces: Option<SdkTracerProvider>,
}

/// Buckets in seconds, from a fast commit to a transaction's timeout (the ones of the messaging conventions).
const SECONDS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Buckets for counts of events.
const EVENTS: [f64; 9] = [1.0, 5.0, 20.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 4_000.0];

/// Buckets in minutes, from a slack that was missed by far to a wait that nobody forgives: what is before its time is negative.
const MINUTES: [f64; 16] = [
    -30.0, -15.0, -10.0, -5.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0,
];

/// Starts all three; call once per process, inside its async runtime.
pub(crate) fn start(service: &str, settings: &TelemetrySettings) -> Result<Telemetry, ConfigError> {
    let filter = EnvFilter::try_new(&settings.log)
        .map_err(|error| ConfigError::invalid("telemetry.log", &settings.log, error.to_string()))?;
    let traces = settings
        .otlp
        .as_deref()
        .map(|endpoint| exporter(service, endpoint))
        .transpose()?;
    // Events become log lines; spans of the runtime's own go to the exporter, when there is one.
    let spans = traces.as_ref().map(|provider| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("log"))
            .with_filter(EnvFilter::new("off"))
    });
    let lines = match settings.format {
        LogFormat::Json => tracing_subscriber::fmt::layer()
            .json()
            .with_writer(std::io::stderr)
            .boxed(),
        LogFormat::Text => tracing_subscriber::fmt::layer()
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr)
            .boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .with(spans)
        .init();
    let invalid =
        |error: BuildError| ConfigError::invalid("telemetry", "metrics", error.to_string());
    let metrics = exposition().and_then(PrometheusBuilder::install_recorder);
    let metrics = metrics.map_err(invalid)?;
    Ok(Telemetry { metrics, traces })
}

/// Every histogram by its unit: without buckets it would be a summary, which cannot be added up over instances.
fn exposition() -> Result<PrometheusBuilder, BuildError> {
    let units: [(&str, &[f64]); 3] = [
        ("_seconds", &SECONDS),
        ("_minutes", &MINUTES),
        ("_events", &EVENTS),
    ];
    let mut builder = PrometheusBuilder::new();
    for (suffix, buckets) in units {
        builder = builder.set_buckets_for_metric(Matcher::Suffix(suffix.to_owned()), buckets)?;
    }
    Ok(builder)
}

fn exporter(service: &str, endpoint: &str) -> Result<SdkTracerProvider, ConfigError> {
    let invalid = |error: String| ConfigError::invalid("telemetry.otlp", endpoint, error);
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_endpoint(endpoint)
        .build()
        .map_err(|error| invalid(error.to_string()))?;
    let resource = Resource::builder()
        .with_service_name(service.to_owned())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource)
        .build();
    opentelemetry::global::set_tracer_provider(provider.clone());
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    Ok(provider)
}

impl Telemetry {
    pub(crate) fn exports_traces(&self) -> bool {
        self.traces.is_some()
    }

    /// Sends what is still buffered.
    pub(crate) fn finish(self) {
        if let Some(traces) = self.traces
            && let Err(error) = traces.shutdown()
        {
            tracing::warn!(%error, "last spans not exported");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use metrics::{histogram, with_local_recorder};

    use super::*;

    #[test]
    fn histograms_of_every_unit_have_buckets_and_those_of_minutes_below_zero_as_well() {
        let recorder = exposition().unwrap().build_recorder();
        with_local_recorder(&recorder, || {
            for name in ["commit_seconds", "slack_minutes", "batch_events"] {
                histogram!(name).record(-1.5);
            }
        });
        let text = recorder.handle().render();
        for line in [
            r#"commit_seconds_bucket{le="0.001"} 1"#,
            r#"slack_minutes_bucket{le="-2"} 0"#,
            r#"slack_minutes_bucket{le="-1"} 1"#,
            r#"batch_events_bucket{le="1"} 1"#,
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
