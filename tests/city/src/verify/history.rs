//! Everything that was read, reduced to what the checks need, and the checks themselves.
//!
//! Entries of one partition come in the order of their offsets; topics may come in any order.

use std::collections::{BTreeMap, HashMap, HashSet};

use contracts::{Catalogue, Geo, StreamSpec, Topic};
use uuid::Uuid;

use super::check::Check;
use super::entry::{Content, DeadLetter, Entry, Record};
use super::money::Books;
use super::report::{Findings, Report, Spread};
use super::shifts::{MOST_ORDERS, Shifts};

/// What has been read so far.
pub struct History {
    streams: Vec<StreamSpec>,
    findings: BTreeMap<Check, Findings>,
    records: BTreeMap<String, u64>,
    seen: HashMap<Topic, HashSet<Uuid>>,
    orders: HashMap<Uuid, Order>,
    versions: HashMap<(Topic, Uuid), i32>,
    notifications: HashSet<String>,
    /// What payments says, and what the gateway does.
    books: Books,
    ledger: Option<Books>,
    messages: BTreeMap<String, u64>,
    shifts: Shifts,
    unreadable: Vec<(Topic, i32, i64)>,
    dead_letters: HashMap<(Topic, DeadLetter), u64>,
    accepted: BTreeMap<Geo, BTreeMap<i32, u64>>,
    partitions: BTreeMap<Geo, u32>,
}

/// What is known of an order.
#[derive(Default)]
struct Order {
    placed: bool,
    steps: BTreeMap<String, u32>,
    partition: Option<i32>,
    trace: Option<u128>,
    /// Of its checkout.
    root: Option<u128>,
    strays: Vec<String>,
}

/// Steps of an order that happen at most once.
const STEPS: [&str; 4] = [
    "OrderAccepted",
    "OrderConfirmed",
    "OrderPickedUp",
    "OrderDelivered",
];
const ENDS: [&str; 5] = [
    "OrderDelivered",
    "OrderRejected",
    "OrderPaymentFailed",
    "OrderCancelled",
    "OrderUndeliverable",
];

impl History {
    pub fn new(catalogue: &Catalogue) -> Self {
        let partitions = catalogue.geos().iter().filter_map(|geo| {
            let topic = Topic {
                family: "orders".into(),
                kind: "events".into(),
                geo: geo.name.clone(),
            };
            Some((geo.name.clone(), catalogue.partitions(&topic).ok()?))
        });
        Self {
            streams: catalogue.streams().to_vec(),
            findings: Check::ALL
                .into_iter()
                .map(|check| (check, Findings::new(check)))
                .collect(),
            records: BTreeMap::new(),
            seen: HashMap::new(),
            orders: HashMap::new(),
            versions: HashMap::new(),
            notifications: HashSet::new(),
            books: Books::default(),
            ledger: None,
            messages: BTreeMap::new(),
            shifts: Shifts::default(),
            unreadable: Vec::new(),
            dead_letters: HashMap::new(),
            accepted: BTreeMap::new(),
            partitions: partitions.collect(),
        }
    }

    /// Takes note of one record.
    pub fn add(&mut self, entry: &Entry) {
        *self
            .records
            .entry(format!("{}.{}", entry.topic.family, entry.topic.kind))
            .or_default() += 1;
        let record = match &entry.content {
            Content::Record(record) => record,
            Content::Unreadable(why) => return self.add_unreadable(entry, why),
        };
        self.check_contract(entry, record);
        self.check_headers(entry, record);
        self.check_key_and_geo(entry, record);
        let fresh = self
            .seen
            .entry(entry.topic.clone())
            .or_default()
            .insert(record.event_id);
        self.check(Check::EventOnce, fresh, || {
            format!("{} {} at {}", record.name(), record.event_id, entry.place())
        });
        if let Some(notification) = record
            .notification
            .as_ref()
            .filter(|_| record.name() == "NotificationSent")
        {
            let fresh = self.notifications.insert(notification.clone());
            self.check(Check::NotifiedOnce, fresh, || {
                format!("{notification} at {}", entry.place())
            });
        }
        if entry.topic.family == "notifications" {
            *self.messages.entry(record.name().to_owned()).or_default() += 1;
        }
        self.books.note(record);
        if let Some(order) = record.order_id {
            self.add_to_order(order, entry, record);
        }
        if is(&entry.topic, "driver_assignment", "events")
            && let (Some(driver), Some(order)) = (&record.driver_id, record.order_id)
        {
            self.shifts.add(driver, order, record);
        }
    }

