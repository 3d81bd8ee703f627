//! A TCP proxy under a test's control: it relays, looks, cuts, refuses.
//!
//! Guarantees: what a [`Protocol`] keeps back is never sent; a cut closes both sides of a connection; after
//! [`Proxy::refuse`] no new connection lives until [`Proxy::resume`]. Costs one copy of every byte.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::{Connection, FaultListener, Protocol, Relay, wait_for_value};

/// How long to wait for an address that another test's proxy still listens on.
const BIND: Duration = Duration::from_secs(300);

/// A running proxy; dropping it closes everything.
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

struct State {
    refusing: AtomicBool,
    accepted: AtomicU32,
    /// Counted up to cut every connection.
    cuts: watch::Sender<u64>,
}

impl Proxy {
    /// Listens on `listen` (`host:0` for a free port) and relays to `forward`. Waits while another proxy holds the address.
    pub async fn start(
        listen: &str,
        forward: &str,
        protocol: impl Protocol,
    ) -> anyhow::Result<Self> {
        let listener = bind(listen).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            refusing: AtomicBool::new(false),
            accepted: AtomicU32::new(0),
            cuts: watch::Sender::new(0),
        });
        let accepting = tokio::spawn(accept(
            listener,
            forward.to_owned(),
            state.clone(),
            protocol,
        ));
        Ok(Self {
            address,
            state,
            accepting,
        })
    }

    /// The proxy that the broker's fault listener tells its clients to use: bootstrap from [`Proxy::address`].
    /// There is one such address per stack, so tests that need it run one after another.
    pub async fn for_broker(
        listener: &FaultListener,
        protocol: impl Protocol,
    ) -> anyhow::Result<Self> {
        Self::start(&listener.listen, &listener.forward, protocol).await
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections accepted and relayed so far.
    pub fn accepted(&self) -> u32 {
        self.state.accepted.load(Ordering::SeqCst)
    }

    /// Closes every open connection, on both sides.
    pub fn cut_all(&self) {
        self.state.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// From now on closes new connections at once, as a dead server's machine would.
    pub fn refuse(&self) {
        self.state.refusing.store(true, Ordering::SeqCst);
    }

    /// The server is gone: cuts every connection and refuses new ones.
    pub fn outage(&self) {
        self.refuse();
        self.cut_all();
    }

    /// Accepts again.
    pub fn resume(&self) {
        self.state.refusing.store(false, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut_all();
    }
}

async fn bind(listen: &str) -> anyhow::Result<TcpListener> {
    let address = lookup_host(listen)
        .await?
        .next()
        .with_context(|| format!("{listen} has no address"))?;
    let what = format!("the address {listen} to be free");
    let bound = wait_for_value(&what, BIND, async || {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => None,
            bound => Some(bound),
        }
    });
    bound
        .await
        .with_context(|| format!("listening on {listen}"))
}

async fn accept(
    listener: TcpListener,
    forward: String,
    state: Arc<State>,
    protocol: impl Protocol,
) {
    while let Ok((client, _)) = listener.accept().await {
        if state.refusing.load(Ordering::SeqCst) {
            continue;
        }
        state.accepted.fetch_add(1, Ordering::SeqCst);
        let mut cuts = state.cuts.subscribe();
        // A cut between the check above and this subscription must not be missed by this connection.
        if state.refusing.load(Ordering::SeqCst) {
            continue;
        }
        let (forward, connection) = (forward.clone(), protocol.connection());
        tokio::spawn(async move {
            tokio::select! {
                _ = cuts.changed() => {}
                _ = relay(client, &forward, connection) => {}
            }
        });
    }
}

/// Relays until one side ends or the connection is cut; leaving it drops, and so closes, both sides.
async fn relay(
    client: TcpStream,
    forward: &str,
    connection: Box<dyn Connection>,
) -> io::Result<()> {
    let server = TcpStream::connect(forward).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let connection = Mutex::new(connection);
    let locked = || {
        connection
            .lock()
            .expect("no protocol panics while it holds this")
    };
    tokio::select! {
        ended = pump(from_client, to_server, |bytes| locked().request(bytes)) => ended,
        ended = pump(from_server, to_client, |bytes| locked().response(bytes)) => ended,
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut look: impl FnMut(&[u8]) -> Relay,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        let relay = look(&buffer[..count]);
        to.write_all(&relay.forward).await?;
        if relay.cut {
            return Ok(());
        }
    }
}
