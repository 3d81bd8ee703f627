//! Which ports a stack uses.
//!
//! A stack takes one block of [`BLOCK`] neighbouring ports, all of them free, below the range the kernel hands out to outgoing connections: a port
//! that is meant to stay silent (the fault listener's) would otherwise be taken sooner or later by some client. The search starts at a place
//! derived from the stack's directory, so the same stack gets the same ports after a restart, and two stacks do not share a block.
//! Single ports can be configured.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::{Ipv4Addr, TcpListener},
    path::Path,
};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

const FIRST: u16 = 20_000;
const BLOCK: u16 = 16;
const BLOCKS: u16 = 750;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    pub brokers: Vec<BrokerPorts>,
    pub registry: u16,
    pub registry_management: u16,
    pub postgres: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerPorts {
    pub client: u16,
    pub controller: u16,
    /// Where the broker answers clients of the fault listener.
    pub fault_forward: u16,
    /// Where it tells them to go; free until a test listens there.
    pub fault_listen: u16,
}

/// Ports somebody asked for; the rest is found.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted {
    /// Of the first broker; the others take what is free.
    pub kafka: Option<u16>,
    pub registry: Option<u16>,
    pub postgres: Option<u16>,
}

impl Ports {
    /// Free ports for a stack in `dir`.
    pub fn find(dir: &Path, brokers: u8, wanted: Wanted) -> Result<Self> {
        for (name, port) in [
            ("Kafka", wanted.kafka),
            ("registry", wanted.registry),
            ("PostgreSQL", wanted.postgres),
        ] {
            if let Some(port) = port.filter(|p| !is_free(*p)) {
                bail!("port {port}, configured for {name}, is taken");
            }
        }
        let mut hasher = DefaultHasher::new();
        dir.hash(&mut hasher);
        // The remainder is below BLOCKS, so it fits.
        let start = u16::try_from(hasher.finish() % u64::from(BLOCKS)).unwrap_or(0);
        let block = (0..BLOCKS)
            .map(|i| FIRST + (start + i) % BLOCKS * BLOCK)
            .find(|first| (*first..first + BLOCK).all(is_free));
        match block {
            Some(first) => Ok(Self::in_block(first, brokers, wanted)),
            None => bail!(
                "no {BLOCK} neighbouring free ports between {FIRST} and {}",
                FIRST + BLOCKS * BLOCK
            ),
        }
    }

    /// True when a stack that had these ports can have them again: nobody listens there and nobody asked for others.
    pub fn fit(&self, brokers: u8, wanted: Wanted) -> bool {
        let as_wanted = [
            (wanted.kafka, self.brokers.first().map(|b| b.client)),
            (wanted.registry, Some(self.registry)),
            (wanted.postgres, Some(self.postgres)),
        ];
        self.brokers.len() == usize::from(brokers)
            && as_wanted
                .iter()
                .all(|(wanted, have)| wanted.is_none() || wanted == have)
            && self.all().into_iter().all(is_free)
    }

    fn all(&self) -> Vec<u16> {
        let mut all = vec![self.registry, self.registry_management, self.postgres];
        let of = |b: &BrokerPorts| [b.client, b.controller, b.fault_forward, b.fault_listen];
        all.extend(self.brokers.iter().flat_map(of));
        all
    }

    fn in_block(first: u16, brokers: u8, wanted: Wanted) -> Self {
        let mut next = first..;
        let mut take = || next.next().unwrap_or(first);
        let mut ports = Self {
            registry: take(),
            registry_management: take(),
            postgres: take(),
            brokers: (0..brokers)
                .map(|_| BrokerPorts {
                    client: take(),
                    controller: take(),
                    fault_forward: take(),
                    fault_listen: take(),
                })
                .collect(),
        };
        if let (Some(first), Some(port)) = (ports.brokers.first_mut(), wanted.kafka) {
            first.client = port;
        }
        ports.registry = wanted.registry.unwrap_or(ports.registry);
        ports.postgres = wanted.postgres.unwrap_or(ports.postgres);
        ports
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_holds_every_port_of_three_brokers_once() {
        let mut ports = Ports::in_block(20_000, 3, Wanted::default()).all();
        assert!(ports.iter().all(|p| (20_000..20_000 + BLOCK).contains(p)));
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 15);
    }

    #[test]
    fn a_block_with_one_taken_port_is_left_alone_as_a_whole() {
        let dir = Path::new("/a/stack/of/this/test");
        let before = Ports::find(dir, 1, Wanted::default()).expect("ports");
        let _taken =
            TcpListener::bind((Ipv4Addr::LOCALHOST, before.brokers[0].controller)).expect("bind");
        let after = Ports::find(dir, 1, Wanted::default()).expect("ports");
        assert!(before.all().iter().all(|p| !after.all().contains(p)));
    }

    #[test]
    fn a_configured_port_that_is_taken_is_refused_by_name() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
        let port = taken.local_addr().expect("address").port();
        let error = Ports::find(
            Path::new("/x"),
            1,
            Wanted {
                registry: Some(port),
                ..Wanted::default()
            },
        )
        .expect_err("taken");
        assert!(error.to_string().contains("registry"), "{error}");
    }
}
