//! PostgreSQL's wire protocol, as far as cutting at a COMMIT needs it.
//!
//! After the start-up packet a message is `type u8 | length i32 (without the type) | ...` in both directions (PostgreSQL
//! manual, "Message Flow"). A commit is found in a simple query ('Q') and in a statement to be parsed ('P'); that it was
//! carried out is told by the server's CommandComplete ('C') with the tag `COMMIT`, after which a cut leaves the client
//! ignorant of a transaction that is there. Without TLS only (`sslmode=disable`): of what is encrypted nothing is seen.

use std::sync::{Arc, Mutex};

use crate::connection::{Connection, Fault, Protocol, Relay, When};

/// Request codes of packets that come before the start-up packet and are answered by a single byte.
const SSL_REQUEST: i32 = 80_877_103;
const GSS_REQUEST: i32 = 80_877_104;

/// Cuts connections at COMMIT. Clones share their faults.
#[derive(Clone, Debug, Default)]
pub struct PostgresFrames {
    faults: Arc<Mutex<Vec<Fault>>>,
}

impl PostgresFrames {
    pub fn new() -> Self {
        Self::default()
    }

    /// The next `times` commits, on any connection, are cut off: either never carried out, or carried out without an answer.
    pub fn cut_on_commit(&self, when: When, times: u32) -> Fault {
        let fault = Fault::new(when, times);
        self.faults
            .lock()
            .expect("never held across a panic")
            .push(fault.clone());
        fault
    }

    fn claim(&self) -> Option<Fault> {
        self.faults
            .lock()
            .expect("never held across a panic")
            .iter()
            .find(|fault| fault.claim())
            .cloned()
    }
}

impl Protocol for PostgresFrames {
    fn connection(&self) -> Box<dyn Connection> {
        Box::new(PostgresConnection {
            frames: self.clone(),
            ..PostgresConnection::default()
        })
    }
}

#[derive(Default)]
struct PostgresConnection {
    frames: PostgresFrames,
    /// The start-up packet, the only untyped one of any size, has gone through.
    started: bool,
    /// Single bytes the server still owes in answer to requests for encryption.
    single_bytes: usize,
    requests: Vec<u8>,
    responses: Vec<u8>,
    /// The commit in flight must not be answered.
    swallow: Option<Fault>,
}

impl Connection for PostgresConnection {
    fn request(&mut self, bytes: &[u8]) -> Relay {
        self.requests.extend_from_slice(bytes);
        let mut forward = Vec::new();
        while let Some(message) = take_message(&mut self.requests, self.started) {
            if !self.started {
                self.start(&message);
            } else if is_commit(&message) {
                match self.frames.claim() {
                    Some(fault) if fault.when() == When::BeforeRequest => {
                        fault.fire();
                        return Relay { forward, cut: true };
                    }
                    Some(fault) => self.swallow = Some(fault),
                    None => {}
                }
            }
            forward.extend_from_slice(&message);
        }
        Relay {
            forward,
            cut: false,
        }
    }

    fn response(&mut self, bytes: &[u8]) -> Relay {
        self.responses.extend_from_slice(bytes);
        let single = self.single_bytes.min(self.responses.len());
        self.single_bytes -= single;
        let mut forward: Vec<u8> = self.responses.drain(..single).collect();
        while let Some(message) = take_message(&mut self.responses, true) {
            if message.starts_with(b"C")
                && message[5..].starts_with(b"COMMIT\0")
                && let Some(fault) = self.swallow.take()
            {
                fault.fire();
                return Relay { forward, cut: true };
            }
            forward.extend_from_slice(&message);
        }
        Relay {
            forward,
            cut: false,
        }
    }
}

impl PostgresConnection {
    fn start(&mut self, packet: &[u8]) {
        let code = packet
            .get(4..8)
            .and_then(|code| code.try_into().ok())
            .map_or(0, i32::from_be_bytes);
        match code {
            SSL_REQUEST | GSS_REQUEST => self.single_bytes += 1,
            _ => self.started = true,
        }
    }
}

/// Removes the first complete message.
fn take_message(buffer: &mut Vec<u8>, typed: bool) -> Option<Vec<u8>> {
    let kind = usize::from(typed);
    let length = i32::from_be_bytes(*buffer.get(kind..)?.first_chunk()?);
    let end = kind + usize::try_from(length).expect("neither side sends a negative length");
    (end <= buffer.len()).then(|| buffer.drain(..end).collect())
}

/// `Q text\0`, or `P name\0 text\0 ...`.
fn is_commit(message: &[u8]) -> bool {
    let body = message.get(5..).unwrap_or_default();
    let text = match message.first() {
        Some(b'Q') => body,
        Some(b'P') => body
            .iter()
            .position(|byte| *byte == 0)
            .map_or(&[][..], |end| &body[end + 1..]),
        _ => &[],
    };
    text.trim_ascii_start()
        .get(..6)
        .is_some_and(|word| word.eq_ignore_ascii_case(b"COMMIT"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind][..], &(body.len() as i32 + 4).to_be_bytes(), body].concat()
    }

    fn untyped(code: i32, rest: &[u8]) -> Vec<u8> {
        [
            &(rest.len() as i32 + 8).to_be_bytes()[..],
            &code.to_be_bytes(),
            rest,
        ]
        .concat()
    }

    fn started(frames: &PostgresFrames) -> Box<dyn Connection> {
        let mut connection = frames.connection();
        let start = [untyped(SSL_REQUEST, b""), untyped(196_608, b"user\0x\0\0")].concat();
        assert_eq!(connection.request(&start), Relay::all(&start));
        let answer = [b"N".to_vec(), message(b'R', &[0; 4]), message(b'Z', b"I")].concat();
        assert_eq!(connection.response(&answer), Relay::all(&answer));
        connection
    }

    #[test]
    fn a_commit_is_kept_from_the_server_whether_simple_or_parsed() {
        for commit in [
            message(b'Q', b"COMMIT\0"),
            message(b'Q', b" commit;\0"),
            message(b'P', b"s1\0COMMIT\0\0\0"),
        ] {
            let frames = PostgresFrames::new();
            let fault = frames.cut_on_commit(When::BeforeRequest, 1);
            let mut connection = started(&frames);
            let insert = message(b'Q', b"INSERT INTO t VALUES ('COMMIT')\0");
            let relay = connection.request(&[insert.clone(), commit].concat());
            assert_eq!(
                (relay, fault.fired()),
                (
                    Relay {
                        forward: insert,
                        cut: true
                    },
                    1
                )
            );
        }
    }

    #[test]
    fn the_answer_to_a_commit_is_swallowed_and_no_other() {
        let frames = PostgresFrames::new();
        let fault = frames.cut_on_commit(When::BeforeResponse, 1);
        let mut connection = started(&frames);
        let commit = message(b'Q', b"COMMIT\0");
        assert_eq!(connection.request(&commit), Relay::all(&commit));
        let insert = message(b'C', b"INSERT 0 1\0");
        let relay = connection.response(&[insert.clone(), message(b'C', b"COMMIT\0")].concat());
        assert_eq!(
            (relay, fault.fired()),
            (
                Relay {
                    forward: insert,
                    cut: true
                },
                1
            )
        );
    }

    #[test]
    fn without_a_fault_everything_passes_in_any_pieces() {
        let mut connection = started(&PostgresFrames::new());
        let commit = message(b'Q', b"COMMIT\0");
        let relayed: Vec<u8> = commit
            .iter()
            .flat_map(|byte| connection.request(&[*byte]).forward)
            .collect();
        assert_eq!(relayed, commit);
    }
}
