//! Each driver's first errand: a minimum-cost matching of errands to drivers, at the place and time where
//! each will be free, over a few candidates per errand.
//!
//! Successive shortest augmenting paths with potentials (Jonker and Volgenant 1987, over a sparse matrix):
//! one Dijkstra search per errand, which as a rule ends after a few steps. An errand may stay without a
//! driver at a price of its own, so a matching always exists. Measured on 2,000 errands x 2,000 drivers:
//! `cargo run --release -p dispatch --example tick_cost`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::ways::Way;
use super::{Errand, Problem, Stop};

/// A vehicle that comes into question for an errand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub vehicle: usize,
    /// What it costs to send it there first.
    pub cost: f64,
    /// What the errand's own waiting costs at least, wherever it stands on the vehicle's route.
    pub floor: f64,
}

/// A vehicle with how long it lets an errand's food wait at least, and its way.
type Offer = (f64, usize, Way);

/// The vehicles that come into question for each errand, the earliest first.
pub(super) fn candidates(problem: &Problem<'_>) -> Vec<Vec<Candidate>> {
    let errands = problem.errands.iter().enumerate();
    errands
        .map(|(index, errand)| {
            let stop = [Stop::of(index)];
            let earliest = earliest(problem, errand).into_iter();
            let candidate = |(late, vehicle, way)| {
                let from = problem.ways.start(vehicle);
                problem.ways.know(from, errand.restaurant, way);
                Some(Candidate {
                    vehicle,
                    cost: problem.cost(vehicle, &stop)?,
                    floor: problem.weights.food(errand, late),
                })
            };
            earliest.filter_map(candidate).collect()
        })
        .collect()
}

/// So many at most; of those who are as early those with the shorter way first.
fn earliest(problem: &Problem<'_>, errand: &Errand) -> Vec<Offer> {
    let order = |(a_late, a, a_way): &Offer, (b_late, b, b_way): &Offer| {
        let by_way = a_way.seconds.total_cmp(&b_way.seconds);
        a_late.total_cmp(b_late).then(by_way).then(a.cmp(b))
    };
    let most = problem.candidates;
    let mut earliest: Vec<Offer> = Vec::with_capacity(2 * most + 1);
    // Nobody who lets it wait longer comes into question.
    let mut latest = f64::INFINITY;
    let select = |earliest: &mut Vec<Offer>| {
        let (_, first_out, _) = earliest.select_nth_unstable_by(most, order);
        let latest = first_out.0;
        earliest.truncate(most);
        latest
    };
    for &(vehicle, way) in &problem.near[errand.restaurant as usize] {
        let driver = &problem.vehicles[vehicle];
        let counter = driver.free.max(errand.known) + way.seconds + problem.half_pickup;
        let late = (counter - errand.ready).max(0.0);
        if late <= latest && counter <= driver.until {
            earliest.push((late, vehicle, way));
            if earliest.len() > 2 * most {
                latest = select(&mut earliest);
            }
        }
    }
    if earliest.len() > most {
        select(&mut earliest);
    }
    earliest.sort_unstable_by(order);
    earliest
}

/// The vehicle that fetches each errand first, if one does.
pub(super) fn first_errands(
    problem: &Problem<'_>,
    candidates: &[Vec<Candidate>],
) -> Vec<Option<usize>> {
    let rows: Vec<Row> = problem
        .errands
        .iter()
        .zip(candidates)
        .map(|(errand, candidates)| {
            // What is lost already is lost with every driver; an old order must not look dear for it.
            let lost = problem.weights.food(errand, (-errand.ready).max(0.0));
            let alone = if errand.expected {
                problem.weights.left_out(errand)
            } else {
                problem.weights.second_trip
            };
            let entries = candidates
                .iter()
                .map(|candidate| (candidate.vehicle, (candidate.cost - lost).max(0.0)));
            Row::new(entries.filter(|(_, cost)| *cost < alone).collect(), alone)
        })
        .collect();
    assign(&rows, problem.vehicles.len())
}

/// A row of the matrix: costs by column, the least first, and the cost of having none. None is negative.
#[derive(Debug)]
pub(super) struct Row {
    entries: Vec<(usize, f64)>,
    alone: f64,
}

impl Row {
    fn new(mut entries: Vec<(usize, f64)>, alone: f64) -> Row {
        entries.sort_by(|(_, one), (_, other)| one.total_cmp(other));
        Row { entries, alone }
    }
}

/// The column of each row in a matching of least total cost.
pub(super) fn assign(rows: &[Row], columns: usize) -> Vec<Option<usize>> {
    let mut matching = Matching {
        rows,
        row_price: vec![0.0; rows.len()],
        column_price: vec![0.0; columns],
        row_of: vec![None; columns],
        column_of: vec![None; rows.len()],
    };
    let mut scratch = Scratch {
        distance: vec![f64::INFINITY; columns],
        reached_by: vec![0; columns],
        ..Scratch::default()
    };
    for row in 0..rows.len() {
        matching.augment(row, &mut scratch);
    }
    matching.column_of
}

struct Matching<'a> {
    rows: &'a [Row],
    row_price: Vec<f64>,
    column_price: Vec<f64>,
    row_of: Vec<Option<usize>>,
    column_of: Vec<Option<usize>>,
}

