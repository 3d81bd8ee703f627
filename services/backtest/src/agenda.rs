//! What is going to happen in virtual time, by its instant; what is noted first of one instant happens first.

use std::collections::BTreeMap;

use dispatch::At;

pub(crate) struct Agenda<T> {
    entries: BTreeMap<(At, u64), T>,
    noted: u64,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            noted: 0,
        }
    }
}

impl<T> Agenda<T> {
    pub fn note(&mut self, at: At, what: T) {
        self.noted += 1;
        self.entries.insert((at, self.noted), what);
    }

    pub fn next_at(&self) -> Option<At> {
        self.entries.first_key_value().map(|((at, _), _)| *at)
    }

    pub fn pop(&mut self) -> Option<(At, T)> {
        let ((at, _), what) = self.entries.pop_first()?;
        Some((at, what))
    }
}
