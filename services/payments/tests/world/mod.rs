//! One payment with its gateway and everything that is on its way between them, step by step, in any order.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use contracts::payments::{PaymentRequested, RefundReason, RefundRequested};
use contracts::value::Money;
use payments::decide::{self, Fact, RetryPolicy};
use payments::gateway::{Answer, Call, Outcome};
use payments::payment::{Payment, Step};
use proptest::prelude::*;
use runtime::{Trace, Verdict};
use uuid::Uuid;

pub const ORDER: Uuid = Uuid::from_u128(42);
pub const CHARGE: Uuid = Uuid::from_u128(1);
pub const REFUND: Uuid = Uuid::from_u128(2);

pub fn money(amount_minor: i64) -> Money {
    Money {
        amount_minor,
        currency: "EUR".into(),
    }
}

pub fn policy() -> RetryPolicy {
    RetryPolicy {
        pauses: [1, 2, 4].map(Duration::from_secs).to_vec(),
        deferral: Duration::from_secs(30),
    }
}

pub fn charge(expires_at: Option<DateTime<Utc>>) -> PaymentRequested {
    PaymentRequested {
        event_id: CHARGE,
        occurred_at: DateTime::UNIX_EPOCH,
        geo: "berlin-mitte".into(),
        order_id: ORDER,
        order_version: 2,
        attempt: 1,
        customer_id: "c".into(),
        amount: money(1250),
        payment_method: "card".into(),
        expires_at,
    }
}

pub fn refund() -> RefundRequested {
    RefundRequested {
        event_id: REFUND,
        occurred_at: DateTime::UNIX_EPOCH,
        geo: "berlin-mitte".into(),
        order_id: ORDER,
        order_version: 3,
        attempt: 1,
        amount: money(1250),
        reason: RefundReason::OrderCancelled,
    }
}

/// What a call meets.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    /// Performed and answered.
    Answered,
    /// Performed, the answer lost.
    HalfAnswered,
    /// Not performed, as far as the caller knows perhaps.
    TimedOut,
    /// The caller gives up; it is performed later, if at all by this request.
    PerformedLate,
    /// No connection.
    NotSent,
    /// Answered, and no wiser.
    Unclear,
    /// The breaker is open.
    Deferred,
}

#[derive(Clone, Copy, Debug)]
pub enum Happening {
    Charge,
    Refund,
    /// The oldest call under way meets its fate.
    Call(Fate),
    /// A request that hung at the gateway is performed after all.
    Late,
    /// Time passes; what is due fires.
    Tick(u8),
    /// From now on there are turns at the gateway, or none.
    Turns(bool),
    /// The breaker has closed.
    Back,
    /// The process dies and the lane is loaded from its row; calls under way go on without anybody to hear them.
    Crash,
    /// An outcome is told a second time. (A failure is not: the runtime answers each call once.)
    Echo,
}

pub fn happening() -> impl Strategy<Value = Happening> {
    use Fate::*;
    let fate = prop_oneof![
        3 => Just(Answered), 1 => Just(HalfAnswered), 1 => Just(TimedOut),
        1 => Just(PerformedLate), 1 => Just(NotSent), 1 => Just(Unclear), 1 => Just(Deferred)
    ];
    prop_oneof![
        2 => Just(Happening::Charge),
        1 => Just(Happening::Refund),
        6 => fate.prop_map(Happening::Call),
        1 => Just(Happening::Late),
        3 => (0..60_u8).prop_map(Happening::Tick),
        1 => any::<bool>().prop_map(Happening::Turns),
        1 => Just(Happening::Back),
        1 => Just(Happening::Crash),
        1 => Just(Happening::Echo),
    ]
}

/// The gateway's memory: what it did under each key.
#[derive(Default)]
pub struct Bank {
    pub declines: bool,
    pub performed: HashMap<String, Outcome>,
    pub captured: i64,
    pub refunded: i64,
}

impl Bank {
    fn perform(&mut self, call: &Call) -> Outcome {
        let (Call::Capture { key, amount, .. } | Call::Refund { key, amount, .. }) = call;
        if let Some(known) = self.performed.get(key) {
            return known.clone();
        }
        let (reference, at) = (format!("ref-{key}"), DateTime::UNIX_EPOCH);
        let outcome = match call {
            Call::Capture { .. } if self.declines => Outcome::Declined {
                invalid: false,
                code: "insufficient_funds".into(),
                message: None,
            },
            Call::Capture { .. } => {
                self.captured += amount.amount_minor;
                Outcome::Captured { reference, at }
            }
            Call::Refund { .. } => {
                self.refunded += amount.amount_minor;
                Outcome::Refunded { reference, at }
            }
        };
        self.performed.insert(key.clone(), outcome.clone());
        outcome
    }
}