#[derive(Default)]
struct Scratch {
    distance: Vec<f64>,
    reached_by: Vec<usize>,
    touched: Vec<usize>,
    settled: Vec<usize>,
    /// Bits of a distance (never negative, so they sort as it does) and a column.
    open: BinaryHeap<Reverse<(u64, usize)>>,
}

/// Where a shortest path ends.
#[derive(Clone, Copy)]
enum End {
    /// This row stays alone.
    Alone(usize),
    Free(usize),
}

impl Matching<'_> {
    /// Finds a place for one more row, moving others along a shortest path.
    fn augment(&mut self, start: usize, scratch: &mut Scratch) {
        let (end, length) = self.shortest_path(start, scratch);
        self.row_price[start] += length;
        for &column in &scratch.settled {
            let gain = length - scratch.distance[column];
            self.column_price[column] -= gain;
            if let Some(row) = self.row_of[column] {
                self.row_price[row] += gain;
            }
        }
        let mut column = match end {
            End::Free(column) => column,
            End::Alone(row) if row == start => return scratch.clear(),
            End::Alone(row) => match self.column_of[row].take() {
                Some(column) => column,
                None => return scratch.clear(),
            },
        };
        loop {
            let row = scratch.reached_by[column];
            self.row_of[column] = Some(row);
            match self.column_of[row].replace(column) {
                Some(before) => column = before,
                None => break,
            }
        }
        scratch.clear();
    }

    fn shortest_path(&self, start: usize, scratch: &mut Scratch) -> (End, f64) {
        let mut best = (End::Alone(start), f64::INFINITY);
        let (mut row, mut base) = (start, 0.0);
        loop {
            let priced = |cost: f64| (base + cost - self.row_price[row]).max(base);
            let alone = priced(self.rows[row].alone);
            if alone < best.1 {
                best = (End::Alone(row), alone);
            }
            for &(column, cost) in &self.rows[row].entries {
                // No column's price is above 0, so those that follow are no nearer.
                if priced(cost) >= best.1 {
                    break;
                }
                let distance = priced(cost - self.column_price[column]);
                if distance < scratch.distance[column] && distance < best.1 {
                    if scratch.distance[column].is_infinite() {
                        scratch.touched.push(column);
                    }
                    scratch.distance[column] = distance;
                    scratch.reached_by[column] = row;
                    if self.row_of[column].is_none() {
                        best = (End::Free(column), distance);
                    } else {
                        scratch.open.push(Reverse((distance.to_bits(), column)));
                    }
                }
            }
            let next = loop {
                match scratch.open.pop() {
                    Some(Reverse((bits, column))) if bits == scratch.distance[column].to_bits() => {
                        break Some(column);
                    }
                    Some(_) => {}
                    None => break None,
                }
            };
            let Some(column) = next.filter(|column| scratch.distance[*column] < best.1) else {
                return best;
            };
            scratch.settled.push(column);
            base = scratch.distance[column];
            match self.row_of[column] {
                Some(next) => row = next,
                None => return best,
            }
        }
    }
}

impl Scratch {
    fn clear(&mut self) {
        for column in self.touched.drain(..) {
            self.distance[column] = f64::INFINITY;
        }
        self.settled.clear();
        self.open.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COLUMNS: usize = 5;

    /// Few distinct costs, so that ties are common; a column stands at most once in a row.
    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let cost = || prop_oneof![(0..6u8).prop_map(f64::from), 0.0..100.0];
        let entries = prop::collection::btree_map(0..COLUMNS, cost(), 0..=COLUMNS);
        let row = (entries, cost())
            .prop_map(|(entries, alone)| Row::new(entries.into_iter().collect(), alone));
        prop::collection::vec(row, 0..=6)
    }

    /// What the matching costs; `None` when it is none.
    fn cost(rows: &[Row], columns: &[Option<usize>]) -> Option<f64> {
        let mut taken = [false; COLUMNS];
        let pairs = rows.iter().zip(columns).map(|(row, column)| match column {
            None => Some(row.alone),
            Some(column) => {
                let free = !std::mem::replace(&mut taken[*column], true);
                let entry = row.entries.iter().find(|(other, _)| other == column);
                entry.filter(|_| free).map(|(_, cost)| *cost)
            }
        });
        pairs.sum()
    }

    /// The least cost of all matchings, by trying each.
    fn least(rows: &[Row], taken: &mut [bool; COLUMNS]) -> f64 {
        let Some((row, rest)) = rows.split_first() else {
            return 0.0;
        };
        let mut best = row.alone + least(rest, taken);
        for (column, cost) in &row.entries {
            if !taken[*column] {
                taken[*column] = true;
                best = best.min(cost + least(rest, taken));
                taken[*column] = false;
            }
        }
        best
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(5_000) })]

        #[test]
        fn a_matching_costs_no_more_than_any_other(rows in rows()) {
            let found = cost(&rows, &assign(&rows, COLUMNS));
            let best = least(&rows, &mut [false; COLUMNS]);
            prop_assert!(found.is_some_and(|found| (found - best).abs() < 1e-9), "{found:?}, not {best}");
        }
    }
}
