//! Breadth-first search over every reachable state, so that the trace it prints is a shortest one.
//!
//! States lie in one vector in the order they were found; a table of their indices finds them again by hash. A state
//! costs its own size and some 30 bytes for parent, table and edges.

use std::hash::{Hash, Hasher};

use crate::properties::{Violation, Violations};
use crate::protocol::Protocol;
use crate::state::State;
use crate::step::Step;

pub struct Search {
    pub states: usize,
    pub transitions: usize,
    /// Transitions by `Step::kind`.
    pub taken: [usize; Step::KINDS.len()],
    pub found: Option<Counterexample>,
}

pub struct Counterexample {
    pub violation: Violation,
    /// The steps, one a line.
    pub trace: String,
    pub end: State,
}

/// What ends a search.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// The first violation of any kind.
    Any,
    /// A violation of this kind; others end their path only.
    Only(Violation),
}

pub fn search(protocol: &Protocol, target: Target) -> Search {
    let mut graph = Graph::default();
    let mut result = Search {
        states: 0,
        transitions: 0,
        taken: [0; Step::KINDS.len()],
        found: None,
    };
    let mut good_ends = Vec::new();
    let initial = protocol.initial();
    graph.insert(initial, 0);
    let mut next_steps = Vec::new();
    let mut index = 0;
    while index < graph.states.len() {
        let state = graph.states[index];
        let violations = protocol.violations(&state);
        if let Some(violation) = wanted(target, violations) {
            result.found = Some(graph.counterexample(protocol, index, violation));
            break;
        }
        // A path that ended otherwise is nothing to blame for never getting further.
        if violations.ends_the_path() || protocol.complete(&state) {
            good_ends.push(index as u32);
        }
        if !violations.ends_the_path() {
            protocol.steps(&state, &mut next_steps);
            for (step, next) in next_steps.drain(..) {
                let to = graph.insert(next, index);
                result.transitions += 1;
                result.taken[step.kind()] += 1;
                if step.is_progress() {
                    graph.progress.push((index as u32, to));
                }
            }
        }
        index += 1;
    }
    if result.found.is_none() && matches!(target, Target::Any | Target::Only(Violation::Wedged)) {
        let wedged = graph.first_that_cannot_reach(&good_ends);
        result.found = wedged.map(|index| graph.counterexample(protocol, index, Violation::Wedged));
    }
    result.states = graph.states.len();
    result
}

fn wanted(target: Target, violations: Violations) -> Option<Violation> {
    use Violation::*;
    let all = [
        Duplicate,
        Reordered,
        Loss,
        OutputWithoutState,
        UnfencedCommit,
        FalseAlarm,
    ];
    all.into_iter().find(|violation| {
        violations.contains(*violation)
            && (target == Target::Any || target == Target::Only(*violation))
    })
}

/// The states found so far and how they were reached.
#[derive(Default)]
struct Graph {
    states: Vec<State>,
    parents: Vec<u32>,
    /// Steps that termination may count on, as `(from, to)`.
    progress: Vec<(u32, u32)>,
    /// Open addressing: index + 1 of a state, 0 for a free place. A power of two, at most half full.
    table: Vec<u32>,
}

impl Graph {
    /// Index of `state`, which is added when it is new.
    fn insert(&mut self, state: State, parent: usize) -> u32 {
        if self.states.len() * 2 >= self.table.len() {
            self.grow();
        }
        let place = self.place(&state);
        if self.table[place] == 0 {
            self.states.push(state);
            self.parents.push(parent as u32);
            self.table[place] = self.states.len() as u32;
        }
        self.table[place] - 1
    }

    fn place(&self, state: &State) -> usize {
        let mask = self.table.len() - 1;
        let mut hasher = Multiplicative::default();
        state.hash(&mut hasher);
        let mut place = hasher.finish() as usize & mask;
        while self.table[place] != 0 && self.states[self.table[place] as usize - 1] != *state {
            place = (place + 1) & mask;
        }
        place
    }

    fn grow(&mut self) {
        self.table = vec![0; (self.table.len() * 4).max(1 << 12)];
        for index in 0..self.states.len() {
            let place = self.place(&self.states[index]);
            self.table[place] = index as u32 + 1;
        }
    }

    /// Backward over the steps of progress: the first state from which none of the ends can be reached.
    fn first_that_cannot_reach(&mut self, ends: &[u32]) -> Option<usize> {
        self.progress.sort_unstable_by_key(|(_, to)| *to);
        let mut reaches = vec![false; self.states.len()];
        let mut left: Vec<u32> = ends.to_vec();
        while let Some(index) = left.pop() {
            if std::mem::replace(&mut reaches[index as usize], true) {
                continue;
            }
            let first = self.progress.partition_point(|(_, to)| *to < index);
            let into = self.progress[first..]
                .iter()
                .take_while(|(_, to)| *to == index);
            left.extend(
                into.map(|(from, _)| *from)
                    .filter(|from| !reaches[*from as usize]),
            );
        }
        reaches.iter().position(|reaches| !reaches)
    }

    fn counterexample(
        &self,
        protocol: &Protocol,
        end: usize,
        violation: Violation,
    ) -> Counterexample {
        let mut path = vec![end];
        while path[path.len() - 1] != 0 {
            path.push(self.parents[path[path.len() - 1]] as usize);
        }
        path.reverse();
        let mut trace = String::new();
        let mut steps = Vec::new();
        for (number, pair) in path.windows(2).enumerate() {
            steps.clear();
            protocol.steps(&self.states[pair[0]], &mut steps);
            let taken = steps.iter().find(|(_, to)| *to == self.states[pair[1]]);
            let (step, _) = taken.expect("a state's parent has a step to it");
            trace += &format!("{:3}. {step}\n", number + 1);
        }
        Counterexample {
            violation,
            trace,
            end: self.states[end],
        }
    }
}

/// A multiply and a rotation per word: the standard library's hasher, made to resist attackers, would take most of the
/// time of the search.
#[derive(Default)]
struct Multiplicative(u64);

impl Hasher for Multiplicative {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.write_u64(value as u64);
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn finish(&self) -> u64 {
        // The low bits of a product depend on low bits only; the table uses those.
        self.0 ^ self.0 >> 29
    }
}
