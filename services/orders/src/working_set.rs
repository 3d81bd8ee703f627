//! The orders that a cycle touches, as they were loaded and as they have become: loaded once, saved once.

use chrono::{DateTime, Utc};
use foldhash::HashMap;
use lifecycle::State;
use uuid::Uuid;

use crate::fact::Fact;
use crate::order::Order;

#[derive(Debug, Default)]
pub struct WorkingSet {
    orders: HashMap<Uuid, Entry>,
    early: HashMap<Uuid, Vec<Early>>,
    transitions: Vec<TransitionRecord>,
    settled: Vec<i64>,
    given_up: Vec<(i64, String)>,
}

#[derive(Debug)]
struct Entry {
    /// Boxed, so that a map that grows moves a pointer.
    order: Box<Order>,
    change: Change,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    None,
    Updated,
    Inserted,
}

/// Something that was heard of an order before it was placed.
#[derive(Clone, Debug, PartialEq)]
pub struct Early {
    /// None: heard in this cycle, not stored yet.
    pub id: Option<i64>,
    pub lane: String,
    pub fact: Fact,
    pub traceparent: String,
    pub received_at: DateTime<Utc>,
}

/// A row of the audit.
#[derive(Clone, Debug, PartialEq)]
pub struct TransitionRecord {
    pub order_id: Uuid,
    pub geo: contracts::Geo,
    pub version: i32,
    pub event: &'static str,
    pub event_id: Option<Uuid>,
    pub actor: &'static str,
    pub from: State,
    pub to: State,
    pub reason: Option<String>,
    pub occurred_at: DateTime<Utc>,
}

impl WorkingSet {
    pub fn new(orders: Vec<Order>, early: Vec<Early>) -> Self {
        let mut set = Self::default();
        for order in orders {
            set.orders.insert(
                order.id,
                Entry {
                    order: Box::new(order),
                    change: Change::None,
                },
            );
        }
        for early in early {
            set.keep(early);
        }
        set
    }

    pub fn order(&self, id: Uuid) -> Option<&Order> {
        self.orders.get(&id).map(|entry| &*entry.order)
    }

    pub fn insert(&mut self, order: Order) {
        self.orders.insert(
            order.id,
            Entry {
                order: Box::new(order),
                change: Change::Inserted,
            },
        );
    }

    /// The order, to be changed.
    pub fn change(&mut self, id: Uuid) -> Option<&mut Order> {
        let entry = self.orders.get_mut(&id)?;
        if entry.change == Change::None {
            entry.change = Change::Updated;
        }
        Some(&mut entry.order)
    }

    pub fn record(&mut self, transition: TransitionRecord) {
        self.transitions.push(transition);
    }

    /// Keeps something until its order is placed.
    pub fn keep(&mut self, early: Early) {
        self.early
            .entry(early.fact.order_id)
            .or_default()
            .push(early);
    }

    /// What was heard of an order early, in the order of arrival; each has to be settled or given up.
    pub fn take_early(&mut self, order_id: Uuid) -> Vec<Early> {
        self.early.remove(&order_id).unwrap_or_default()
    }

    pub fn early(&self, order_id: Uuid) -> &[Early] {
        self.early.get(&order_id).map_or(&[], Vec::as_slice)
    }

    pub fn settle(&mut self, early: &Early) {
        self.settled.extend(early.id);
    }

    /// Leaves it for a person to look at.
    pub fn give_up(&mut self, early: Early, why: String) {
        match early.id {
            Some(id) => self.given_up.push((id, why)),
            // Kept after all, so that the row exists.
            None => self.keep(early),
        }
    }

    pub fn inserted(&self) -> Vec<&Order> {
        self.changed(Change::Inserted)
    }

    pub fn updated(&self) -> Vec<&Order> {
        self.changed(Change::Updated)
    }

    /// By id, so that all instances lock rows in one order.
    fn changed(&self, change: Change) -> Vec<&Order> {
        let with = self.orders.values().filter(|entry| entry.change == change);
        let mut orders: Vec<&Order> = with.map(|entry| &*entry.order).collect();
        orders.sort_unstable_by_key(|order| order.id);
        orders
    }

    pub fn transitions(&self) -> &[TransitionRecord] {
        &self.transitions
    }

    /// What was heard early in this cycle and has to wait.
    pub fn newly_kept(&self) -> Vec<&Early> {
        self.early
            .values()
            .flatten()
            .filter(|early| early.id.is_none())
            .collect()
    }

    pub fn settled(&self) -> &[i64] {
        &self.settled
    }

    pub fn given_up(&self) -> &[(i64, String)] {
        &self.given_up
    }
}
