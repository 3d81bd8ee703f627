//! Who or what is where: a spatial index that finds the nearest first, while its entries come, go and move.
//!
//! A k-d tree whose leaves hold up to [`LEAF`] entries side by side: half the work of an R-tree for searches that meet a
//! hundred, and a fifth of its memory. A full leaf is cut at its median along its widest axis; two that have become
//! nearly empty are joined. Coming and going cost a walk down the tree. A tree grown lopsided is built anew, but not before a
//! sixteenth part of it has come since, so this costs some logarithms per entry.
//!
//! What is found, and its order, follows from the entries alone, but for entries equally far away: their order is any.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::point::Place;

/// So many entries in a leaf at most, unless they are all in one place.
const LEAF: usize = 32;

/// An entry.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spot<T> {
    pub place: Place,
    pub who: T,
}

#[derive(Debug)]
pub(crate) struct Spots<T> {
    /// The first is the root.
    nodes: Vec<Node<T>>,
    /// Numbers of nodes that are no part of the tree.
    vacant: Vec<u32>,
    size: usize,
    /// Entries that came since the tree was last built anew.
    came: usize,
}

#[derive(Debug)]
enum Node<T> {
    Leaf(Vec<Spot<T>>),
    Fork(Fork),
}

/// Below are those whose coordinate is less than the cut, above the others.
#[derive(Debug, Clone, Copy)]
struct Fork {
    axis: usize,
    cut: f64,
    below: u32,
    above: u32,
}

impl Fork {
    /// The side on which the place lies, and the other.
    fn sides(&self, place: Place) -> (u32, u32) {
        if place.0[self.axis] < self.cut {
            (self.below, self.above)
        } else {
            (self.above, self.below)
        }
    }
}

impl<T> Default for Spots<T> {
    fn default() -> Self {
        Spots {
            nodes: vec![Node::Leaf(Vec::new())],
            vacant: Vec::new(),
            size: 0,
            came: 0,
        }
    }
}

impl<T: Copy + PartialEq> Spots<T> {
    pub fn len(&self) -> usize {
        self.size
    }

    pub fn insert(&mut self, place: Place, who: T) {
        let (leaf, _, depth) = self.leaf_of(place);
        self.size += 1;
        self.came += 1;
        let Node::Leaf(spots) = &mut self.nodes[leaf as usize] else {
            return;
        };
        spots.push(Spot { place, who });
        let count = spots.len();
        // Those in one place cannot be cut; that is not tried again with each of them.
        if count == LEAF + 1 || (count > LEAF && count.is_power_of_two()) {
            self.cut(leaf);
        }
        if depth > most_deep(self.size) && self.came > self.size / 16 {
            self.rebuild();
        }
    }

    /// Whether it was there.
    pub fn remove(&mut self, place: Place, who: T) -> bool {
        let (leaf, parent, _) = self.leaf_of(place);
        let Node::Leaf(spots) = &mut self.nodes[leaf as usize] else {
            return false;
        };
        let spot = Spot { place, who };
        let Some(found) = spots.iter().position(|other| *other == spot) else {
            return false;
        };
        spots.swap_remove(found);
        self.size -= 1;
        if let Some(parent) = parent {
            self.join(parent);
        }
        true
    }

