//! Messages as they came from Kafka: borrowed from one buffer per fetch, so that a message costs no allocation of its own.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use crate::lane::SourceTopic;

/// A message of a source partition, byte for byte as the broker holds it.
#[derive(Clone, Debug)]
pub struct Message {
    pub source: Arc<SourceTopic>,
    pub partition: i32,
    pub offset: i64,
    /// Milliseconds since the epoch; -1 when the broker has none.
    pub timestamp_ms: i64,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Headers,
}

impl Message {
    /// Size in memory, for bounding what is held.
    pub(crate) fn bytes(&self) -> usize {
        let part = |part: &Option<Bytes>| part.as_ref().map_or(0, Bytes::len);
        part(&self.key) + part(&self.value) + self.headers.0.len() + 64
    }
}

/// Headers in order, duplicates included, packed into one buffer.
#[derive(Clone, Debug, Default)]
pub struct Headers(Bytes);

/// Length that marks a header without a value (Kafka distinguishes null from empty).
const NULL: u32 = u32::MAX;

impl Headers {
    /// Appends one header to a buffer that [`Headers::packed`] will take.
    pub(crate) fn pack(buffer: &mut BytesMut, name: &str, value: Option<&[u8]>) {
        buffer.put_u32(name.len() as u32);
        buffer.put_slice(name.as_bytes());
        buffer.put_u32(value.map_or(NULL, |value| value.len() as u32));
        buffer.put_slice(value.unwrap_or_default());
    }

    pub(crate) fn packed(bytes: Bytes) -> Self {
        Self(bytes)
    }

    pub(crate) fn of(headers: &[(String, Option<Vec<u8>>)]) -> Self {
        let mut buffer = BytesMut::new();
        for (name, value) in headers {
            Self::pack(&mut buffer, name, value.as_deref());
        }
        Self(buffer.freeze())
    }

    /// All headers, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        let mut rest: &[u8] = &self.0;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let name = take(&mut rest)?;
            let value = take_nullable(&mut rest)?;
            Some((std::str::from_utf8(name).ok()?, value))
        })
    }

    /// The last header of that name, as Kafka's own clients resolve duplicates.
    pub fn last(&self, name: &str) -> Option<&[u8]> {
        self.iter()
            .filter(|(n, _)| *n == name)
            .last()
            .and_then(|(_, value)| value)
    }

    /// The last header of that name, when it is UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.last(name)?).ok()
    }
}

fn take_length(rest: &mut &[u8]) -> Option<u32> {
    let (length, tail) = rest.split_first_chunk::<4>()?;
    *rest = tail;
    Some(u32::from_be_bytes(*length))
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take_length(rest)? as usize;
    let (head, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(head)
}

#[expect(
    clippy::option_option,
    reason = "the outer one says the buffer ended, the inner one that the value is null"
)]
fn take_nullable<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = take_length(rest)?;
    if length == NULL {
        return Some(None);
    }
    let (head, tail) = rest.split_at_checked(length as usize)?;
    *rest = tail;
    Some(Some(head))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(headers: &[(&str, Option<&[u8]>)]) -> Headers {
        let mut buffer = BytesMut::new();
        for (name, value) in headers {
            Headers::pack(&mut buffer, name, *value);
        }
        Headers::packed(buffer.freeze())
    }

    #[test]
    fn headers_come_back_in_order_with_null_and_empty_told_apart() {
        let given: [(&str, Option<&[u8]>); 4] = [
            ("a", Some(b"1")),
            ("b", None),
            ("a", Some(b"")),
            ("", Some(&[0xff, 0])),
        ];
        assert_eq!(packed(&given).iter().collect::<Vec<_>>(), given);
    }

    #[test]
    fn the_last_of_two_headers_of_a_name_counts() {
        assert_eq!(
            packed(&[("a", Some(b"1")), ("a", Some(b"2"))]).text("a"),
            Some("2")
        );
        assert_eq!(packed(&[]).text("a"), None);
    }
}
