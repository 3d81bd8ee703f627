//! One business transaction is one trace: what a message causes carries its trace id on.

use crate::world::{Command, World};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

#[tokio::test]
async fn a_record_belongs_to_the_trace_of_its_message() {
    let world = World::new("trace", 1).await;
    let traced = Command::new(0, "traced", "add")
        .header("traceparent", format!("00-{TRACE}-{SPAN}-01"))
        .header("tracestate", "vendor=value");
    let plain = Command::new(0, "plain", "add");
    let malformed = Command::new(0, "malformed", "add").header("traceparent", "rubbish");
    world.send([traced, plain, malformed]).await;
    let _toy = world.toy("a").start();
    world.settle().await;
    let output = world.read(&world.output).await;
    let parent = |key: &str| {
        let record = output.iter().find(|record| record.key_text() == Some(key));
        let record = record.unwrap();
        let parts: Vec<String> = record
            .header("traceparent")
            .unwrap()
            .split('-')
            .map(str::to_owned)
            .collect();
        (parts, record.header("tracestate").map(str::to_owned))
    };
    let (traced, state) = parent("traced");
    assert_eq!((traced[0].as_str(), traced[1].as_str()), ("00", TRACE));
    assert_ne!(traced[2], SPAN, "a span of its own");
    assert_eq!(state.as_deref(), Some("vendor=value"));
    for rootless in ["plain", "malformed"] {
        let (parts, state) = parent(rootless);
        assert_eq!((parts[1].len(), state), (32, None));
        assert_ne!(parts[1], TRACE);
    }
}