    /// The nearest first, with the squares of the distances.
    pub fn nearest(&self, from: Place) -> Nearest<'_, T> {
        let mut nearest = Nearest {
            spots: self,
            from,
            next: Vec::new(),
            seen: Vec::new(),
            regions: Vec::new(),
            order: BinaryHeap::new(),
        };
        if self.size > 0 {
            nearest.next.reserve(2 * LEAF);
            nearest.seen.reserve(4 * LEAF);
            nearest.regions.reserve(LEAF);
            nearest.order.reserve(LEAF);
            nearest.enter(0, [0.0; 3]);
        }
        nearest
    }

    /// The leaf in which the place lies, its parent, and how deep it is.
    fn leaf_of(&self, place: Place) -> (u32, Option<u32>, usize) {
        let (mut node, mut parent, mut depth) = (0, None, 0);
        while let Node::Fork(fork) = &self.nodes[node as usize] {
            parent = Some(node);
            node = fork.sides(place).0;
            depth += 1;
        }
        (node, parent, depth)
    }

    /// Makes a fork of a leaf, unless all of it is in one place; its leaves.
    fn cut(&mut self, leaf: u32) -> Option<[u32; 2]> {
        let Node::Leaf(spots) = &mut self.nodes[leaf as usize] else {
            return None;
        };
        let (axis, cut) = median(spots)?;
        let spots = std::mem::take(spots);
        let mut halves = [Vec::new(), Vec::new()];
        for half in &mut halves {
            half.reserve_exact(LEAF + 1);
        }
        for spot in spots {
            halves[usize::from(spot.place.0[axis] >= cut)].push(spot);
        }
        let leaves = halves.map(|half| self.add(Node::Leaf(half)));
        let [below, above] = leaves;
        self.nodes[leaf as usize] = Node::Fork(Fork {
            axis,
            cut,
            below,
            above,
        });
        Some(leaves)
    }

    fn add(&mut self, node: Node<T>) -> u32 {
        match self.vacant.pop() {
            Some(number) => {
                self.nodes[number as usize] = node;
                number
            }
            None => {
                self.nodes.push(node);
                (self.nodes.len() - 1) as u32
            }
        }
    }

    /// Makes one leaf of a fork's two if they have become nearly empty.
    fn join(&mut self, parent: u32) {
        let Node::Fork(fork) = self.nodes[parent as usize] else {
            return;
        };
        let children = [fork.below, fork.above];
        let count = |child: u32| match &self.nodes[child as usize] {
            Node::Leaf(spots) => spots.len(),
            Node::Fork(_) => LEAF,
        };
        if children.into_iter().map(count).sum::<usize>() > LEAF / 2 {
            return;
        }
        let mut joined = Vec::new();
        for child in children {
            let empty = Node::Leaf(Vec::new());
            let node = std::mem::replace(&mut self.nodes[child as usize], empty);
            if let Node::Leaf(mut spots) = node {
                joined.append(&mut spots);
            }
            self.vacant.push(child);
        }
        self.nodes[parent as usize] = Node::Leaf(joined);
    }

    fn rebuild(&mut self) {
        let nodes = std::mem::take(&mut self.nodes);
        let leaves = nodes.into_iter().filter_map(|node| match node {
            Node::Leaf(spots) => Some(spots),
            Node::Fork(_) => None,
        });
        self.nodes = vec![Node::Leaf(leaves.flatten().collect())];
        self.vacant.clear();
        self.came = 0;
        let mut full = vec![0];
        while let Some(leaf) = full.pop() {
            if let Node::Leaf(spots) = &self.nodes[leaf as usize]
                && spots.len() > LEAF
            {
                full.extend(self.cut(leaf).into_iter().flatten());
            }
        }
    }
}

/// How deep a tree of so many may be before it counts as lopsided.
fn most_deep(size: usize) -> usize {
    8 + 2 * (size / LEAF + 1).ilog2() as usize
}

/// The widest axis of several spots, and where to cut it so that some are below and some are not; `None` when they are all
/// in one place.
fn median<T>(spots: &mut [Spot<T>]) -> Option<(usize, f64)> {
    let span = |axis: usize| {
        let along = spots.iter().map(|spot| spot.place.0[axis]);
        let ends = (f64::INFINITY, f64::NEG_INFINITY);
        along.fold(ends, |(low, high), it| (low.min(it), high.max(it)))
    };
    let spans = [0, 1, 2].map(span);
    let width = |axis: &usize| spans[*axis].1 - spans[*axis].0;
    let axis = (0..3).max_by(|one, other| width(one).total_cmp(&width(other)))?;
    let least = spans[axis].0;
    if spots.len() < 2 || width(&axis) <= 0.0 {
        return None;
    }
    let along = |spot: &Spot<T>| spot.place.0[axis];
    let middle = spots.len() / 2;
    let by_place = |one: &Spot<T>, other: &Spot<T>| along(one).total_cmp(&along(other));
    let cut = along(spots.select_nth_unstable_by(middle, by_place).1);
    if cut > least {
        return Some((axis, cut));
    }
    let above = spots.iter().map(along).filter(|it| *it > least);
    above.min_by(f64::total_cmp).map(|cut| (axis, cut))
}

/// A search under way, see [`Spots::nearest`].
///
/// Spots are not put in order one by one: those that are nearer than every region left are taken out of what was seen and
/// sorted together.
pub(crate) struct Nearest<'a, T> {
    spots: &'a Spots<T>,
    from: Place,
    /// Of what was seen the spots that are nearer than every region left; the nearest last.
    next: Vec<Seen>,
    /// The rest of what was seen, in any order.
    seen: Vec<Seen>,
    /// Parts of the tree not yet entered, with how far they lie away along each axis at least; and their order.
    regions: Vec<(u32, [f64; 3])>,
    order: BinaryHeap<Reverse<(u64, u32)>>,
}

