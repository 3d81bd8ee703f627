//! Runs the mock payment gateway: `gateway --port 0` prints where it listens.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use clap::Parser;
use gateway::{Behaviour, Gateway};

/// The mock payment gateway.
#[derive(Parser)]
struct Options {
    /// Address to listen on.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// Port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 8090)]
    port: u16,
    /// What outcomes, faults and latencies are drawn from, with the idempotency key.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    behaviour: Behaviour,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let address = SocketAddr::new(options.host, options.port);
    let gateway = Gateway::start(address, options.behaviour, options.seed).await?;
    println!("gateway: listening on {}", gateway.url());
    Ok(gateway.wait().await?)
}