    /// Takes note of a dead letter of `topic`.
    pub fn add_dead_letter(&mut self, topic: &Topic, letter: DeadLetter) {
        *self
            .dead_letters
            .entry((topic.clone(), letter))
            .or_default() += 1;
    }

    /// Takes note of the gateway's ledger.
    pub fn add_ledger(&mut self, ledger: Books) {
        self.ledger = Some(ledger);
    }

    /// Judges the whole.
    pub fn report(mut self, max_spread: Option<u64>) -> Report {
        let mut report = Report::default();
        let orders = std::mem::take(&mut self.orders);
        let mut orders: Vec<(Uuid, Order)> = orders.into_iter().collect();
        orders.sort_by_key(|(id, _)| *id);
        for (id, order) in &orders {
            self.judge_order(*id, order, &mut report);
        }
        report.sharing = self.judge_drivers();
        self.judge_unreadable();
        report.money_difference = self.judge_ledger();
        report.ledger = self.ledger.as_ref().map(Books::totals);
        report.money = self.books.totals();
        report.messages = std::mem::take(&mut self.messages);
        report.spread = self.judge_spread(max_spread);
        report.records = self.records;
        report.dead_letters = self.dead_letters.values().sum();
        report.checks = self.findings.into_values().collect();
        report.lost = report.violations(Check::Ended);
        let twice = [
            Check::EndedOnce,
            Check::EventOnce,
            Check::StepOnce,
            Check::NotifiedOnce,
        ];
        report.duplicated = twice
            .into_iter()
            .map(|check| report.violations(check))
            .sum();
        report
    }

    fn check(&mut self, check: Check, holds: bool, what: impl FnOnce() -> String) {
        if let Some(findings) = self.findings.get_mut(&check) {
            findings.looked(holds, what);
        }
    }

    fn add_unreadable(&mut self, entry: &Entry, why: &str) {
        // What comes from outside may be anything; what our services write may not.
        if is(&entry.topic, "orders", "requests") || is_outside(&entry.topic) {
            self.unreadable
                .push((entry.topic.clone(), entry.partition, entry.offset));
        } else {
            self.check(Check::Contract, false, || {
                format!("{}: {why}", entry.place())
            });
        }
    }

    fn check_contract(&mut self, entry: &Entry, record: &Record) {
        let (family, kind) = (&entry.topic.family, &entry.topic.kind);
        let stream = self
            .streams
            .iter()
            .find(|stream| stream.family == *family && stream.kind == *kind);
        let listed =
            stream.is_some_and(|stream| stream.records.iter().any(|name| name == record.name()));
        let space = record
            .full_name
            .rsplit_once('.')
            .map_or("", |(space, _)| space);
        let holds = listed && space.rsplit('.').next() == Some(family.as_str());
        self.check(Check::Contract, holds, || {
            format!("{} at {}", record.full_name, entry.place())
        });
    }

    fn check_headers(&mut self, entry: &Entry, record: &Record) {
        let version = record.version.map(|version| version.to_string());
        let says = |header: &Option<String>, truth: &str| {
            header.as_deref().is_none_or(|said| said == truth)
        };
        let mut holds = says(&entry.event_type, record.name())
            && says(&entry.event_id, &record.event_id.to_string())
            && version.is_none_or(|version| says(&entry.schema_version, &version));
        // Others may leave headers out; our services never do.
        if !is(&entry.topic, "orders", "requests") && !is_outside(&entry.topic) {
            let there = [&entry.event_type, &entry.event_id, &entry.schema_version];
            holds &= there.iter().all(|header| header.is_some()) && entry.trace.is_some();
        }
        self.check(Check::Headers, holds, || {
            let Entry { event_type, event_id, schema_version, trace, .. } = entry;
            format!(
                "{} {} at {} has event_type {event_type:?}, event_id {event_id:?}, schema_version {schema_version:?}, \
                 trace {trace:x?}",
                record.name(),
                record.event_id,
                entry.place()
            )
        });
    }

