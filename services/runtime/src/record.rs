//! Outgoing records, and the packed form in which one outbox row holds all records of a lane's cycle.
//!
//! One row per lane and cycle instead of one per record: inserting and deleting rows is the dearest part of an outbox.
//! Topic and header names repeat, so a row holds each name once and refers to it by number.
//!
//! Layout (integers big-endian): `version u8 | records u32 | names u16 | (len u16, utf8)* | record*`, a record being
//! `topic u16 | partition i32 (-1: by key) | key | value | headers u16 | (name u16, value)*`, where key, value and header
//! values are `len u32 | bytes` and a length of `u32::MAX` means null.

use thiserror::Error;

const VERSION: u8 = 1;
const NULL: u32 = u32::MAX;

/// One record to publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub topic: &'a str,
    /// `None`: by the key, with the hash that Java clients use (murmur2).
    pub partition: Option<i32>,
    pub key: Option<&'a [u8]>,
    /// `None`: a tombstone.
    pub value: Option<&'a [u8]>,
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

/// Packs the records of one lane's cycle, in order.
#[derive(Debug, Default)]
pub struct Outgoing {
    names: Vec<String>,
    body: Vec<u8>,
    records: u32,
    largest: usize,
}

impl Outgoing {
    pub fn push(&mut self, record: Record<'_>) {
        let topic = self.name(record.topic);
        self.body.extend_from_slice(&topic.to_be_bytes());
        self.body
            .extend_from_slice(&record.partition.unwrap_or(-1).to_be_bytes());
        self.bytes(record.key);
        self.bytes(record.value);
        self.body
            .extend_from_slice(&(record.headers.len() as u16).to_be_bytes());
        for (name, value) in record.headers {
            let name = self.name(name);
            self.body.extend_from_slice(&name.to_be_bytes());
            self.bytes(*value);
        }
        self.records += 1;
        self.largest = self
            .largest
            .max(record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len));
    }

    /// Size of the largest key and value.
    pub(crate) fn largest(&self) -> usize {
        self.largest
    }

    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    pub fn len(&self) -> u32 {
        self.records
    }

    /// The row's bytes.
    pub(crate) fn pack(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(self.body.len() + 32 * self.names.len() + 8);
        row.push(VERSION);
        row.extend_from_slice(&self.records.to_be_bytes());
        row.extend_from_slice(&(self.names.len() as u16).to_be_bytes());
        for name in &self.names {
            row.extend_from_slice(&(name.len() as u16).to_be_bytes());
            row.extend_from_slice(name.as_bytes());
        }
        row.extend_from_slice(&self.body);
        row
    }

    /// A linear search: a lane names a handful of topics and headers.
    fn name(&mut self, name: &str) -> u16 {
        let known = self.names.iter().position(|known| known == name);
        let index = known.unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        index as u16
    }

    fn bytes(&mut self, bytes: Option<&[u8]>) {
        let length = bytes.map_or(NULL, |bytes| bytes.len() as u32);
        self.body.extend_from_slice(&length.to_be_bytes());
        self.body.extend_from_slice(bytes.unwrap_or_default());
    }
}

/// A row that this version cannot read: written by a newer one, or damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("outbox row: {0}")]
pub struct MalformedRow(&'static str);

/// Calls `each` for every record of a row, in order.
pub(crate) fn unpack<E: From<MalformedRow>>(
    row: &[u8],
    mut each: impl FnMut(&Record<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut rest = Cursor(row);
    if rest.array::<1>()? != [VERSION] {
        return Err(MalformedRow("unknown version").into());
    }
    let records = rest.u32()?;
    let names = (0..rest.u16()?)
        .map(|_| rest.name())
        .collect::<Result<Vec<&str>, MalformedRow>>()?;
    let name = |index: u16| {
        names
            .get(usize::from(index))
            .copied()
            .ok_or(MalformedRow("unknown name"))
    };
    let mut headers = Vec::new();
    for _ in 0..records {
        let topic = name(rest.u16()?)?;
        let partition = i32::from_be_bytes(rest.array()?);
        let (key, value) = (rest.bytes()?, rest.bytes()?);
        headers.clear();
        for _ in 0..rest.u16()? {
            headers.push((name(rest.u16()?)?, rest.bytes()?));
        }
        let partition = (partition >= 0).then_some(partition);
        each(&Record {
            topic,
            partition,
            key,
            value,
            headers: &headers,
        })?;
    }
    if rest.0.is_empty() {
        Ok(())
    } else {
        Err(MalformedRow("bytes after the last record").into())
    }
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], MalformedRow> {
        let (head, tail) = self
            .0
            .split_first_chunk::<N>()
            .ok_or(MalformedRow("cut short"))?;
        self.0 = tail;
        Ok(*head)
    }

    fn u16(&mut self) -> Result<u16, MalformedRow> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, MalformedRow> {
        self.array().map(u32::from_be_bytes)
    }

    fn slice(&mut self, length: usize) -> Result<&'a [u8], MalformedRow> {
        let (head, tail) = self
            .0
            .split_at_checked(length)
            .ok_or(MalformedRow("cut short"))?;
        self.0 = tail;
        Ok(head)
    }

    fn name(&mut self) -> Result<&'a str, MalformedRow> {
        let length = self.u16()?;
        std::str::from_utf8(self.slice(usize::from(length))?)
            .map_err(|_| MalformedRow("a name is not UTF-8"))
    }

    fn bytes(&mut self) -> Result<Option<&'a [u8]>, MalformedRow> {
        match self.u32()? {
            NULL => Ok(None),
            length => self.slice(length as usize).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_as_they_went_in() {
        let headers: [(&str, Option<&[u8]>); 2] = [("h", Some(b"x")), ("n", None)];
        let given = [
            Record {
                topic: "a",
                partition: Some(3),
                key: Some(b"k"),
                value: Some(b"v"),
                headers: &headers,
            },
            Record {
                topic: "b",
                partition: None,
                key: None,
                value: None,
                headers: &[],
            },
            Record {
                topic: "a",
                partition: Some(0),
                key: Some(b""),
                value: Some(b""),
                headers: &headers[1..],
            },
        ];
        let mut outgoing = Outgoing::default();
        given.iter().for_each(|record| outgoing.push(*record));
        let mut seen = 0;
        unpack::<MalformedRow>(&outgoing.pack(), |record| {
            assert_eq!(*record, given[seen]);
            seen += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, given.len());
    }

    #[test]
    fn a_damaged_row_is_an_error_and_never_a_panic() {
        let mut outgoing = Outgoing::default();
        outgoing.push(Record {
            topic: "a",
            partition: None,
            key: Some(b"k"),
            value: Some(b"v"),
            headers: &[],
        });
        let row = outgoing.pack();
        for end in 0..row.len() {
            assert!(
                unpack::<MalformedRow>(&row[..end], |_| Ok(())).is_err(),
                "cut at {end}"
            );
        }
        let mut longer = row.clone();
        longer.push(0);
        assert!(unpack::<MalformedRow>(&longer, |_| Ok(())).is_err());
    }
}