/// The bits of the square of a distance (never negative, so they sort as it does), and a spot as leaf and place within it.
type Seen = (u64, u32, u32);

impl<T: Copy + PartialEq> Nearest<'_, T> {
    /// Walks down to the nearest leaf of a part of the tree, leaving the rest for later.
    fn enter(&mut self, mut node: u32, away: [f64; 3]) {
        loop {
            match &self.spots.nodes[node as usize] {
                Node::Fork(fork) => {
                    let (near, far) = fork.sides(self.from);
                    let mut further = away;
                    // Computed as the distances of spots are, so that rounding puts no spot before its region.
                    further[fork.axis] = (self.from.0[fork.axis] - fork.cut).abs();
                    let least = Place(further).chord2(Place([0.0; 3]));
                    let number = self.regions.len() as u32;
                    self.regions.push((far, further));
                    self.order.push(Reverse((least.to_bits(), number)));
                    node = near;
                }
                Node::Leaf(spots) => {
                    let from = self.from;
                    let seen = (0..).zip(spots).map(|(slot, spot)| {
                        let chord2 = spot.place.chord2(from);
                        (chord2.to_bits(), node, slot)
                    });
                    self.seen.extend(seen);
                    return;
                }
            }
        }
    }

    /// Sees more until something is nearer than all that is not yet seen; false when everything has been.
    fn look_further(&mut self) -> bool {
        loop {
            let region = self
                .order
                .peek()
                .map_or(u64::MAX, |Reverse((bits, _))| *bits);
            let next = &mut self.next;
            self.seen.retain(|seen| {
                let near = seen.0 <= region;
                if near {
                    next.push(*seen);
                }
                !near
            });
            if !next.is_empty() {
                next.sort_unstable_by(|one, other| other.cmp(one));
                return true;
            }
            let Some(Reverse((_, number))) = self.order.pop() else {
                return false;
            };
            let (node, away) = self.regions[number as usize];
            self.enter(node, away);
        }
    }
}

impl<T: Copy + PartialEq> Iterator for Nearest<'_, T> {
    type Item = (Spot<T>, f64);

    fn next(&mut self) -> Option<Self::Item> {
        if self.next.is_empty() && !self.look_further() {
            return None;
        }
        let (bits, leaf, slot) = self.next.pop()?;
        match &self.spots.nodes[leaf as usize] {
            Node::Leaf(spots) => Some((spots[slot as usize], f64::from_bits(bits))),
            Node::Fork(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// On a coarse grid, so that many stand in one place.
    fn place() -> impl Strategy<Value = Place> {
        let along = || (-6..6_i32).prop_map(|it| f64::from(it) * 0.1);
        [along(), along(), along()].prop_map(Place)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

        #[test]
        fn a_search_meets_all_that_is_left_from_near_to_far(
            come in prop::collection::vec((place(), any::<bool>()), 0..400),
            from in place(),
        ) {
            let mut spots = Spots::default();
            for (who, (place, _)) in come.iter().enumerate() {
                spots.insert(*place, who);
            }
            for (who, (place, stays)) in come.iter().enumerate() {
                prop_assert!(*stays || spots.remove(*place, who));
                prop_assert!(*stays || !spots.remove(*place, who));
            }
            let mut left: Vec<_> = come
                .iter()
                .enumerate()
                .filter(|(_, (_, stays))| *stays)
                .map(|(who, (place, _))| (place.chord2(from), who))
                .collect();
            let mut met: Vec<_> = spots.nearest(from).map(|(spot, at)| (at, spot.who)).collect();
            prop_assert_eq!(spots.len(), left.len());
            prop_assert!(met.is_sorted_by(|one, other| one.0 <= other.0));
            met.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
            left.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
            prop_assert_eq!(met, left);
        }
    }

    #[test]
    fn a_tree_grown_from_one_side_does_not_stay_lopsided() {
        let mut spots = Spots::default();
        for who in 0..20_000 {
            spots.insert(Place([f64::from(who), 0.0, 0.0]), who);
        }
        let deepest = (0..20_000).map(|who| spots.leaf_of(Place([f64::from(who), 0.0, 0.0])).2);
        assert!(deepest.max() < Some(20_000 / LEAF / 4));
    }
}
