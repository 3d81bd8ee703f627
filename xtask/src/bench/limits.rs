//! How near one processor comes to what Kafka and PostgreSQL allow a client that does nothing but read and write.
//!
//! The orders processor works off a backlog of OrderPlaced alone. Then, on the same stack, a bare Kafka client reads the same
//! messages and writes the same answers in transactions of the processor's mean size, and a bare PostgreSQL client writes
//! the same rows in as large transactions. The processor does both, one after the other, and fsyncs once per cycle. It is
//! counted from its first visible answer to its last, over all orders but those of one transaction: what it takes to start a
//! process and to create tables is no part of a limit.

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::rig::{GEO, Rig, Site, number};
use super::usage::Usage;
use super::{drain, exposition};

#[derive(Serialize)]
pub struct Limits {
    pub orders: u64,
    /// Mean events per cycle of the processor; both bare clients take as many orders per transaction.
    pub batch: u64,
    /// The orders processor alone: OrderPlaced in, OrderAccepted and PaymentRequested out.
    pub processor_orders_per_s: f64,
    pub processor: Usage,
    pub kafka_orders_per_s: f64,
    /// Inserting what the processor inserts.
    pub postgres_orders_per_s: f64,
    /// Inserting, and updating each order twice as the rest of its way does: no part of the ratio.
    pub postgres_with_updates_orders_per_s: f64,
    /// The processor to the smaller limit; wanted: 0.5.
    pub ratio: f64,
    pub checks_ok: bool,
}

pub fn run(site: &Site, orders: u64) -> Result<Limits> {
    let rig = Rig::fresh(site, &[GEO])?;
    let count = orders.to_string();
    rig.client(&["orders", "--count", &count])?;
    let reader = rig
        .client_command(&["await", "--record", "PaymentRequested", "--count", &count])
        .spawn()
        .context("start bench")?;
    let mut processors = rig.processors(&rig.settings_of_still_drivers()?)?;
    eprintln!("bench: the orders processor alone, {orders} orders");
    processors.start("orders")?;
    let output = reader.wait_with_output()?;
    let seen: serde_json::Value = serde_json::from_slice(&output.stdout).context("the reader")?;
    let processor_s = number(&seen, "/last_at")? - number(&seen, "/first_at")?;
    let processor = drain::used(&processors)?["orders"];
    let metrics = processors.metrics("orders")?;
    processors.stop()?;
    let mean = exposition::mean(&metrics, "runtime_cycle_events");
    let batch = mean.context("no runtime_cycle_events")?.round().max(1.0) as u64;
    ensure!(
        orders > batch,
        "{orders} orders are one transaction: nothing to count"
    );
    let processor_orders_per_s = (orders - batch) as f64 / processor_s;
    let counts = rig.client(&["count"])?;
    eprintln!("bench: bare clients, {batch} orders per transaction");
    let batch_text = batch.to_string();
    let copied = rig.client(&["copy", "--batch", &batch_text])?;
    let rows = [
        "rows",
        "--postgres",
        &rig.state.postgres,
        "--batch",
        &batch_text,
    ];
    let written = rig.client(&rows)?;
    rig.down()?;
    let per_s = |seconds: f64| orders as f64 / seconds;
    let kafka = per_s(number(&copied, "/seconds")?);
    let (insert_s, update_s) = (
        number(&written, "/insert_seconds")?,
        number(&written, "/update_seconds")?,
    );
    ensure!(
        written["orders"] == orders && copied["orders"] == orders,
        "{copied} {written}"
    );
    let once = |name: &str| counts["records"][name] == orders && counts["keys"][name] == orders;
    Ok(Limits {
        orders,
        batch,
        processor_orders_per_s,
        processor,
        kafka_orders_per_s: kafka,
        postgres_orders_per_s: per_s(insert_s),
        postgres_with_updates_orders_per_s: per_s(insert_s + update_s),
        ratio: processor_orders_per_s / kafka.min(per_s(insert_s)),
        checks_ok: ["OrderPlaced", "OrderAccepted", "PaymentRequested"]
            .into_iter()
            .all(once),
    })
}
