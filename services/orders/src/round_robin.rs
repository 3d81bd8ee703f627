//! Which partition a new order gets: the next one of its geo.
//!
//! Guarantee: of the orders that one instance accepted, the partitions of a geo differ by at most one in their count. A
//! cycle works on a copy and gives it back when it succeeded, so a cycle that is tried again deals the same partitions.
//! Cost: a commit that fails after that leaves a gap; instances do not know of each other's counts.

use std::collections::HashMap;

use contracts::Geo;

#[derive(Clone, Debug, Default)]
pub struct RoundRobin {
    geos: HashMap<Geo, Turn>,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    partitions: i32,
    next: i32,
}

impl RoundRobin {
    /// Geos with their number of partitions, at least 1 each.
    pub fn new(geos: impl IntoIterator<Item = (Geo, i32)>) -> Self {
        let turn = |partitions| Turn {
            partitions,
            next: 0,
        };
        Self {
            geos: geos
                .into_iter()
                .map(|(geo, partitions)| (geo, turn(partitions)))
                .collect(),
        }
    }

    /// Partition of the next order of a geo; 0 for a geo that it was not made with, which has no topics either.
    pub fn next(&mut self, geo: &Geo) -> i32 {
        let Some(turn) = self.geos.get_mut(geo) else {
            return 0;
        };
        let partition = turn.next;
        turn.next = (partition + 1) % turn.partitions.max(1);
        partition
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_per_partition_differ_by_at_most_one_in_each_geo() {
        let geos: [Geo; 2] = ["a".parse().unwrap(), "b".parse().unwrap()];
        let mut dealer = RoundRobin::new(geos.iter().cloned().zip([3, 7]));
        let mut counts = [vec![0; 3], vec![0; 7]];
        for order in 0..100 {
            let geo = usize::from(order % 3 == 0);
            let partition = dealer.next(&geos[geo]);
            counts[geo][usize::try_from(partition).unwrap()] += 1;
            for counts in &counts {
                assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
            }
        }
        assert_eq!(counts.iter().flatten().sum::<i32>(), 100);
    }
}
