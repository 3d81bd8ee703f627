//! What a proxy looks at: the two byte streams of one connection, and when to cut it.
//!
//! A [`Protocol`] makes one [`Connection`] per accepted client. The connection sees every chunk of either direction
//! before it is passed on and says what to relay and whether to cut afterwards. Cutting *before* a request means that
//! the server never gets a byte of it; cutting *before its response* means that the server has answered, so it has done
//! what was asked, and the client never learns it: the two halves of an unknown outcome.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

/// Where a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The request does not reach the server.
    BeforeRequest,
    /// The request is carried out; its response does not reach the client.
    BeforeResponse,
}

/// What to do with a chunk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relay {
    /// Bytes to pass on now; what is not among them has been kept back, or swallowed by a cut.
    pub forward: Vec<u8>,
    /// Close both sides once `forward` has been written.
    pub cut: bool,
}

impl Relay {
    pub fn all(bytes: &[u8]) -> Self {
        Self {
            forward: bytes.to_vec(),
            cut: false,
        }
    }
}

/// Looks at one connection.
pub trait Connection: Send {
    /// Bytes from client to server.
    fn request(&mut self, bytes: &[u8]) -> Relay;
    /// Bytes from server to client.
    fn response(&mut self, bytes: &[u8]) -> Relay;
}

/// Looks at all connections of a proxy.
pub trait Protocol: Send + Sync + 'static {
    fn connection(&self) -> Box<dyn Connection>;
}

/// A fault that was asked for: cut where it says, so many times, and count.
#[derive(Clone, Debug)]
pub struct Fault(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    when: When,
    left: AtomicU32,
    fired: AtomicU32,
}

impl Fault {
    pub(crate) fn new(when: When, times: u32) -> Self {
        Self(Arc::new(Inner {
            when,
            left: AtomicU32::new(times),
            fired: AtomicU32::new(0),
        }))
    }

    pub fn when(&self) -> When {
        self.0.when
    }

    /// How often a connection was cut. A test asserts this before it asserts that nothing came of it.
    pub fn fired(&self) -> u32 {
        self.0.fired.load(Ordering::SeqCst)
    }

    /// Claims one of the remaining times for a request.
    pub(crate) fn claim(&self) -> bool {
        let take = |left: u32| left.checked_sub(1);
        self.0
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take)
            .is_ok()
    }

    /// Gives a claimed time back: the connection ended before it came to the cut.
    pub(crate) fn release(&self) {
        self.0.left.fetch_add(1, Ordering::SeqCst);
    }

    /// The claimed cut has happened.
    pub(crate) fn fire(&self) {
        self.0.fired.fetch_add(1, Ordering::SeqCst);
    }
}

/// No protocol: chunks as they come, shown to a callback that may ask for a cut. Without a callback a mere relay.
#[derive(Clone, Default)]
pub struct Chunks {
    inspect: Option<Arc<Mutex<Inspect>>>,
}

type Inspect = dyn FnMut(&[u8]) -> Option<When> + Send;

impl Chunks {
    /// Relays everything.
    pub fn relay() -> Self {
        Self::default()
    }

    /// `inspect` sees each chunk from client to server; `Some` cuts the connection there.
    pub fn inspect(inspect: impl FnMut(&[u8]) -> Option<When> + Send + 'static) -> Self {
        Self {
            inspect: Some(Arc::new(Mutex::new(inspect))),
        }
    }
}

impl Protocol for Chunks {
    fn connection(&self) -> Box<dyn Connection> {
        Box::new(ChunkConnection {
            inspect: self.inspect.clone(),
            swallow_response: false,
        })
    }
}

struct ChunkConnection {
    inspect: Option<Arc<Mutex<Inspect>>>,
    swallow_response: bool,
}

impl Connection for ChunkConnection {
    fn request(&mut self, bytes: &[u8]) -> Relay {
        let inspect = self.inspect.as_ref();
        let cut = inspect.and_then(|inspect| {
            inspect
                .lock()
                .expect("no callback panics while it holds this")(bytes)
        });
        match cut {
            None => Relay::all(bytes),
            Some(When::BeforeRequest) => Relay {
                forward: Vec::new(),
                cut: true,
            },
            Some(When::BeforeResponse) => {
                self.swallow_response = true;
                Relay::all(bytes)
            }
        }
    }

    fn response(&mut self, bytes: &[u8]) -> Relay {
        if self.swallow_response {
            Relay {
                forward: Vec::new(),
                cut: true,
            }
        } else {
            Relay::all(bytes)
        }
    }
}
