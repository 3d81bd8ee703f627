//! A lane run again from the logs: the book of a geo without tables, fed what the topics hold, ticking when the recorded ticks say.
//!
//! Fed the same messages up to the same positions it decides what the live lane decided, bit for bit, whoever owned the
//! geo: a take-over is repeated as well ([`Rerun::take_over`]). What the tables would answer about orders that have ended is
//! kept in memory for [`REMEMBERED`], the retention of requests.

use std::collections::{BTreeSet, HashMap, VecDeque};

use chrono::{DateTime, Utc};
use contracts::Geo;
use contracts::streams::DriverAssignmentEvent;
use dispatch::{Assignment, At, DriverId, Input, OrderId, Scheduler, Seconds, Snapshot};
use runtime::Trace;
use sqlx::PgConnection;

use crate::book::{Book, Changes, Commitment, EndedRow, Origin, RequestRow, Ticked};
use crate::config::GeoRules;
use crate::event::{Event, happened_at};
use crate::order::{Drivers, Order, OrderState, Orders};
use crate::store::{self, StoreError};
use crate::units;

/// For how long orders that have ended are remembered, in seconds of event time: as long as requests are kept.
const REMEMBERED: Seconds = Seconds(48.0 * 3_600.0);

/// What a cycle stores, in the order in which it is to be stored.
#[derive(Debug)]
pub struct Writes {
    pub ended: Vec<EndedRow>,
    /// With the version of the order.
    pub commitments: Vec<(i32, Assignment)>,
    pub changes: Changes,
    pub now: DateTime<Utc>,
}

impl Writes {
    /// Stores them with the statements of a live lane; `false` if the tables would not take all commitments.
    pub async fn store(&self, geo: &str, tx: &mut PgConnection) -> Result<bool, StoreError> {
        let ended: Vec<_> = self.ended.iter().map(|row| (geo, row.clone())).collect();
        store::end(tx, &ended).await?;
        let commitments = self.commitments.iter().map(|(order_version, assignment)| {
            let order_version = *order_version;
            (
                geo,
                Commitment {
                    order_version,
                    assignment,
                    // Who belonged elsewhere the ticks have told; what other geos are by now says nothing of it.
                    duty_at: None,
                },
            )
        });
        let refused = store::commit(tx, &commitments.collect::<Vec<_>>()).await?;
        store::save(tx, &[(geo, self.changes.clone())], self.now).await?;
        Ok(refused.is_empty())
    }
}

/// See the module.
pub struct Rerun {
    rules: GeoRules,
    book: Book,
    /// What was stored, if anybody wants to store it.
    writes: Option<Vec<Writes>>,
    ended: HashMap<OrderId, Order>,
    /// When to forget them.
    endings: VecDeque<(At, OrderId)>,
    trace: Trace,
}

/// A lane's state at some instant.
#[derive(Clone, Debug)]
pub struct Memo {
    pub snapshot: Snapshot,
    listening_since: At,
    orders: Orders,
    drivers: Drivers,
}

impl Memo {
    /// A scheduler under any rules that goes on from here.
    pub fn scheduler(&self, rules: &GeoRules) -> Scheduler {
        let mut scheduler = rules.scheduler(self.snapshot.clone());
        let at = self.listening_since;
        scheduler.apply(Input::Listening { at });
        scheduler
    }
}

impl Rerun {
    /// A lane that knows nothing yet.
    pub fn new(geo: Geo, rules: GeoRules) -> Self {
        let scheduler = rules.scheduler(Snapshot::default());
        Self {
            book: Book::new(geo, scheduler, Orders::default(), Drivers::default()),
            rules,
            writes: None,
            ended: HashMap::new(),
            endings: VecDeque::new(),
            trace: Trace::root(),
        }
    }

    pub fn book(&self) -> &Book {
        &self.book
    }

    /// From now on keeps what a live lane would store, for [`Rerun::take_writes`].
    pub fn keep_writes(&mut self) {
        self.writes.get_or_insert_default();
    }

    /// Puts back what was taken; nothing where nothing is kept.
    pub fn put_writes(&mut self, writes: Vec<Writes>) {
        if let Some(kept) = &mut self.writes {
            *kept = writes;
        }
    }

