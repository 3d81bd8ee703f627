//! Configuration of the Kafka clients. What exactly-once depends on is set last, so that nothing can override it.

use rdkafka::ClientConfig;

use crate::config::{KafkaSettings, RuntimeSettings};

/// Identity of a process in its service.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) service: String,
    pub(crate) group: String,
    pub(crate) instance: String,
}

impl Identity {
    pub(crate) fn new(service: &str, settings: &RuntimeSettings) -> Self {
        let group = settings.group.clone().unwrap_or_else(|| service.to_owned());
        Self {
            service: service.to_owned(),
            group,
            instance: settings.instance.clone(),
        }
    }

    fn client(&self, role: &str) -> String {
        format!("{}-{}-{role}", self.service, self.instance)
    }

    fn slot(&self) -> String {
        format!("{}-{}", self.group, self.instance)
    }
}

fn base(kafka: &KafkaSettings, identity: &Identity, role: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &kafka.brokers)
        .set("client.id", identity.client(role));
    for (name, value) in &kafka.properties {
        config.set(name, value);
    }
    config
}

/// The consumer that holds the membership and never reads.
pub(crate) fn membership(
    kafka: &KafkaSettings,
    runtime: &RuntimeSettings,
    identity: &Identity,
) -> ClientConfig {
    let mut config = base(kafka, identity, "member");
    config
        .set("group.id", &identity.group)
        .set("session.timeout.ms", runtime.session_timeout_ms.to_string())
        // A member learns of a rebalance by its heartbeats: lanes that change hands stand still for that long.
        .set(
            "heartbeat.interval.ms",
            (runtime.session_timeout_ms / 4).clamp(100, 500).to_string(),
        )
        // A cycle may take as long as its transactions may; a revocation waits for it.
        .set("max.poll.interval.ms", "300000")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("queued.min.messages", "1");
    if runtime.static_membership {
        config.set("group.instance.id", identity.slot());
    }
    config
}

/// What one partition gives at a time: all that are behind answer at once, and their answers count beside the queue.
const PARTITION_BYTES: &str = "65536";

/// The consumer that reads what the lanes say.
pub(crate) fn reader(
    kafka: &KafkaSettings,
    runtime: &RuntimeSettings,
    identity: &Identity,
) -> ClientConfig {
    let mut config = base(kafka, identity, "reader");
    config
        .set("group.id", &identity.group)
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", "false")
        // A fetch that waits holds up partitions assigned after it was sent.
        .set("fetch.wait.max.ms", "100")
        .set("fetch.queue.backoff.ms", "5")
        .set("queued.min.messages", "10000")
        .set(
            "queued.max.messages.kbytes",
            (runtime.fetch_mb * 1024).to_string(),
        )
        .set("fetch.message.max.bytes", PARTITION_BYTES)
        // Nobody looks at them, the asker's would queue up, and with them the client asks for the beginning of each log.
        .set("statistics.interval.ms", "0");
    config
}

/// The consumer of soft sources. What it is told comes in as rarely as a wait allows: the cost of a fetch, here and at the
/// broker, hardly depends on how much it brings.
pub(crate) fn soft_reader(
    kafka: &KafkaSettings,
    runtime: &RuntimeSettings,
    identity: &Identity,
) -> ClientConfig {
    let mut config = reader(kafka, runtime, identity);
    config
        .set("client.id", identity.client("soft-reader"))
        // What one partition gives at a time: who is behind never waits.
        .set("fetch.min.bytes", PARTITION_BYTES);
    config
}

/// The consumer that only asks, for committed positions and the bounds of logs, and never fetches: behind a fetch that waits,
/// every question on the same connection waits too, and recovery asks four.
pub(crate) fn asker(
    kafka: &KafkaSettings,
    runtime: &RuntimeSettings,
    identity: &Identity,
) -> ClientConfig {
    let mut config = reader(kafka, runtime, identity);
    config.set("client.id", identity.client("asker"));
    config
}

/// The transactional producer.
pub(crate) fn producer(
    kafka: &KafkaSettings,
    runtime: &RuntimeSettings,
    identity: &Identity,
) -> ClientConfig {
    let mut config = base(kafka, identity, "producer");
    config
        .set("transactional.id", identity.slot())
        .set("enable.idempotence", "true")
        .set(
            "transaction.timeout.ms",
            runtime.transaction_timeout_ms.to_string(),
        )
        // What Java clients use: every client in any language finds the same partition for a key.
        .set("partitioner", "murmur2_random")
        // The transaction's outcome says all of them: a report per message is work for nobody.
        .set("delivery.report.only.error", "true")
        // Room for a dead letter: a message of the brokers' largest size, and its new headers.
        .set("message.max.bytes", "2000000")
        .set("linger.ms", "0")
        // A new transaction right after a commit is answered with "try again"; the default of 100 ms would set the pace.
        .set("retry.backoff.ms", "5")
        .set("retry.backoff.max.ms", "100");
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_exactly_once_depends_on_cannot_be_overridden() {
        let kafka = KafkaSettings {
            brokers: "k:1".to_owned(),
            properties: [
                ("isolation.level", "read_uncommitted"),
                ("enable.auto.commit", "true"),
                ("enable.idempotence", "false"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        };
        let runtime = RuntimeSettings::default();
        let identity = Identity::new("s", &runtime);
        assert_eq!(
            reader(&kafka, &runtime, &identity).get("isolation.level"),
            Some("read_committed")
        );
        assert_eq!(
            membership(&kafka, &runtime, &identity).get("enable.auto.commit"),
            Some("false")
        );
        assert_eq!(
            producer(&kafka, &runtime, &identity).get("enable.idempotence"),
            Some("true")
        );
    }

    #[test]
    fn one_slot_names_member_and_producer() {
        let (kafka, runtime) = (
            KafkaSettings {
                brokers: String::new(),
                properties: Default::default(),
            },
            RuntimeSettings::default(),
        );
        let identity = Identity::new("s", &runtime);
        assert_eq!(
            membership(&kafka, &runtime, &identity).get("group.instance.id"),
            Some("s-0")
        );
        assert_eq!(
            producer(&kafka, &runtime, &identity).get("transactional.id"),
            Some("s-0")
        );
    }
}
