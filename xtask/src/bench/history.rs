//! Tables that have seen work: orders that ended before, as they would stand there.

use anyhow::Result;

use super::rig::{GEO, Rig};
use crate::workspace;

/// Puts so many delivered orders of the geo into the tables of all processors, which must exist, and tidies up behind them,
/// so that no vacuum falls into what is measured.
pub fn fill(rig: &Rig, orders: u64) -> Result<()> {
    eprintln!("bench: {orders} orders that were delivered before");
    let file = workspace::root().join("xtask/src/bench/delivered_orders.sql");
    let (orders, geo) = (format!("orders={orders}"), format!("geo={GEO}"));
    rig.psql(&["-v", &orders, "-v", &geo, "-f", &file.to_string_lossy()])?;
    // A vacuum cannot be part of a transaction, which several commands in one string would be.
    rig.sql("VACUUM ANALYZE")?;
    rig.sql("CHECKPOINT").map(drop)
}
