//! Kafka's wire protocol, as far as cutting at a chosen request needs it.
//!
//! A request is `length i32 | api key i16 | api version i16 | correlation id i32 | ...`, a response
//! `length i32 | correlation id i32 | ...` (Kafka protocol guide). Frames are held until complete, so a cut before a
//! request leaves the server without any byte of it.

use std::sync::{Arc, Mutex};

use crate::connection::{Connection, Fault, Protocol, Relay, When};

/// The kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ApiKey(pub i16);

impl ApiKey {
    pub const PRODUCE: Self = Self(0);
    pub const FETCH: Self = Self(1);
    pub const LIST_OFFSETS: Self = Self(2);
    pub const METADATA: Self = Self(3);
    pub const OFFSET_COMMIT: Self = Self(8);
    pub const OFFSET_FETCH: Self = Self(9);
    pub const FIND_COORDINATOR: Self = Self(10);
    pub const JOIN_GROUP: Self = Self(11);
    pub const HEARTBEAT: Self = Self(12);
    pub const SYNC_GROUP: Self = Self(14);
    pub const INIT_PRODUCER_ID: Self = Self(22);
    pub const ADD_PARTITIONS_TO_TXN: Self = Self(24);
    pub const ADD_OFFSETS_TO_TXN: Self = Self(25);
    pub const END_TXN: Self = Self(26);
    pub const TXN_OFFSET_COMMIT: Self = Self(28);
}

/// Cuts connections at requests of chosen kinds. Clones share their faults.
#[derive(Clone, Debug, Default)]
pub struct KafkaFrames {
    faults: Arc<Mutex<Vec<(ApiKey, Fault)>>>,
}

impl KafkaFrames {
    pub fn new() -> Self {
        Self::default()
    }

    /// The next `times` requests of that kind, on any connection, meet their end.
    pub fn cut_on(&self, api_key: ApiKey, when: When, times: u32) -> Fault {
        let fault = Fault::new(when, times);
        self.faults
            .lock()
            .expect("never held across a panic")
            .push((api_key, fault.clone()));
        fault
    }

    fn claim(&self, api_key: ApiKey) -> Option<Fault> {
        let faults = self.faults.lock().expect("never held across a panic");
        faults
            .iter()
            .find(|(key, fault)| *key == api_key && fault.claim())
            .map(|(_, fault)| fault.clone())
    }
}

impl Protocol for KafkaFrames {
    fn connection(&self) -> Box<dyn Connection> {
        Box::new(KafkaConnection {
            frames: self.clone(),
            requests: Vec::new(),
            responses: Vec::new(),
            swallow: Vec::new(),
        })
    }
}

struct KafkaConnection {
    frames: KafkaFrames,
    requests: Vec<u8>,
    responses: Vec<u8>,
    /// Correlation ids whose responses must not arrive.
    swallow: Vec<(i32, Fault)>,
}

impl Connection for KafkaConnection {
    fn request(&mut self, bytes: &[u8]) -> Relay {
        self.requests.extend_from_slice(bytes);
        let mut forward = Vec::new();
        while let Some(frame) = take_frame(&mut self.requests) {
            let api_key = ApiKey(i16::from_be_bytes(field(&frame, 4)));
            match self.frames.claim(api_key) {
                Some(fault) if fault.when() == When::BeforeRequest => {
                    fault.fire();
                    return Relay { forward, cut: true };
                }
                Some(fault) => self
                    .swallow
                    .push((i32::from_be_bytes(field(&frame, 8)), fault)),
                None => {}
            }
            forward.extend_from_slice(&frame);
        }
        Relay {
            forward,
            cut: false,
        }
    }

    fn response(&mut self, bytes: &[u8]) -> Relay {
        // The common case costs no second copy.
        if self.swallow.is_empty() && self.responses.is_empty() && whole_frames(bytes) {
            return Relay::all(bytes);
        }
        self.responses.extend_from_slice(bytes);
        let mut forward = Vec::new();
        while let Some(frame) = take_frame(&mut self.responses) {
            let correlation = i32::from_be_bytes(field(&frame, 4));
            if let Some((_, fault)) = self.swallow.iter().find(|(id, _)| *id == correlation) {
                fault.fire();
                // All others end with this connection.
                self.swallow.clear();
                return Relay { forward, cut: true };
            }
            forward.extend_from_slice(&frame);
        }
        Relay {
            forward,
            cut: false,
        }
    }
}

impl Drop for KafkaConnection {
    /// A client may leave before it is answered; the next such request is then the one.
    fn drop(&mut self) {
        self.swallow.iter().for_each(|(_, fault)| fault.release());
    }
}