    pub fn take_writes(&mut self) -> Vec<Writes> {
        self.writes.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Hears a message. `timestamp_ms`: broker time.
    pub fn hear(&mut self, event: &Event, partition: i32, timestamp_ms: i64) {
        let at = happened_at(units::instant(At(timestamp_ms * 1_000)), timestamp_ms);
        let origin = Origin {
            partition,
            timestamp_ms,
            trace: &self.trace,
        };
        if let Some(order_id) = event.order_id().map(OrderId)
            && !self.book.knows(order_id)
            && let Some(known) = self.ended.get(&order_id)
        {
            self.book.recall(order_id, known.clone());
        }
        self.book.apply(event, origin, units::instant(at));
        if !matches!(event, Event::Location(_)) {
            self.settle(at, Vec::new());
        }
    }

    /// Another process, or the same after a failure, loaded the lane from its tables at `since` and began to listen: positions
    /// that no row holds are forgotten, for the caller to feed again as far as the new owner had read them.
    pub fn take_over(&mut self, since: At, rules: GeoRules) {
        let mut snapshot = self.book.scheduler().snapshot();
        let rows = self.book.drivers().iter();
        snapshot.drivers = rows.map(|(id, driver)| driver.record(id)).collect();
        // In the order of the ids: hash order must not matter, and does not have to be trusted not to.
        snapshot
            .drivers
            .sort_by(|a, b| a.driver_id.cmp(&b.driver_id));
        let memo = Memo {
            snapshot,
            listening_since: since,
            orders: self.book.orders().clone(),
            drivers: self.book.drivers().clone(),
        };
        self.rules = rules;
        self.restore(memo);
    }

    /// A recorded tick estimated travel times by this factor; call before repeating or following it. True if what was heard
    /// here says otherwise, as where the drives that taught it are older than the logs, and it is taken over.
    pub fn follow_correction(&mut self, at: At, factor: f64) -> bool {
        self.book.follow_correction(at, factor)
    }

    /// Ticks as the recorded tick did; `refused`: decisions that the tables took back then. Returns what was decided, if
    /// anything was, and the facts of the tick.
    pub fn tick(
        &mut self,
        at: At,
        refused: BTreeSet<OrderId>,
    ) -> (Option<Ticked>, Vec<DriverAssignmentEvent>) {
        let now = units::instant(at);
        self.book.take_facts();
        self.book.tick(now);
        let sent = self.book.commitments().into_iter();
        let sent = sent.filter(|row| !refused.contains(&row.assignment.request.order_id));
        let sent = sent.map(|row| (row.order_version, row.assignment.clone()));
        let sent = sent.collect();
        let ticked = self.book.conclude(refused, now);
        let facts = self.book.take_facts();
        self.settle(at, sent);
        (ticked, facts.into_iter().map(|fact| fact.record).collect())
    }

    /// Takes over the recorded facts of the tick at `at`; returns how many contradict what is known here.
    pub fn follow(&mut self, facts: &[DriverAssignmentEvent], at: At) -> usize {
        let mut facts: Vec<&DriverAssignmentEvent> = facts.iter().collect();
        // Facts stand on the partitions of their orders. A tick first frees drivers, then sends them.
        facts.sort_by_key(|fact| matches!(fact, DriverAssignmentEvent::DriverAssigned(_)));
        let (mut contradicted, mut sent) = (0, Vec::new());
        for fact in facts {
            let order_id = match fact {
                DriverAssignmentEvent::AssignmentFailed(fact) => Some(OrderId(fact.order_id)),
                _ => None,
            };
            let known = self.book.follow(fact, at)
                || order_id.is_some_and(|order| self.ended.contains_key(&order));
            contradicted += usize::from(!known);
            if let (true, DriverAssignmentEvent::DriverAssigned(fact)) = (known, fact) {
                let order_id = OrderId(fact.order_id);
                let held = self.book.scheduler().assignment_of(order_id);
                sent.extend(held.map(|held| (fact.order_version, held.clone())));
            }
        }
        self.settle(at, sent);
        contradicted
    }

    /// What there is, to come back to or to go on from elsewhere.
    pub fn memo(&self) -> Memo {
        Memo {
            snapshot: self.book.scheduler().snapshot(),
            listening_since: self.book.scheduler().listening_since(),
            orders: self.book.orders().clone(),
            drivers: self.book.drivers().clone(),
        }
    }

    /// Goes back to a memo; orders that have ended since stay ended.
    pub fn restore(&mut self, memo: Memo) {
        let geo = self.book.geo().clone();
        let scheduler = memo.scheduler(&self.rules);
        self.book = Book::new(geo, scheduler, memo.orders, memo.drivers);
    }

    /// What a cycle would store: only what has ended is kept, for the questions that a live lane asks its tables.
    fn settle(&mut self, at: At, commitments: Vec<(i32, Assignment)>) {
        let ended = self.book.take_ended();
        // What the metrics are told of pickups; nobody is told of these.
        self.book.take_pickups();
        let mut delivered = HashMap::new();
        for fact in self.book.take_facts() {
            if let DriverAssignmentEvent::DeliveryConfirmed(fact) = fact.record {
                delivered.insert(OrderId(fact.order_id), DriverId::new(&*fact.driver_id));
            }
        }
        let changes = self.book.take_changes();
        for row in &changes.orders {
            let state = match &row.row {
                RequestRow::Open { .. } => {
                    self.ended.remove(&row.order_id);
                    continue;
                }
                RequestRow::Announced { ready_at, said_at } => OrderState::Announced {
                    ready_at: *ready_at,
                    said_at: *said_at,
                },
                RequestRow::Closed => OrderState::Closed { delivered_by: None },
                RequestRow::Gone => OrderState::Closed {
                    delivered_by: delivered.remove(&row.order_id),
                },
            };
            let order = Order {
                row_version: row.version + 1,
                order_version: row.order_version,
                state,
            };
            self.ended.insert(row.order_id, order);
            self.endings.push_back((at, row.order_id));
        }
        if let Some(writes) = &mut self.writes {
            writes.push(Writes {
                ended,
                commitments,
                changes,
                now: units::instant(at),
            });
        }
        while let Some((ended_at, order_id)) = self.endings.front().copied()
            && at.since(ended_at).0 > REMEMBERED.0
        {
            self.endings.pop_front();
            self.ended.remove(&order_id);
        }
    }
}
