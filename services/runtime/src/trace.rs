//! W3C trace context: what a message arrives with and what the records it causes leave with.
//!
//! Every message gets a span of its own (kind consumer, `process <topic>`), child of the producer's context, so that one
//! business transaction is one trace across all processors. The context travels through outbox rows as headers, so a
//! record published by recovery belongs to the same trace. Without an exporter only the ids are made, which costs some
//! tens of nanoseconds; with one, spans are real.

use std::borrow::Cow;
use std::sync::Arc;

use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
};
use opentelemetry::{Context, KeyValue};

use crate::message::{Headers, Message};

/// Header names of the W3C recommendation "Trace Context".
pub const TRACEPARENT: &str = "traceparent";
pub const TRACESTATE: &str = "tracestate";

/// Bytes of a `traceparent` header: version, trace, span and flags.
const HEADER: usize = 55;

/// The context that the records caused by a message, a timer or an answer carry on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    trace_id: u128,
    span_id: u64,
    flags: u8,
    state: Option<Arc<str>>,
}

impl Trace {
    /// A trace that starts here.
    pub fn root() -> Self {
        Self {
            trace_id: rand::random::<u128>() | 1,
            span_id: rand::random::<u64>() | 1,
            flags: 1,
            state: None,
        }
    }

    /// Reads `version-traceid-parentid-flags`; `None` for anything else, which the recommendation says to ignore.
    pub fn parse(traceparent: &str, tracestate: Option<&str>) -> Option<Self> {
        let mut parts = traceparent.split('-');
        let (version, trace_id, span_id, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let known =
            version.len() == 2 && version != "ff" && (version != "00" || parts.next().is_none());
        if !known || trace_id.len() != 32 || span_id.len() != 16 || flags.len() != 2 {
            return None;
        }
        let trace_id = u128::from_str_radix(trace_id, 16)
            .ok()
            .filter(|id| *id != 0)?;
        let span_id = u64::from_str_radix(span_id, 16)
            .ok()
            .filter(|id| *id != 0)?;
        let flags = u8::from_str_radix(flags, 16).ok()?;
        Some(Self {
            trace_id,
            span_id,
            flags,
            state: tracestate.map(Arc::from),
        })
    }

    /// The `traceparent` header; also the durable form of a trace for state that outlives a cycle.
    pub fn traceparent(&self) -> String {
        let header = self.header();
        let header = str::from_utf8(&header).expect("hexadecimal digits");
        header.to_owned()
    }

    /// The same where it is only copied: every record has one, and formatting took a thirtieth of a processor's time.
    pub(crate) fn header(&self) -> [u8; HEADER] {
        let mut header = *b"00-00000000000000000000000000000000-0000000000000000-00";
        hex(&self.trace_id.to_be_bytes(), &mut header[3..35]);
        hex(&self.span_id.to_be_bytes(), &mut header[36..52]);
        hex(&[self.flags], &mut header[53..]);
        header
    }

    pub fn tracestate(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// A new span of the same trace.
    pub fn child(&self) -> Self {
        Self {
            span_id: rand::random::<u64>() | 1,
            ..self.clone()
        }
    }

    pub(crate) fn of(headers: &Headers) -> Option<Self> {
        Self::parse(headers.text(TRACEPARENT)?, headers.text(TRACESTATE))
    }

    fn span_context(&self) -> SpanContext {
        let state = self
            .state
            .as_deref()
            .and_then(|state| state.parse::<TraceState>().ok())
            .unwrap_or_default();
        let (trace_id, span_id) = (TraceId::from(self.trace_id), SpanId::from(self.span_id));
        SpanContext::new(trace_id, span_id, TraceFlags::new(self.flags), true, state)
    }
}

/// Writes two digits for each byte.
fn hex(bytes: &[u8], digits: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (byte, pair) in bytes.iter().zip(digits.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 0xf)];
    }
}

/// Makes the span of each processed message.
pub(crate) struct Spans {
    tracer: Option<opentelemetry::global::BoxedTracer>,
    group: Arc<str>,
}

/// The open spans of a cycle's messages; they end when this is dropped, that is when the cycle has been published.
pub(crate) type OpenSpan = Option<Context>;

impl Spans {
    /// `exporting`: whether anybody receives spans; otherwise none are built.
    pub(crate) fn new(exporting: bool, group: &str) -> Self {
        let tracer = exporting.then(|| opentelemetry::global::tracer("runtime"));
        Self {
            tracer,
            group: group.into(),
        }
    }

    /// Opens the span of a message: child of its producer's context, or a root.
    pub(crate) fn open(&self, message: &Message) -> (Trace, OpenSpan) {
        let parent = Trace::of(&message.headers);
        let Some(tracer) = &self.tracer else {
            return (
                parent.map_or_else(Trace::root, |parent| parent.child()),
                None,
            );
        };
        let name: Cow<'static, str> = format!("process {}", message.source.topic).into();
        let builder = tracer
            .span_builder(name)
            .with_kind(SpanKind::Consumer)
            .with_attributes([
                KeyValue::new("messaging.system", "kafka"),
                KeyValue::new("messaging.operation.name", "process"),
                KeyValue::new("messaging.operation.type", "process"),
                KeyValue::new("messaging.destination.name", message.source.topic.clone()),
                KeyValue::new(
                    "messaging.destination.partition.id",
                    message.partition.to_string(),
                ),
                KeyValue::new("messaging.kafka.offset", message.offset),
                KeyValue::new("messaging.consumer.group.name", self.group.clone()),
            ]);
        let context = match &parent {
            Some(parent) => Context::new().with_remote_span_context(parent.span_context()),
            None => Context::new(),
        };
        let context = context.with_span(builder.start_with_context(tracer, &context));
        let span = context.span().span_context().clone();
        let trace = Trace {
            trace_id: u128::from_be_bytes(span.trace_id().to_bytes()),
            span_id: u64::from_be_bytes(span.span_id().to_bytes()),
            flags: span.trace_flags().to_u8(),
            state: parent.and_then(|parent| parent.state),
        };
        (trace, Some(context))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_comes_back_as_it_was_read() {
        assert_eq!(Trace::parse(PARENT, None).unwrap().traceparent(), PARENT);
    }

    #[test]
    fn a_child_keeps_the_trace_and_changes_the_span() {
        let parent = Trace::parse(PARENT, Some("a=b")).unwrap();
        let child = parent.child();
        assert_eq!(
            (child.trace_id, child.tracestate()),
            (parent.trace_id, Some("a=b"))
        );
        assert_ne!(child.span_id, parent.span_id);
    }

    #[test]
    fn what_is_no_trace_context_is_ignored() {
        for bad in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "rubbish",
        ] {
            assert_eq!(Trace::parse(bad, None), None, "{bad}");
        }
    }
}