    fn check_key_and_geo(&mut self, entry: &Entry, record: &Record) {
        // A checkout may write any geo; the order is rejected then.
        let geo = record.geo == entry.topic.geo.as_str() || is(&entry.topic, "orders", "requests");
        let holds = geo && record.key.is_some() && entry.key == record.key;
        self.check(Check::KeyAndGeo, holds, || {
            format!(
                "{} at {} has key {:?} and geo {:?}",
                record.name(),
                entry.place(),
                entry.key,
                record.geo
            )
        });
    }

    fn add_to_order(&mut self, id: Uuid, entry: &Entry, record: &Record) {
        if is_ours(&entry.topic) {
            self.check_version(id, entry, record);
        }
        let order = self.orders.entry(id).or_default();
        if is(&entry.topic, "orders", "requests") {
            if record.name() == "OrderPlaced" {
                order.placed = true;
                order.root = entry.trace;
            }
            return;
        }
        if !is_ours(&entry.topic) && !is(&entry.topic, "notifications", "events") {
            return;
        }
        *order.steps.entry(record.name().to_owned()).or_default() += 1;
        let known = *order.partition.get_or_insert(entry.partition);
        let trace = *order.trace.get_or_insert(entry.trace.unwrap_or_default());
        if entry.trace.unwrap_or_default() != trace {
            order
                .strays
                .push(format!("{} at {}", record.name(), entry.place()));
        }
        self.check(Check::OnePartition, known == entry.partition, || {
            format!(
                "order {id} on partition {known}, {} at {}",
                record.name(),
                entry.place()
            )
        });
        if record.name() == "OrderAccepted" {
            let geo = self.accepted.entry(entry.topic.geo.clone()).or_default();
            *geo.entry(entry.partition).or_default() += 1;
        }
    }

    fn check_version(&mut self, id: Uuid, entry: &Entry, record: &Record) {
        let Some(version) = record.order_version else {
            return;
        };
        let last = self
            .versions
            .entry((entry.topic.clone(), id))
            .or_insert(version);
        let before = std::mem::replace(last, version);
        self.check(Check::VersionOrder, before <= version, || {
            format!(
                "order {id}: version {version} after {before}, {} at {}",
                record.name(),
                entry.place()
            )
        });
    }

    fn judge_order(&mut self, id: Uuid, order: &Order, report: &mut Report) {
        let count = |name: &str| order.steps.get(name).copied().unwrap_or(0);
        let ends: u32 = ENDS.iter().map(|end| count(end)).sum();
        if !order.placed {
            let known = ends > 0 || count("OrderAccepted") > 0;
            return self.check(Check::Placed, !known, || format!("order {id}"));
        }
        self.check(Check::Placed, true, String::new);
        report.count(|end| count(end) > 0);
        self.check(Check::Ended, ends > 0, || {
            format!("order {id} after {:?}", order.steps)
        });
        self.check(Check::EndedOnce, ends <= 1, || {
            format!("order {id}: {:?}", order.steps)
        });
        for step in STEPS {
            self.check(Check::StepOnce, count(step) <= 1, || {
                format!("order {id}: {step} {} times", count(step))
            });
        }
        self.judge_payment(id, &count);
        let mut strays = order.strays.clone();
        if order.root.is_some() && order.trace.is_some() && order.trace != order.root {
            strays.push("all of them, against checkout".to_owned());
        }
        self.check(Check::OneTrace, strays.is_empty(), || {
            format!("order {id}: {}", strays.join(", "))
        });
    }

