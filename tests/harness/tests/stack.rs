//! The harness on the real stack: topics, records, databases, and faults that real clients run into.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use harness::{
    ApiKey, Broker, Isolation, KafkaFrames, PostgresFrames, Proxy, Stack, When, unique, wait_for,
};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use sqlx::postgres::PgPoolOptions;

const REQUEST: Duration = Duration::from_secs(20);

type Transactional = ThreadedProducer<rdkafka::producer::DefaultProducerContext>;

fn transactional(broker: &Broker) -> Transactional {
    let mut config = broker.config();
    config
        .set("transactional.id", unique("harness"))
        .set("transaction.timeout.ms", "20000");
    let producer: Transactional = config.create().unwrap();
    producer.init_transactions(REQUEST).unwrap();
    producer
}

fn send(producer: &Transactional, topic: &str, value: &str) {
    producer.begin_transaction().unwrap();
    producer
        .send(BaseRecord::<str, str>::to(topic).payload(value))
        .map_err(|(error, _)| error)
        .unwrap();
}

#[tokio::test]
async fn records_come_back_with_key_value_headers_and_place() {
    let broker = Stack::from_env().broker();
    let topic = broker.unique_topic("harness", 3).await.unwrap();
    let headers: [(&str, Option<&[u8]>); 2] = [("a", Some(b"1")), ("b", None)];
    for value in ["x", "y"] {
        broker
            .produce(
                &topic,
                Some(2),
                Some(b"k"),
                Some(value.as_bytes()),
                &headers,
            )
            .await
            .unwrap();
    }
    broker
        .produce(&topic, Some(0), None, None, &[])
        .await
        .unwrap();
    let all = broker
        .read_all(&[&topic], Isolation::Committed)
        .await
        .unwrap();
    let places: Vec<_> = all
        .iter()
        .map(|r| (r.partition, r.offset, r.value.as_deref()))
        .collect();
    assert_eq!(
        places,
        [
            (0, 0, None),
            (2, 0, Some(&b"x"[..])),
            (2, 1, Some(&b"y"[..]))
        ]
    );
    assert_eq!(
        (all[1].key_text(), all[1].header("a"), all[1].header("b")),
        (Some("k"), Some("1"), None)
    );
    assert_eq!(all[1].headers.len(), 2);
}

#[tokio::test]
async fn a_committed_reader_sees_no_aborted_record_and_ends_behind_the_last_marker() {
    let broker = Stack::from_env().broker();
    let topic = broker.unique_topic("harness", 1).await.unwrap();
    let (name, producing) = (topic.clone(), broker.clone());
    tokio::task::spawn_blocking(move || {
        let producer = transactional(&producing);
        send(&producer, &name, "kept");
        producer.commit_transaction(REQUEST).unwrap();
        send(&producer, &name, "gone");
        producer.flush(REQUEST).unwrap();
        producer.abort_transaction(REQUEST).unwrap();
    })
    .await
    .unwrap();
    assert_eq!(
        broker
            .read_all(&[&topic], Isolation::Committed)
            .await
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        broker
            .read_all(&[&topic], Isolation::Uncommitted)
            .await
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test]
async fn a_topic_is_decided_when_no_transaction_is_open_on_it() {
    let broker = Stack::from_env().broker();
    let topic = broker.unique_topic("harness", 2).await.unwrap();
    let (name, producing) = (topic.clone(), broker.clone());
    let producer = tokio::task::spawn_blocking(move || {
        let producer = transactional(&producing);
        send(&producer, &name, "open");
        producer.flush(REQUEST).unwrap();
        producer
    });
    let producer = producer.await.unwrap();
    let is_decided = async || broker.is_decided(&[&topic]).await.unwrap();
    assert!(!is_decided().await);
    let commit = tokio::task::spawn_blocking(move || producer.commit_transaction(REQUEST));
    commit.await.unwrap().unwrap();
    wait_for("the markers", REQUEST, is_decided).await;
}

#[tokio::test]
async fn a_database_is_fresh_and_its_own() {
    let stack = Stack::from_env();
    let (one, two) = (
        stack.database().await.unwrap(),
        stack.database().await.unwrap(),
    );
    let create = "CREATE TABLE only_here (id int)";
    sqlx::query(create)
        .execute(&one.pool().await.unwrap())
        .await
        .unwrap();
    sqlx::query(create)
        .execute(&two.pool().await.unwrap())
        .await
        .unwrap();
}

/// Inserts a row through a proxy and returns (what the client was told, what is there).
async fn insert_with_commit_cut(when: When) -> (bool, i64) {
    let database = Stack::from_env().database().await.unwrap();
    let direct = database.pool().await.unwrap();
    sqlx::query("CREATE TABLE t (id int)")
        .execute(&direct)
        .await
        .unwrap();
    let frames = PostgresFrames::new();
    let proxy = Proxy::start("127.0.0.1:0", &database.address(), frames.clone())
        .await
        .unwrap();
    let url = database.url_through(proxy.address());
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect(&url)
        .await
        .unwrap();
    let fault = frames.cut_on_commit(when, 1);
    let mut transaction = pool.begin().await.unwrap();
    sqlx::query("INSERT INTO t VALUES (1)")
        .execute(&mut *transaction)
        .await
        .unwrap();
    let told = transaction.commit().await.is_ok();
    assert_eq!(fault.fired(), 1);
    // The server ends the abandoned session by itself; only then is the outcome settled.
    let settled = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'";
    wait_for("the cut session to end", REQUEST, async || {
        sqlx::query_scalar::<_, i64>(settled)
            .fetch_one(&direct)
            .await
            .unwrap()
            == 0
    })
    .await;
    (
        told,
        sqlx::query_scalar("SELECT count(*) FROM t")
            .fetch_one(&direct)
            .await
            .unwrap(),
    )
}

#[tokio::test]
async fn a_commit_cut_before_the_request_is_not_carried_out() {
    assert_eq!(
        insert_with_commit_cut(When::BeforeRequest).await,
        (false, 0)
    );
}

#[tokio::test]
async fn a_commit_cut_before_the_response_is_carried_out_unknown_to_the_client() {
    assert_eq!(
        insert_with_commit_cut(When::BeforeResponse).await,
        (false, 1)
    );
}

#[tokio::test]
async fn a_kafka_client_runs_into_each_cut_of_a_transaction_and_gets_over_it() {
    let stack = Stack::from_env();
    let direct = stack.broker();
    let frames = KafkaFrames::new();
    let proxy = Proxy::for_broker(stack.fault_listener(), frames.clone())
        .await
        .unwrap();
    let through = Broker::new(&proxy.address().to_string());
    for when in [When::BeforeRequest, When::BeforeResponse] {
        let topic = direct.unique_topic("harness", 1).await.unwrap();
        let fault = frames.cut_on(ApiKey::END_TXN, when, 1);
        let (broker, name) = (through.clone(), topic.clone());
        tokio::task::spawn_blocking(move || {
            let producer = transactional(&broker);
            send(&producer, &name, "once");
            // librdkafka reconnects and asks again by itself.
            producer.commit_transaction(REQUEST).unwrap();
        })
        .await
        .unwrap();
        assert_eq!(fault.fired(), 1, "{when:?}");
        assert_eq!(
            direct
                .read_all(&[&topic], Isolation::Committed)
                .await
                .unwrap()
                .len(),
            1,
            "{when:?}"
        );
    }
}
