//! The scheduler of one geo: takes inputs, says when it wants a tick.
//!
//! State changes by inputs and by ticks that decide something, by nothing else, so feeding the inputs
//! again and ticking at the instants of the deciding ticks repeats every decision bit for bit. Input
//! costs are logarithmic in drivers and pending requests (see `fleet` and `queue`).

use std::sync::Arc;

use crate::audit::Audit;
use crate::config::Config;
use crate::driver::{Driver, DriverRecord, DriverStatus, Shift};
use crate::drives::Drives;
use crate::fleet::{Fleet, Stir};
use crate::ids::{DriverId, OrderId, TripId};
use crate::input::{Applied, Input};
use crate::point::Point;
use crate::policy::{Policy, PolicyId};
use crate::queue::Queue;
use crate::request::Request;
use crate::rules::Rules;
use crate::snapshot::Snapshot;
use crate::time::{At, Seconds};
use crate::travel::TravelTime;
use crate::trip::{Assignment, LastDrop, Phase, Remainder, Trips};

#[derive(Debug)]
pub struct Scheduler {
    pub(crate) rules: Rules,
    pub(crate) policy: Arc<dyn Policy>,
    pub(crate) fleet: Fleet,
    pub(crate) queue: Queue,
    pub(crate) trips: Trips,
    pub(crate) drives: Drives,
    pub(crate) audit: Audit,
    /// Requests that came in, and those that left by withdrawal, delivery or failure.
    pub(crate) entered: u64,
    pub(crate) left: u64,
    pub(crate) last_tick: At,
}

impl Scheduler {
    /// An empty scheduler. The configuration is taken as checked.
    pub fn new(config: Config, travel: Arc<dyn TravelTime>, policy: Arc<dyn Policy>) -> Scheduler {
        let configured = Seconds(config.tolerance_s);
        let most = configured + config.widening.most(&config);
        let (tolerance, widest) = (policy.tolerance(configured), policy.tolerance(most));
        Scheduler {
            rules: Rules {
                config,
                model: travel.clone(),
                travel,
                factor: 1.0,
                tolerance,
                widest,
                listening_since: At::MIN,
            },
            policy,
            fleet: Fleet::default(),
            queue: Queue::default(),
            trips: Trips::default(),
            drives: Drives::default(),
            audit: Audit::default(),
            entered: 0,
            left: 0,
            last_tick: At::MIN,
        }
    }

    /// A scheduler as its tables have it; the pings of the last location TTL are for the caller to feed.
    pub fn restore(
        config: Config,
        travel: Arc<dyn TravelTime>,
        policy: Arc<dyn Policy>,
        snapshot: Snapshot,
    ) -> Scheduler {
        let mut scheduler = Scheduler::new(config, travel, policy);
        let Scheduler {
            rules,
            fleet,
            queue,
            trips,
            ..
        } = &mut scheduler;
        let mut drops = Vec::new();
        for record in snapshot.drivers {
            drops.extend(
                record
                    .last_drop
                    .map(|drop| (record.driver_id.clone(), drop)),
            );
            let position = record
                .position
                .map(|point| (point, rules.travel.place(point)));
            fleet.update(&record.driver_id, rules, |driver| {
                driver.online = record.online;
                driver.duty_at = record.duty_at;
                driver.shift_end = record.shift_end;
                driver.free_since = record.free_since;
                driver.position = position;
                driver.seen_at = record.seen_at.unwrap_or(At::MIN);
                driver.next_shift = record.next_shift.map(|shift| rules.placed(shift));
            });
        }
        for assignment in snapshot.assignments {
            let (trip, driver_id) = (assignment.trip_id, assignment.driver_id.clone());
            trips.add(assignment, &rules.config);
            let end = trips.ends(trip, rules);
            let set_out = |driver: &mut Driver| driver.set_out(trip, end.map(|(_, place)| place));
            fleet.update(&driver_id, rules, set_out);
            fleet.redirect(&driver_id, end);
        }
        for (driver_id, drop) in drops {
            if let Some(trip) = fleet.get(&driver_id).and_then(|driver| driver.trip) {
                trips.dropped(trip, drop);
                fleet.redirect(&driver_id, trips.ends(trip, rules));
            }
        }
        for request in snapshot.pending {
            queue.insert(request, rules, fleet);
        }
        scheduler.drives = snapshot.drives;
        scheduler.entered = (scheduler.queue.len() + scheduler.trips.len()) as u64;
        scheduler
    }