    fn judge_payment(&mut self, id: Uuid, count: &dyn Fn(&str) -> u32) {
        let (captured, refunded) = (count("PaymentCaptured"), count("PaymentRefunded"));
        let charged = captured <= 1 && (count("OrderConfirmed") == 0 || captured == 1);
        self.check(Check::ChargedOnce, charged, || {
            format!("order {id}: charged {captured} times")
        });
        let kept = count("OrderDelivered") > 0;
        let ended = ENDS.iter().any(|end| count(end) > 0);
        let due = u32::from(ended && !kept && captured > 0);
        let answers = captured + count("PaymentDeclined");
        self.check(
            Check::PaymentAnswered,
            answers >= count("PaymentRequested"),
            || format!("order {id}: {answers} answers"),
        );
        self.check(Check::Refunded, refunded == due, || {
            format!("order {id}: refunded {refunded} times, due {due}")
        });
    }

    /// By how many minor units the books differ, if there are two.
    fn judge_ledger(&mut self) -> Option<i64> {
        let ledger = self.ledger.take()?;
        let mut difference = 0;
        for (order, said, done) in self.books.beside(&ledger) {
            difference += said.difference(done);
            self.check(Check::Ledger, said == done, || {
                format!("order {order}: {said:?}, by the gateway {done:?}")
            });
        }
        self.ledger = Some(ledger);
        Some(difference)
    }

    /// How many orders were given to drivers together with others.
    fn judge_drivers(&mut self) -> u64 {
        let mut sharing = 0;
        for (driver, trips) in std::mem::take(&mut self.shifts).into_trips() {
            self.check(Check::OneTripPerDriver, true, String::new);
            for trip in &trips {
                if trip.orders.len() > 1 {
                    sharing += trip.orders.len() as u64;
                }
                let few = trip.orders.len() <= MOST_ORDERS;
                self.check(Check::OneTripPerDriver, few, || {
                    format!("{driver} got {:?} on one trip", trip.orders)
                });
            }
            for pair in trips.windows(2) {
                let free = pair[0].until.is_some_and(|until| until <= pair[1].from);
                self.check(Check::OneTripPerDriver, free, || {
                    let (held, got) = (&pair[0].orders, &pair[1].orders);
                    format!("{driver} got {got:?} while holding {held:?}")
                });
            }
        }
        sharing
    }

    fn judge_unreadable(&mut self) {
        for (topic, partition, offset) in std::mem::take(&mut self.unreadable) {
            let letter = DeadLetter {
                partition: Some(partition),
                offset: Some(offset),
            };
            let letters = self
                .dead_letters
                .get(&(topic.clone(), letter))
                .copied()
                .unwrap_or(0);
            let what = || format!("{topic}/{partition}@{offset}: {letters} dead letters");
            self.check(Check::DeadLettered, letters == 1, what);
        }
    }

    fn judge_spread(&mut self, max_spread: Option<u64>) -> Vec<Spread> {
        let accepted = std::mem::take(&mut self.accepted);
        let spread = |(geo, counts): (Geo, BTreeMap<i32, u64>)| {
            let partitions = self.partitions.get(&geo).copied().unwrap_or(0);
            let all = (0..partitions as i32)
                .map(|partition| counts.get(&partition).copied().unwrap_or(0));
            let (least, most) = (all.clone().min().unwrap_or(0), all.max().unwrap_or(0));
            Spread {
                geo: geo.to_string(),
                partitions,
                accepted: counts.values().sum(),
                least,
                most,
            }
        };
        let spreads: Vec<Spread> = accepted.into_iter().map(spread).collect();
        for spread in max_spread
            .iter()
            .flat_map(|max| spreads.iter().map(move |spread| (max, spread)))
        {
            let (
                max,
                Spread {
                    geo, least, most, ..
                },
            ) = spread;
            self.check(Check::Spread, most - least <= *max, || {
                format!("{geo}: {least} to {most} per partition")
            });
        }
        spreads
    }
}

fn is(topic: &Topic, family: &str, kind: &str) -> bool {
    topic.family == family && topic.kind == kind
}

/// Topics on which an order keeps its partition and its versions rise.
fn is_ours(topic: &Topic) -> bool {
    is(topic, "orders", "events")
        || topic.family == "payments"
        || is(topic, "driver_assignment", "requests")
        || is(topic, "driver_assignment", "events")
}

/// Topics that others write.
fn is_outside(topic: &Topic) -> bool {
    topic.family == "kitchen" || topic.family == "driver"
}
