//! An oracle that decides the slow way what a tick of `slack-greedy` or `fifo` has to be: every request,
//! every driver, straight from the definitions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dispatch::{
    At, Config, DriverId, DriverRecord, OrderId, PolicySpec, Request, Seconds, Snapshot, Tick,
    TravelTime, Widening,
};

/// Rules of a tick, for the oracle.
pub struct Oracle {
    pub config: Config,
    pub travel: Arc<dyn TravelTime>,
    pub policy: PolicySpec,
    /// By what travel times are multiplied in the tick at hand.
    pub factor: f64,
}

/// What the oracle expects of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    pub order_id: OrderId,
    pub driver_id: DriverId,
    pub eta: f64,
    pub slack: f64,
}

impl Oracle {
    /// The slack at which a request is due, under the pressure that there is.
    pub fn tolerance(&self, state: &Snapshot, now: At) -> f64 {
        if self.policy == PolicySpec::Fifo {
            return f64::INFINITY;
        }
        let Config {
            tolerance_s,
            widening_from,
            widening_to,
            widening_s,
            ..
        } = self.config;
        if self.config.widening == Widening::None {
            return tolerance_s;
        }
        let ready = |request: &&Request| request.ready_at <= now.plus(Seconds(tolerance_s));
        let heard = |record: &&DriverRecord| {
            let until = record
                .seen_at
                .map(|at| at.plus(Seconds(self.config.location_ttl_s)));
            record.online && record.position.is_some() && until >= Some(now)
        };
        let waiting = state.pending.iter().filter(ready).count();
        let free = self.free(state).values().filter(heard).count();
        let pressure = waiting as f64 / free.max(1) as f64;
        let share = (pressure - widening_from) / (widening_to - widening_from);
        tolerance_s + widening_s * share.clamp(0.0, 1.0)
    }

    /// By what travel times are multiplied: the median over the latest drives of the hour, in steps of one in 64.
    pub fn learned(&self, state: &Snapshot, now: At) -> f64 {
        let correction = &self.config.correction;
        let hour = self.travel.hour(now);
        let of_hour = state.drives.iter().filter(|drive| drive.hour == hour);
        let mut ratios: Vec<f64> = of_hour.map(|drive| drive.ratio).collect();
        if !correction.on || ratios.len() < correction.at_least as usize {
            return 1.0;
        }
        ratios.sort_by(f64::total_cmp);
        let middle = ratios.len() / 2;
        let median = match ratios.len() % 2 {
            1 => ratios[middle],
            _ => (ratios[middle - 1] + ratios[middle]) / 2.0,
        };
        ((median * 64.0).round() / 64.0).clamp(correction.least, correction.most)
    }

    /// The eta of a driver who may take the request, straight from the definitions.
    pub fn eta(&self, record: &DriverRecord, request: &Request, now: At) -> Option<f64> {
        let (place, seen_at) = (self.travel.place(record.position?), record.seen_at?);
        let pickup = self.travel.place(request.restaurant);
        let distance = self.travel.distance_m(place, pickup);
        let eta = self.travel.seconds(distance, now) * self.factor;
        let counter = now.plus(eta + Seconds(self.config.pickup_service_s / 2.0));
        let allowed = record.online
            && seen_at.plus(Seconds(self.config.location_ttl_s)) >= now
            && distance <= request.search_radius_m
            && request
                .cooled
                .get(&record.driver_id)
                .is_none_or(|until| *until <= now)
            && record
                .shift_end
                .is_none_or(|end| counter.max(request.ready_at) <= end);
        allowed.then_some(eta.0)
    }

    /// The nearest of these drivers, every one of them considered.
    pub fn nearest<'a>(
        &self,
        free: impl Iterator<Item = &'a DriverRecord>,
        request: &Request,
        now: At,
    ) -> Option<(f64, DriverId)> {
        let pickup = self.travel.place(request.restaurant);
        free.filter_map(|record| {
            let eta = self.eta(record, request, now)?;
            let chord2 = self.travel.place(record.position?).chord2(pickup);
            Some((chord2, record.driver_id.clone(), eta))
        })
        .min_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)))
        .map(|(_, id, eta)| (eta, id))
    }

    /// Drivers on duty without a trip.
    pub fn free(&self, state: &Snapshot) -> BTreeMap<DriverId, DriverRecord> {
        let busy: BTreeSet<_> = state.assignments.iter().map(|leg| &leg.driver_id).collect();
        let free = state
            .drivers
            .iter()
            .filter(|record| !busy.contains(&record.driver_id));
        free.map(|record| (record.driver_id.clone(), record.clone()))
            .collect()
    }

    /// The requests that are due under the tick's tolerance, in the policy's order, each with its slack.
    pub fn due<'a>(&self, state: &'a Snapshot, tick: &Tick) -> Vec<(&'a Request, f64)> {
        let now = tick.at;
        let free = self.free(state);
        let mut due: Vec<(&Request, f64)> = Vec::new();
        for request in state
            .pending
            .iter()
            .filter(|r| r.attempt <= self.config.max_attempts)
        {
            let Some((eta, _)) = self.nearest(free.values(), request, now) else {
                continue;
            };
            if now
                >= request
                    .ready_at
                    .minus(Seconds(tick.tolerance_s) + Seconds(eta))
            {
                due.push((request, request.ready_at.since(now).0 - eta));
            }
        }
        due.sort_by(|(a, slack_a), (b, slack_b)| match self.policy {
            PolicySpec::Fifo => a
                .placed_at
                .cmp(&b.placed_at)
                .then(a.order_id.cmp(&b.order_id)),
            _ => slack_a
                .total_cmp(slack_b)
                .then(a.ready_at.cmp(&b.ready_at))
                .then(a.order_id.cmp(&b.order_id)),
        });
        due
    }

    /// What a tick must decide, apart from lapsing offers.
    pub fn decide(&self, state: &Snapshot, tick: &Tick) -> Vec<Expected> {
        let now = tick.at;
        let mut free = self.free(state);
        let mut expected = Vec::new();
        for (request, _) in self.due(state, tick) {
            let Some((eta, driver_id)) = self.nearest(free.values(), request, now) else {
                continue;
            };
            free.remove(&driver_id);
            let slack = request.ready_at.since(now).0 - eta;
            expected.push(Expected {
                order_id: request.order_id,
                driver_id,
                eta,
                slack,
            });
        }
        expected
    }
}
