//! Which vehicles are candidates for which errands: a bit for each pair, since a plan of a large fleet has millions of them.

use super::matching::Candidate;

pub(super) struct Wanted {
    /// Row by row, an errand's row after the other.
    bits: Vec<u64>,
    words_per_errand: usize,
}

impl Wanted {
    pub fn new(candidates: &[Vec<Candidate>], vehicles: usize) -> Wanted {
        let words_per_errand = vehicles.div_ceil(u64::BITS as usize);
        let mut bits = vec![0; candidates.len() * words_per_errand];
        for (errand, candidates) in candidates.iter().enumerate() {
            for candidate in candidates {
                let (word, bit) = place(candidate.vehicle);
                bits[errand * words_per_errand + word] |= bit;
            }
        }
        Wanted {
            bits,
            words_per_errand,
        }
    }

    pub fn has(&self, errand: usize, vehicle: usize) -> bool {
        let (word, bit) = place(vehicle);
        self.bits[errand * self.words_per_errand + word] & bit != 0
    }
}

/// The word of a row, and the bit in it.
fn place(vehicle: usize) -> (usize, u64) {
    let bits = u64::BITS as usize;
    (vehicle / bits, 1 << (vehicle % bits))
}