/// One lane with one order, its gateway, and everything that is on its way between them.
pub struct World {
    pub now: DateTime<Utc>,
    pub slot: Option<Payment>,
    pub bank: Bank,
    pub calls: Vec<Call>,
    pub late: Vec<Call>,
    pub answers: Vec<Answer>,
    pub facts: Vec<Fact>,
    pub done: Vec<&'static str>,
    pub expires_at: Option<DateTime<Utc>>,
    pub turns: bool,
}

impl World {
    pub fn new(declines: bool, expires_s: Option<u8>) -> Self {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(1);
        Self {
            now,
            slot: None,
            bank: Bank {
                declines,
                ..Bank::default()
            },
            calls: Vec::new(),
            late: Vec::new(),
            answers: Vec::new(),
            facts: Vec::new(),
            done: Vec::new(),
            expires_at: expires_s.map(|seconds| now + TimeDelta::seconds(seconds.into())),
            turns: true,
        }
    }

    pub fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Charge => {
                let request = charge(self.expires_at);
                let (verdict, fact) =
                    decide::requested(&mut self.slot, request, &Trace::root(), self.now);
                self.note(verdict, fact, "charge");
            }
            Happening::Refund => {
                let (verdict, fact) =
                    decide::refund_requested(&mut self.slot, refund(), &Trace::root(), self.now);
                self.note(verdict, fact, "refund");
            }
            Happening::Call(fate) if !self.calls.is_empty() => self.meet(fate),
            Happening::Call(_) => {}
            Happening::Late => {
                if let Some(call) = self.late.pop() {
                    self.bank.perform(&call);
                }
            }
            Happening::Tick(seconds) => {
                self.now += TimeDelta::seconds(seconds.into());
                if let Some(payment) = &mut self.slot
                    && payment.alarm().is_some_and(|at| at <= self.now)
                {
                    self.facts.extend(decide::due(payment, self.now));
                }
            }
            Happening::Turns(turns) => self.turns = turns,
            Happening::Back => {
                if let Some(payment) = &mut self.slot {
                    decide::wake(payment, &policy());
                }
            }
            Happening::Crash => self.crash(),
            Happening::Echo => {
                let told = self
                    .answers
                    .iter()
                    .rfind(|answer| self.bank.performed.values().any(|it| *it == answer.outcome));
                if let Some(answer) = told.cloned() {
                    self.answer(answer);
                }
            }
        }
        // The end of a cycle.
        if self.turns {
            self.calls
                .extend(self.slot.as_mut().and_then(Payment::start_call));
        }
    }

    fn note(&mut self, verdict: Verdict, fact: Option<Fact>, what: &'static str) {
        assert!(!matches!(verdict, Verdict::Reject(_)), "{verdict:?}");
        self.facts.extend(fact);
        if verdict == Verdict::Done {
            self.done.push(what);
        }
    }

    fn meet(&mut self, fate: Fate) {
        let call = self.calls.remove(0);
        let failed = |sent| Outcome::Failed {
            sent,
            error: "no answer".into(),
        };
        let outcome = match fate {
            Fate::Answered => self.bank.perform(&call),
            Fate::HalfAnswered => {
                self.bank.perform(&call);
                failed(true)
            }
            Fate::TimedOut => failed(true),
            Fate::PerformedLate => {
                self.late.push(call.clone());
                failed(true)
            }
            Fate::NotSent => failed(false),
            Fate::Unclear => Outcome::Unclear {
                error: "it is being processed".into(),
            },
            Fate::Deferred => Outcome::Deferred,
        };
        self.answer(Answer {
            order_id: ORDER,
            operation: call.operation(),
            outcome,
        });
    }

    fn answer(&mut self, answer: Answer) {
        if let Some(payment) = &mut self.slot {
            let applied = decide::answered(payment, &answer, self.now, &policy());
            self.facts.extend(applied.and_then(|applied| applied.fact));
        }
        self.answers.push(answer);
    }

    /// As `Processor::load` does it.
    fn crash(&mut self) {
        self.late.append(&mut self.calls);
        self.answers.clear();
        let Some(payment) = &mut self.slot else {
            return;
        };
        match payment.step {
            Step::InFlight => {
                payment.exposed = true;
                self.calls.extend(payment.call());
            }
            Step::Call => payment.step = Step::Wait(payment.requested_at),
            Step::Rest | Step::Wait(_) => {}
        }
    }

    /// The gateway works again and everything comes to an end.
    pub fn settle(&mut self) {
        self.happen(Happening::Turns(true));
        for _ in 0..100 {
            self.happen(Happening::Call(Fate::Answered));
            self.happen(Happening::Tick(60));
        }
        while let Some(call) = self.late.pop() {
            self.bank.perform(&call);
        }
    }

    pub fn count(&self, is: fn(&Fact) -> bool) -> usize {
        self.facts.iter().filter(|fact| is(fact)).count()
    }
}
