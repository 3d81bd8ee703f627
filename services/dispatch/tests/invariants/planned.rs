//! What must hold of a tick of a policy that plans, whatever its plan is: straight from the definitions.

use std::collections::{BTreeMap, BTreeSet};

use dispatch::{
    Decision, FailureReason, PolicySpec, Request, Seconds, Snapshot, Tick, TripId, TripSlot,
};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::Story;
use crate::seen::Seen;

impl Story<'_> {
    /// Invariants 1 to 3: whom a tick sends was free and the order due for him; a trip is few orders of one
    /// restaurant; who is left beside a free driver is held for one who is no later.
    pub fn check_plan(&self, before: &Snapshot, tick: &Tick) -> Result<(), TestCaseError> {
        self.check_decisions(before, tick)?;
        self.check_trips(before, tick)?;
        self.check_given_up(before, tick)?;
        self.check_left(before, tick)
    }

    fn check_decisions(&self, before: &Snapshot, tick: &Tick) -> Result<(), TestCaseError> {
        let free = self.oracle.free(before);
        for decision in &tick.decisions {
            let request = before
                .pending
                .iter()
                .find(|request| request.order_id == decision.order_id)
                .ok_or_else(|| TestCaseError::fail("an order nobody asked for"))?;
            let record = free.get(&decision.driver_id);
            let eta = record.and_then(|record| self.oracle.eta(record, request, tick.at));
            prop_assert_eq!(eta, Some(decision.driver_eta_to_restaurant_s));
            let slack = request.ready_at.since(tick.at) - Seconds(eta.unwrap_or(0.0));
            prop_assert_eq!(slack.0, decision.slack_s);
            prop_assert!(slack.0 <= tick.tolerance_s + 1e-6, "committed early");
        }
        Ok(())
    }

    fn check_trips(&self, before: &Snapshot, tick: &Tick) -> Result<(), TestCaseError> {
        let mut trips: BTreeMap<TripId, Vec<&Decision>> = BTreeMap::new();
        for decision in &tick.decisions {
            trips.entry(decision.trip.id).or_default().push(decision);
        }
        let drivers: BTreeSet<_> = tick.decisions.iter().map(|d| &d.driver_id).collect();
        prop_assert_eq!(drivers.len(), trips.len(), "one trip per driver");
        for orders in trips.values() {
            prop_assert!(orders.len() <= TripSlot::MOST);
            let doors: BTreeSet<_> = orders
                .iter()
                .flat_map(|d| before.pending.iter().filter(|r| r.order_id == d.order_id))
                .map(|request| format!("{:?}", (&request.restaurant_id, request.restaurant)))
                .collect();
            prop_assert_eq!(doors.len(), 1, "one restaurant per trip");
            for (position, decision) in orders.iter().enumerate() {
                prop_assert_eq!(usize::from(decision.trip.position), position);
                prop_assert_eq!(usize::from(decision.trip.size), orders.len());
                prop_assert_eq!(&decision.driver_id, &orders[0].driver_id);
            }
            self.check_detours(before, orders, tick)?;
            if orders.len() > 1 {
                Seen::count(&self.seen.bundled, orders.len());
            }
        }
        Ok(())
    }

    /// No order of a shared trip comes later by more than the bound than if its driver went for it alone, by the estimates
    /// of the tick.
    fn check_detours(
        &self,
        before: &Snapshot,
        orders: &[&Decision],
        tick: &Tick,
    ) -> Result<(), TestCaseError> {
        let PolicySpec::Bundle(bundle) = &self.oracle.policy else {
            return Ok(());
        };
        let requests: Vec<&Request> = orders
            .iter()
            .flat_map(|d| before.pending.iter().filter(|r| r.order_id == d.order_id))
            .collect();
        let (config, travel) = (&self.oracle.config, &self.oracle.travel);
        let half = config.pickup_service_s / 2.0;
        let drive = |from, to| {
            let seconds = travel.eta(travel.place(from), travel.place(to), tick.at).0;
            seconds * self.oracle.factor
        };
        let counter = orders[0].driver_eta_to_restaurant_s + half;
        let fetched = |request: &&Request| counter.max(request.ready_at.since(tick.at).0);
        let mut at = requests.iter().map(fetched).fold(counter, f64::max) + half;
        let mut from = requests[0].restaurant;
        for request in &requests {
            at += drive(from, request.customer);
            let alone = fetched(request) + half + drive(request.restaurant, request.customer);
            prop_assert!(at - alone <= bundle.max_detour_s + 1e-6, "{:?}", orders);
            if requests.len() > 1 && at - alone > bundle.max_detour_s / 2.0 {
                Seen::count(&self.seen.detours, 1);
            }
            at += config.dropoff_service_s;
            from = request.customer;
        }
        Ok(())
    }

    /// Invariant 3: nobody is given up for his age while a driver is free who could take him.
    pub fn check_given_up(&self, before: &Snapshot, tick: &Tick) -> Result<(), TestCaseError> {
        let after = self.live.snapshot();
        let free = self.oracle.free(&after);
        for failure in &tick.failures {
            let for_age = matches!(
                failure.reason,
                FailureReason::Expired
                    | FailureReason::NoAvailableDriver
                    | FailureReason::NoDriverInRadius
            );
            let mut pending = before.pending.iter();
            let Some(request) = pending.find(|r| for_age && r.order_id == failure.order_id) else {
                prop_assert!(!for_age, "given up: {:?}, and nobody asked", failure);
                continue;
            };
            Seen::count(&self.seen.given_up, 1);
            let nearest = self.oracle.nearest(free.values(), request, tick.at);
            prop_assert_eq!(nearest, None, "{:?} beside a free driver", failure);
        }
        Ok(())
    }

    fn check_left(&self, before: &Snapshot, tick: &Tick) -> Result<(), TestCaseError> {
        let after = self.live.snapshot();
        let mut free = self.oracle.free(&after);
        let due = self.oracle.due(&after, tick);
        free.retain(|driver, _| !tick.promised.contains(driver));
        let were_due = self.oracle.due(before, tick);
        for (request, _) in due {
            // What fell due by this tick's own decisions is looked at in the next one, at once.
            if !were_due
                .iter()
                .any(|(was, _)| was.order_id == request.order_id)
            {
                prop_assert!(self.live.next_due() <= Some(tick.at));
                continue;
            }
            let Some(hold) = tick.holds.iter().find(|h| h.order_id == request.order_id) else {
                prop_assert!(
                    tick.failures.iter().any(|f| f.order_id == request.order_id),
                    "left without a word: {:?} by {:?} after {:?}",
                    request.order_id,
                    tick,
                    before
                );
                continue;
            };
            Seen::count(&self.seen.holds, 1);
            if let Some((eta, _)) = self.oracle.nearest(free.values(), request, tick.at) {
                let service = self.oracle.config.pickup_service_s / 2.0;
                let counter = tick.at.plus(Seconds(eta) + Seconds(service));
                prop_assert!(
                    hold.pickup_at <= counter.max(request.ready_at),
                    "{:?} waits beside a free driver",
                    hold
                );
            }
        }
        Ok(())
    }
}