/// Removes the first complete frame, length included.
fn take_frame(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = frame_end(buffer)?;
    (end <= buffer.len()).then(|| buffer.drain(..end).collect())
}

fn frame_end(bytes: &[u8]) -> Option<usize> {
    let length = i32::from_be_bytes(*bytes.first_chunk()?);
    Some(4 + usize::try_from(length).expect("a client of Kafka sends no negative length"))
}

fn whole_frames(mut bytes: &[u8]) -> bool {
    while let Some(rest) = frame_end(bytes).and_then(|end| bytes.get(end..)) {
        bytes = rest;
    }
    bytes.is_empty()
}

/// Fixed-size field of a frame; zeros beyond its end, which match no fault that a test asks for by correlation id.
fn field<const N: usize>(frame: &[u8], at: usize) -> [u8; N] {
    frame
        .get(at..at + N)
        .and_then(|field| field.try_into().ok())
        .unwrap_or([0; N])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(api_key: ApiKey, correlation: i32) -> Vec<u8> {
        let body = [
            &api_key.0.to_be_bytes()[..],
            &[0, 9],
            &correlation.to_be_bytes(),
            b"body",
        ]
        .concat();
        [&(body.len() as i32).to_be_bytes()[..], &body].concat()
    }

    fn response(correlation: i32) -> Vec<u8> {
        let body = [&correlation.to_be_bytes()[..], b"answer"].concat();
        [&(body.len() as i32).to_be_bytes()[..], &body].concat()
    }

    #[test]
    fn a_request_cut_before_leaves_no_byte_of_it_and_all_of_those_ahead() {
        let frames = KafkaFrames::new();
        let fault = frames.cut_on(ApiKey::END_TXN, When::BeforeRequest, 1);
        let mut connection = frames.connection();
        let (first, second) = (request(ApiKey::PRODUCE, 1), request(ApiKey::END_TXN, 2));
        let both = [first.clone(), second].concat();
        // The second frame arrives in two pieces.
        let relay = connection.request(&both[..both.len() - 3]);
        assert_eq!(
            (relay, fault.fired()),
            (
                Relay {
                    forward: first,
                    cut: false
                },
                0
            )
        );
        let relay = connection.request(&both[both.len() - 3..]);
        assert_eq!(
            (relay, fault.fired()),
            (
                Relay {
                    forward: vec![],
                    cut: true
                },
                1
            )
        );
    }

    #[test]
    fn a_response_is_swallowed_only_when_it_is_the_one() {
        let frames = KafkaFrames::new();
        let fault = frames.cut_on(ApiKey::END_TXN, When::BeforeResponse, 1);
        let mut connection = frames.connection();
        for (key, id) in [(ApiKey::PRODUCE, 7), (ApiKey::END_TXN, 8)] {
            assert_eq!(
                connection.request(&request(key, id)),
                Relay::all(&request(key, id))
            );
        }
        assert_eq!(connection.response(&response(7)), Relay::all(&response(7)));
        assert_eq!(fault.fired(), 0);
        assert_eq!(
            connection.response(&response(8)),
            Relay {
                forward: vec![],
                cut: true
            }
        );
        assert_eq!(fault.fired(), 1);
    }

    #[test]
    fn a_connection_that_ends_before_the_response_leaves_the_fault_to_the_next() {
        let frames = KafkaFrames::new();
        let fault = frames.cut_on(ApiKey::END_TXN, When::BeforeResponse, 1);
        let asks = || {
            let mut connection = frames.connection();
            connection.request(&request(ApiKey::END_TXN, 8));
            connection
        };
        drop(asks());
        let mut second = asks();
        assert!(second.response(&response(8)).cut);
        drop(second);
        let relay = asks().response(&response(8));
        assert_eq!((relay.cut, fault.fired()), (false, 1));
    }

    #[test]
    fn a_fault_fires_as_often_as_asked_and_no_more() {
        let frames = KafkaFrames::new();
        let fault = frames.cut_on(ApiKey::FETCH, When::BeforeRequest, 2);
        let cuts: Vec<bool> = (0..4)
            .map(|id| frames.connection().request(&request(ApiKey::FETCH, id)).cut)
            .collect();
        assert_eq!((cuts, fault.fired()), (vec![true, true, false, false], 2));
    }

    #[test]
    fn responses_in_pieces_are_put_together_before_they_are_judged() {
        let frames = KafkaFrames::new();
        let mut connection = frames.connection();
        let whole = [response(1), response(2)].concat();
        let mut relayed = Vec::new();
        for byte in &whole {
            relayed.extend(connection.response(&[*byte]).forward);
        }
        assert_eq!(relayed, whole);
    }
}
