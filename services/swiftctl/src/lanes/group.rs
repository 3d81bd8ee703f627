//! Who owns what, by Kafka's group protocol.

use std::collections::HashMap;

use anyhow::{Context, Result};
use contracts::{Catalogue, Geo, Topic};
use rdkafka::consumer::Consumer;

use crate::log::{Log, TIMEOUT};

/// Instance slots by what they are assigned.
pub struct Owners {
    members: usize,
    of: HashMap<(String, i32), String>,
    /// By geo and number: a unit stands for the partitions of its number in all topics that the service reads there.
    of_number: HashMap<(Geo, i32), String>,
    catalogue: Catalogue,
}

impl Owners {
    /// The slot that owns a lane: by the partition that stands for it, which may be its own.
    pub fn of(&self, lane: &str) -> Option<String> {
        match lane.rsplit_once('/') {
            Some((topic, partition)) => {
                let number = partition.parse().ok()?;
                let companion = || {
                    let geo = topic.parse::<Topic>().ok()?.geo;
                    self.of_number.get(&(geo, number)).cloned()
                };
                self.of_unit(topic, number).or_else(companion)
            }
            None => {
                let place = self.catalogue.ownership_partition(&lane.parse().ok()?)?;
                self.of_unit(&self.catalogue.ownership_topic(), place)
            }
        }
    }

    /// The slot that is assigned a partition.
    pub fn of_unit(&self, topic: &str, partition: i32) -> Option<String> {
        self.of.get(&(topic.to_owned(), partition)).cloned()
    }

    /// What a slot is assigned.
    pub fn units_of(&self, slot: &str) -> Vec<(String, i32)> {
        let owned = self.of.iter().filter(|(_, owner)| *owner == slot);
        let mut units: Vec<_> = owned.map(|(unit, _)| unit.clone()).collect();
        units.sort();
        units
    }

    /// How many members the group has.
    pub fn members(&self) -> usize {
        self.members
    }
}

/// The members of a service's group. Their clients are called `<service>-<slot>-member`.
pub fn owners(log: &Log, service: &str, group: &str, catalogue: Catalogue) -> Result<Owners> {
    let groups = log.consumer().fetch_group_list(Some(group), TIMEOUT);
    let groups = groups.with_context(|| format!("asking for the members of group {group}"))?;
    let (mut of, mut of_number, mut members) = (HashMap::new(), HashMap::new(), 0);
    for member in groups.groups().iter().flat_map(|group| group.members()) {
        members += 1;
        let client = member.client_id();
        let slot = client.strip_prefix(&format!("{service}-"));
        let slot = slot.and_then(|slot| slot.strip_suffix("-member"));
        for unit in units(member.assignment().unwrap_or_default()).unwrap_or_default() {
            let slot = slot.unwrap_or(client).to_owned();
            if let Ok(topic) = unit.0.parse::<Topic>() {
                of_number.insert((topic.geo, unit.1), slot.clone());
            }
            of.insert(unit, slot);
        }
    }
    Ok(Owners {
        members,
        of,
        of_number,
        catalogue,
    })
}

/// Reads an assignment of the classic consumer protocol: `version i16 | [topic string, [partition i32]]`, big-endian, lengths
/// of lists in four bytes and of strings in two. `None` when it is cut short.
fn units(assignment: &[u8]) -> Option<Vec<(String, i32)>> {
    let mut rest = assignment.get(2..)?;
    let mut units = Vec::new();
    for _ in 0..i32::from_be_bytes(take(&mut rest)?) {
        let length = usize::try_from(i16::from_be_bytes(take(&mut rest)?)).ok()?;
        let (topic, tail) = rest.split_at_checked(length)?;
        let topic = std::str::from_utf8(topic).ok()?;
        rest = tail;
        for _ in 0..i32::from_be_bytes(take(&mut rest)?) {
            units.push((topic.to_owned(), i32::from_be_bytes(take(&mut rest)?)));
        }
    }
    Some(units)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_read_as_the_protocol_writes_it() {
        let bytes = b"\0\x01\0\0\0\x02\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x07\0\x02bc\0\0\0\x01\0\0\0\x01\0\0\0\0";
        let expected = [
            ("a".to_owned(), 0),
            ("a".to_owned(), 7),
            ("bc".to_owned(), 1),
        ];
        assert_eq!(units(bytes), Some(expected.to_vec()));
        assert_eq!(units(&bytes[..20]), None);
    }
}