    /// What `restore` needs to go on from here.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            pending: self
                .queue
                .iter()
                .map(|pending| pending.request.clone())
                .collect(),
            assignments: self.trips.iter().cloned().collect(),
            drivers: self
                .fleet
                .iter()
                .map(|(_, driver)| self.record(driver))
                .collect(),
            drives: self.drives.clone(),
        }
    }

    fn record(&self, driver: &Driver) -> DriverRecord {
        driver.record(driver.trip.and_then(|trip| self.trips.last_drop(trip)))
    }

    /// When the next tick is wanted; an instant in the past means at once, `None` not before an input.
    ///
    /// At that instant a request may fall due or an offer lapse; while requests wait it is at most
    /// `tick_s` after the last tick, which is how late a driver's silence may be noticed.
    pub fn next_due(&self) -> Option<At> {
        let beat = (self.queue.len() > 0).then(|| self.last_tick.plus(self.rules.tick()));
        let wakes = [
            self.queue.next_wake(),
            self.trips.next_deadline(),
            self.fleet.next_check(),
            beat,
        ];
        wakes.into_iter().flatten().min()
    }

    pub fn apply(&mut self, input: Input) -> Applied {
        match input {
            Input::Requested(request) => self.request(request),
            Input::Withdrawn { order_id, at } => self.withdraw(order_id, at),
            Input::ReadyAt {
                order_id,
                ready_at,
                at,
            } => self.hear_ready(order_id, ready_at, at),
            Input::DriverOnline {
                driver_id,
                at,
                shift_end,
            } => self.duty(&driver_id, at, true, shift_end),
            Input::DriverOffline { driver_id, at } => self.duty(&driver_id, at, false, None),
            Input::ShiftAnnounced { driver_id, shift } => self.announce(&driver_id, shift),
            Input::DriverPing {
                driver_id,
                position,
                at,
            } => self.sight(&driver_id, at, Some(position)),
            Input::DriverStood {
                driver_id,
                position,
                at,
            } => self.stand(&driver_id, at, position),
            Input::DriverLeft { driver_id, at } => self.sight(&driver_id, at, None),
            Input::Declined {
                order_id,
                driver_id,
                at,
            } => self.decline(order_id, &driver_id, at),
            Input::Listening { at } => self.listen(at),
            Input::Progress {
                order_id,
                driver_id,
                phase,
                at,
            } => self.progress(order_id, &driver_id, phase, at),
            Input::Driven(drive) => self.learn(drive),
        }
    }

    fn request(&mut self, mut request: Request) -> Applied {
        let order = request.order_id;
        if self.trips.get(order).is_some() {
            return Applied::Stale;
        }
        match self.queue.get(order).map(|pending| &pending.request) {
            Some(known) if !request.newer_than(known) => return Applied::Stale,
            Some(known) => {
                request.hear_ready(known.ready_at, known.ready_said_at);
                for (driver, until) in &known.cooled {
                    let cooled = request.cooled.entry(driver.clone()).or_insert(*until);
                    *cooled = (*cooled).max(*until);
                }
            }
            None => self.entered += 1,
        }
        self.queue.insert(request, &self.rules, &mut self.fleet);
        Applied::Changed
    }

    fn withdraw(&mut self, order: OrderId, at: At) -> Applied {
        if self.queue.remove(order, &mut self.fleet).is_some() {
            self.left += 1;
            return Applied::Changed;
        }
        let left = self.leave_trip(order, None, at).is_some();
        self.left += u64::from(left);
        if left {
            Applied::Changed
        } else {
            Applied::Unknown
        }
    }

    fn hear_ready(&mut self, order: OrderId, ready_at: At, said_at: At) -> Applied {
        let heard = self.queue.update(order, &mut self.fleet, |request| {
            request.hear_ready(ready_at, said_at)
        });
        if let Some(news) = heard {
            return Applied::changed_if(news);
        }
        let Some(leg) = self.trips.get(order) else {
            return Applied::Unknown;
        };
        let (trip, driver_id) = (leg.trip_id, leg.driver_id.clone());
        // A meal that is on its way as well: whether the kitchen or the driver is heard first must not matter.
        let mut news = false;
        self.trips.update(order, &self.rules.config, |leg| {
            news = leg.request.hear_ready(ready_at, said_at)
        });
        self.redirect(&driver_id, trip);
        Applied::changed_if(news)
    }

    fn duty(&mut self, id: &DriverId, at: At, online: bool, shift_end: Option<At>) -> Applied {
        if self.fleet.get(id).is_some_and(|driver| at < driver.duty_at) {
            return Applied::Stale;
        }
        self.change_driver(id, |driver| {
            if online && !driver.online {
                driver.free_since = driver.free_since.max(at);
            }
            if online {
                driver.next_shift = None;
            }
            driver.online = online;
            driver.duty_at = at;
            driver.shift_end = shift_end;
        });
        if !online {
            for (order, ..) in self
                .carried(id)
                .into_iter()
                .filter(|leg| leg.1 >= Phase::PickedUp)
            {
                self.report(order);
            }
        }
        Applied::Changed
    }

    fn announce(&mut self, id: &DriverId, shift: Option<Shift>) -> Applied {
        let known = self.fleet.get(id);
        let known = known.and_then(|driver| driver.next_shift.as_deref());
        let news = known.map(|(known, _)| *known) != shift;
        let shift = shift.map(|shift| self.rules.placed(shift));
        self.change_driver(id, |driver| driver.next_shift = shift);
        Applied::changed_if(news)
    }

    fn sight(&mut self, id: &DriverId, at: At, position: Option<Point>) -> Applied {
        if self
            .fleet
            .get(id)
            .is_some_and(|driver| at <= driver.seen_at)
        {
            return Applied::Stale;
        }
        self.place(id, at, position)
    }

    fn stand(&mut self, id: &DriverId, at: At, position: Point) -> Applied {
        if self.fleet.get(id).is_some_and(|driver| at < driver.seen_at) {
            return Applied::Stale;
        }
        self.place(id, at, Some(position))
    }

    fn place(&mut self, id: &DriverId, at: At, position: Option<Point>) -> Applied {
        let position = position.map(|point| (point, self.rules.travel.place(point)));
        self.change_driver(id, |driver| {
            driver.position = position;
            driver.seen_at = at;
        });
        Applied::Changed
    }

    fn decline(&mut self, order: OrderId, driver: &DriverId, at: At) -> Applied {
        match self.held_by(order, driver) {
            None => Applied::Unknown,
            Some(phase) if phase >= Phase::PickedUp => Applied::Stale,
            Some(_) => {
                self.release(order, at);
                Applied::Changed
            }
        }
    }

    fn listen(&mut self, at: At) -> Applied {
        let news = at > self.rules.listening_since;
        if news {
            self.rules.listening_since = at;
            self.fleet.recheck(&self.rules);
        }
        Applied::changed_if(news)
    }

    fn progress(&mut self, order: OrderId, driver: &DriverId, phase: Phase, at: At) -> Applied {
        match self.held_by(order, driver) {
            None => return Applied::Unknown,
            Some(known) if known >= phase => return Applied::Stale,
            Some(_) => {}
        }
        let mut trip = None;
        self.trips.update(order, &self.rules.config, |leg| {
            leg.phase = phase;
            leg.phase_at = at;
            trip = Some(leg.trip_id);
        });
        if let Some(trip) = trip {
            self.redirect(driver, trip);
        }
        if phase == Phase::Delivered {
            self.leave_trip(order, Some(at), at);
            self.left += 1;
        }
        Applied::Changed
    }

    /// How far the order is with this driver, if it is his.
    fn held_by(&self, order: OrderId, driver: &DriverId) -> Option<Phase> {
        self.trips
            .get(order)
            .filter(|leg| leg.driver_id == *driver)
            .map(|leg| leg.phase)
    }

    /// Takes an order from its driver and lets it compete again, not for him; returns the new request.
    pub(crate) fn release(&mut self, order: OrderId, at: At) -> Option<(DriverId, Request)> {
        let leg = self.leave_trip(order, None, at)?;
        let request = leg
            .request
            .declined_by(&leg.driver_id, at, &self.rules.config);
        self.queue
            .insert(request.clone(), &self.rules, &mut self.fleet);
        Some((leg.driver_id, request))
    }

    /// The orders of a driver's trip: how far each is, and whether it was reported that he is gone with it.
    pub(crate) fn carried(&self, driver: &DriverId) -> Vec<(OrderId, Phase, bool)> {
        let legs = self.trip_of(driver);
        legs.iter()
            .map(|leg| (leg.request.order_id, leg.phase, leg.reported))
            .collect()
    }

    /// Notes that it was reported that the driver is gone with this order.
    pub(crate) fn report(&mut self, order: OrderId) {
        self.trips
            .update(order, &self.rules.config, |leg| leg.reported = true);
    }

    pub(crate) fn leave_trip(
        &mut self,
        order: OrderId,
        delivered_at: Option<At>,
        at: At,
    ) -> Option<Assignment> {
        let (leg, remainder) = self.trips.finish(order, delivered_at, &self.rules.config)?;
        match remainder {
            Remainder::Over => self.change_driver(&leg.driver_id, |driver| {
                driver.trip = None;
                driver.free_since = driver.free_since.max(at);
            }),
            Remainder::Underway => self.redirect(&leg.driver_id, leg.trip_id),
        }
        Some(leg)
    }

    /// Tells the fleet when and where the driver's trip ends, after whatever may have changed that.
    pub(crate) fn redirect(&mut self, driver: &DriverId, trip: TripId) {
        let end = self.trips.ends(trip, &self.rules);
        self.fleet.redirect(driver, end);
    }

    fn change_driver(&mut self, id: &DriverId, change: impl FnOnce(&mut Driver)) {
        let stir: Stir = self.fleet.update(id, &self.rules, change);
        self.queue.stir(stir, &self.rules, &mut self.fleet);
    }

    /// The request that waits for a driver, if there is one for this order.
    pub fn request_of(&self, order: OrderId) -> Option<&Request> {
        self.queue.get(order).map(|pending| &pending.request)
    }

    /// The order's driver and how far it is, if it has one.
    pub fn assignment_of(&self, order: OrderId) -> Option<&Assignment> {
        self.trips.get(order)
    }

    /// The orders that the driver has to deliver on his trip, in that order.
    pub fn trip_of(&self, driver: &DriverId) -> &[Assignment] {
        let trip = self.fleet.get(driver).and_then(|driver| driver.trip);
        trip.map_or(&[], |trip| self.trips.legs(trip))
    }

    /// When the driver delivered last on the trip that he is on, and where, if he has.
    pub fn last_drop(&self, driver: &DriverId) -> Option<LastDrop> {
        self.trips.last_drop(self.fleet.get(driver)?.trip?)
    }

    /// When an order that has a driver should be picked up, and when it should be at its customer's door.
    pub fn expected(&self, order: OrderId) -> Option<(At, At)> {
        self.trips.expected(order, &self.rules)
    }

    /// What the driver can be asked for; `None` if nothing was ever heard of him.
    pub fn driver_status(&self, id: &DriverId) -> Option<DriverStatus> {
        let driver = self.fleet.get(id)?;
        if let Some(trip) = driver.trip
            && let Some(last) = self.trips.legs(trip).last()
        {
            return Some(DriverStatus::Busy {
                trip,
                free_at: driver.free_at,
                free_where: last.request.customer,
            });
        }
        Some(if driver.online {
            DriverStatus::Free {
                since: driver.free_since,
            }
        } else {
            DriverStatus::Offline
        })
    }

    /// Since when positions have been followed, by the last [`Input::Listening`].
    pub fn listening_since(&self) -> At {
        self.rules.listening_since
    }

    /// The counters of kept and broken invariants.
    pub fn audit(&self) -> Audit {
        self.audit
    }

    pub fn policy(&self) -> PolicyId {
        self.policy.id()
    }

    pub fn config(&self) -> &Config {
        &self.rules.config
    }
}
