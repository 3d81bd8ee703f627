//! A small world to dispatch in: builders for requests and drivers, and an oracle that decides the slow
//! way what a tick of `slack-greedy` or `fifo` has to be.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code)] // each test binary uses its part

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dispatch::{
    At, Config, DriverId, DriverRecord, Input, OrderId, Phase, Point, PolicySpec, Request,
    RestaurantId, Road, RoadConfig, Scheduler, Seconds, Snapshot, TravelTime, WholeMinutes,
};
use uuid::Uuid;

/// 320 metres a minute, whole minutes.
pub fn grid() -> Arc<dyn TravelTime> {
    Arc::new(WholeMinutes::new(320.0).unwrap())
}

/// A city by the equator whose speed changes much from hour to hour.
pub fn road() -> Arc<dyn TravelTime> {
    let mut speed_kmh = [30.0; 24];
    speed_kmh[1] = 9.0;
    let time_zone = "UTC".into();
    Arc::new(
        Road::new(&RoadConfig {
            detour: 1.3,
            speed_kmh,
            time_zone,
        })
        .unwrap(),
    )
}

pub fn scheduler(config: Config, travel: Arc<dyn TravelTime>, policy: &PolicySpec) -> Scheduler {
    config.check().unwrap();
    Scheduler::new(config, travel, policy.build())
}

pub fn at(seconds: f64) -> At {
    At::from_seconds(seconds)
}

pub fn order(number: u128) -> OrderId {
    OrderId(Uuid::from_u128(number))
}

pub fn driver(name: &str) -> DriverId {
    DriverId::new(name)
}

pub fn metres(x: f64, y: f64) -> Point {
    Point::metres(x, y).unwrap()
}

/// A request placed at 0 whose restaurant is the origin and whose customer is 3.2 km away.
pub fn request(number: u128, ready_s: f64) -> Request {
    Request {
        order_id: order(number),
        version: 1,
        attempt: 1,
        restaurant_id: RestaurantId::new("r"),
        restaurant: metres(0.0, 0.0),
        customer: metres(0.0, 3_200.0),
        placed_at: at(0.0),
        requested_at: at(0.0),
        ready_at: at(ready_s),
        ready_said_at: at(0.0),
        search_radius_m: 10_000.0,
        cooled: BTreeMap::new(),
    }
}

pub fn online(name: &str, seconds: f64) -> Input {
    Input::DriverOnline {
        driver_id: driver(name),
        at: at(seconds),
        shift_end: None,
    }
}

pub fn ping(name: &str, position: Point, seconds: f64) -> Input {
    Input::DriverPing {
        driver_id: driver(name),
        position,
        at: at(seconds),
    }
}

pub fn progress(number: u128, name: &str, phase: Phase, seconds: f64) -> Input {
    Input::Progress {
        order_id: order(number),
        driver_id: driver(name),
        phase,
        at: at(seconds),
    }
}

pub fn apply(scheduler: &mut Scheduler, inputs: impl IntoIterator<Item = Input>) {
    for input in inputs {
        assert_eq!(
            scheduler.apply(input.clone()),
            dispatch::Applied::Changed,
            "{input:?}"
        );
    }
}

/// Rules of a tick, for the oracle.
pub struct Oracle {
    pub config: Config,
    pub travel: Arc<dyn TravelTime>,
    pub policy: PolicySpec,
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
    fn tolerance(&self) -> f64 {
        if self.policy == PolicySpec::Fifo {
            f64::INFINITY
        } else {
            self.config.tolerance_s
        }
    }

    /// The eta of a driver who may take the request, straight from the definitions.
    pub fn eta(&self, record: &DriverRecord, request: &Request, now: At) -> Option<f64> {
        let (place, seen_at) = (self.travel.place(record.position?), record.seen_at?);
        let pickup = self.travel.place(request.restaurant);
        let distance = self.travel.distance_m(place, pickup);
        let eta = self.travel.seconds(distance, now);
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

    /// The requests that are due, in the policy's order, each with its slack.
    pub fn due<'a>(&self, state: &'a Snapshot, now: At) -> Vec<(&'a Request, f64)> {
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
                    .minus(Seconds(self.tolerance()) + Seconds(eta))
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
    pub fn decide(&self, state: &Snapshot, now: At) -> Vec<Expected> {
        let mut free = self.free(state);
        let mut expected = Vec::new();
        for (request, _) in self.due(state, now) {
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
