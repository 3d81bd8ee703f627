//! Closed loop: the same city simulated on from `--from` twice, once under the recorded rules and once under the new.
//!
//! Both hear the same orders, cancellations, kitchens and shifts; what drivers do follows from what the rules decide. Beside both
//! stands what really happened, to judge the simulation by. An order is held until all three are known, so memory goes with
//! the orders under way, not with the span.

use std::collections::BTreeMap;

use assignment::book::{announced_shift, request};
use assignment::config::GeoRules;
use assignment::event::Event;
use assignment::rerun::{Memo, Rerun};
use assignment::units::{self, at};
use backtest::city::{City, Delivered, Fate};
use backtest::comparison::{Change, Comparison, Distribution, Distributions, Times};
use chrono::{DateTime, Utc};
use contracts::streams::{
    DriverAssignmentEvent, DriverAssignmentRequest, DriverEvent, KitchenEvent,
};
use dispatch::{At, DriverId, OrderId, Seconds};
use serde::Serialize;

use crate::replay::open_loop::Compared;
use crate::replay::tape::Heard;

pub const MEANING: &str = "The city is simulated on from --from twice, with the same orders, cancellations, kitchens and shifts: old under \
the recorded rules, new under the others. Drivers accept what they are offered, drive as fast as the recorded rules had learned by --from (at the configured speeds where \
they had not) and wait for the food; nothing is learned on the way; \
declines, detours and drivers who get lost are not simulated, so compare new with old, and old with happened to see how far the \
simulation is from the world. Times are over orders that both delivered, seconds of the world; intervals are 95 %, by a Poisson \
bootstrap over orders with a fixed seed, and cover the chance of which orders came, not what the simulation leaves out.";

/// What a driver did.
#[derive(Debug, Clone, Copy, Default)]
struct Work {
    orders: u32,
    busy_s: f64,
}

/// How the work is spread over the drivers who were on duty.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Workload {
    pub drivers: usize,
    pub orders_mean: f64,
    pub orders_least: u32,
    pub orders_most: u32,
    /// Minutes on trips, of the world.
    pub busy_min_mean: f64,
    /// 0: all the same; 1: one does it all. Of orders.
    pub gini: f64,
}

/// The answer.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    pub meaning: &'static str,
    /// Placed within the span, without those that customers or kitchens took back in one of the worlds.
    pub orders: u64,
    pub cancelled: u64,
    pub happened: Side,
    pub old: Side,
    pub new: Side,
    pub changes: Vec<Change>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Side {
    pub delivered: u64,
    pub undelivered: u64,
    pub times: Vec<Distribution>,
    /// Absent where it was not simulated.
    pub work: Option<Workload>,
}

/// An order whose fate is known in all worlds, with the decision that changed if one did.
#[derive(Debug, Clone, Serialize)]
pub struct Told {
    pub order_id: uuid::Uuid,
    pub placed_at: DateTime<Utc>,
    pub old: Option<Times>,
    pub new: Option<Times>,
    pub old_driver: Option<String>,
    pub new_driver: Option<String>,
    pub compared: Option<Compared>,
}

struct Order {
    placed_at: At,
    ready_at: At,
    at_counter: Option<At>,
    picked_up_at: Option<At>,
    delivered_at: Option<At>,
    over: bool,
    cancelled: bool,
    old: Option<Fate>,
    new: Option<Fate>,
    compared: Option<Compared>,
}

impl Order {
    fn placed(placed_at: At, ready_at: At) -> Order {
        Order {
            placed_at,
            ready_at,
            at_counter: None,
            picked_up_at: None,
            delivered_at: None,
            over: false,
            cancelled: false,
            old: None,
            new: None,
            compared: None,
        }
    }
}

#[derive(Default)]
struct Tally {
    delivered: u64,
    undelivered: u64,
    times: Distributions,
    work: BTreeMap<DriverId, Work>,
}

/// See the module.
pub struct ClosedLoop {
    old: City,
    new: City,
    orders: BTreeMap<OrderId, Order>,
    /// Drivers who were on duty in the span, for the workload.
    on_duty: BTreeMap<DriverId, ()>,
    half_pickup: Seconds,
    time_scale: f64,
    comparison: Comparison,
    happened: Tally,
    by_old: Tally,
    by_new: Tally,
    cancelled: u64,
    told: Vec<Told>,
}

impl ClosedLoop {
    pub fn new(
        old: &GeoRules,
        new: &GeoRules,
        memo: &Memo,
        from: DateTime<Utc>,
        time_scale: f64,
    ) -> ClosedLoop {
        let learned = &memo.snapshot.drives;
        let factor = |hour: usize| learned.factor(hour as u8, &old.dispatch.correction);
        let city = |rules: &GeoRules| {
            let (travel, policy) = (rules.travel.clone(), rules.policy.clone());
            let snapshot = memo.snapshot.clone();
            let mut city = City::new(&rules.dispatch, travel, policy, snapshot, at(from));
            city.drive_at(std::array::from_fn(factor));
            city
        };
        let drivers = memo.snapshot.drivers.iter();
        let on_duty = drivers.filter(|driver| driver.online);
        ClosedLoop {
            on_duty: on_duty
                .map(|driver| (driver.driver_id.clone(), ()))
                .collect(),
            half_pickup: Seconds(old.dispatch.pickup_service_s / 2.0),
            old: city(old),
            new: city(new),
            orders: BTreeMap::new(),
            time_scale,
            comparison: Comparison::default(),
            happened: Tally::default(),
            by_old: Tally::default(),
            by_new: Tally::default(),
            cancelled: 0,
            told: Vec::new(),
        }
    }

    /// Something of the span that the lane heard.
    pub fn hear(&mut self, heard: &Heard, lane: &Rerun) {
        let now = at(heard.at);
        self.advance(now);
        match &heard.event {
            Event::Request(DriverAssignmentRequest::AssignmentRequested(event)) => {
                let order_id = OrderId(event.order_id);
                let Ok(mut request) = request(event) else {
                    return;
                };
                // The kitchen may have spoken first.
                if let Some(known) = lane.book().scheduler().request_of(order_id) {
                    (request.ready_at, request.ready_said_at) =
                        (known.ready_at, known.ready_said_at);
                }
                let order = Order::placed(request.placed_at, request.ready_at);
                self.orders.entry(order_id).or_insert(order);
                self.both(|city| city.requested(request.clone()));
            }
            Event::Request(DriverAssignmentRequest::AssignmentCancelled(event)) => {
                self.withdraw(event.order_id);
            }
            Event::Kitchen(event) => self.kitchen(event),
            Event::Driver(DriverEvent::DriverOnline(event)) => {
                let driver_id = DriverId::new(&*event.driver_id);
                let Ok(point) = units::point(&event.location) else {
                    return;
                };
                let shift_end = event.shift_ends_at.map(at);
                self.on_duty.insert(driver_id.clone(), ());
                self.both(|city| city.online(&driver_id, point, shift_end));
            }
            Event::Driver(DriverEvent::ShiftAnnounced(event)) => {
                // One that cannot be was rejected.
                if let Ok(shift) = announced_shift(event) {
                    let driver_id = DriverId::new(&*event.driver_id);
                    self.both(|city| city.announced(&driver_id, shift));
                }
            }
            Event::Driver(DriverEvent::DriverOffline(event)) => {
                let driver_id = DriverId::new(&*event.driver_id);
                self.both(|city| city.offline(&driver_id));
            }
            // What drivers do with orders follows from what the rules decide.
            Event::Driver(_) => {}
            Event::Location(event) => {
                let driver_id = DriverId::new(&*event.driver_id);
                if let Ok(point) = units::point(&event.location) {
                    self.both(|city| city.heard(&driver_id, point));
                }
            }
        }
        self.join();
    }

    /// The customer or the kitchen takes the order back.
    pub fn withdraw(&mut self, order_id: uuid::Uuid) {
        let order_id = OrderId(order_id);
        let order = self.orders.get_mut(&order_id);
        if let Some(order) = order.filter(|order| order.picked_up_at.is_none()) {
            (order.over, order.cancelled) = (true, true);
        }
        self.both(|city| city.withdrawn(order_id));
    }

    /// Kitchens also count after the span: its orders are still under way.
    pub fn kitchen(&mut self, event: &KitchenEvent) {
        let (order_id, ready_at, said) = match event {
            KitchenEvent::KitchenRejected(_) => return,
            KitchenEvent::PrepTimeChanged(event) => (event.order_id, event.ready_at, false),
            KitchenEvent::FoodReady(event) => (event.order_id, event.ready_at, true),
        };
        let (order_id, ready_at) = (OrderId(order_id), at(ready_at));
        if let Some(order) = self.orders.get_mut(&order_id) {
            order.ready_at = ready_at;
        }
        self.both(|city| city.ready(order_id, ready_at, said));
    }

    fn advance(&mut self, until: At) {
        self.both(|city| city.advance(until));
    }

    fn both(&mut self, mut act: impl FnMut(&mut City)) {
        act(&mut self.old);
        act(&mut self.new);
    }

    /// What really became of orders.
    pub fn happened(&mut self, facts: &[DriverAssignmentEvent]) {
        use DriverAssignmentEvent::{
            AssignmentFailed, DeliveryConfirmed, DriverAtRestaurant, PickupConfirmed,
        };
        let mut ended = Vec::new();
        for fact in facts {
            let order_id = OrderId(match fact {
                DriverAtRestaurant(fact) => fact.order_id,
                PickupConfirmed(fact) => fact.order_id,
                DeliveryConfirmed(fact) => fact.order_id,
                AssignmentFailed(fact) => fact.order_id,
                _ => continue,
            });
            let Some(order) = self.orders.get_mut(&order_id) else {
                continue;
            };
            match fact {
                DriverAtRestaurant(fact) => {
                    order.at_counter = Some(at(fact.arrived_at).plus(self.half_pickup));
                }
                PickupConfirmed(fact) => order.picked_up_at = Some(at(fact.picked_up_at)),
                DeliveryConfirmed(fact) => order.delivered_at = Some(at(fact.delivered_at)),
                _ => {}
            }
            if matches!(fact, DeliveryConfirmed(_) | AssignmentFailed(_)) {
                order.over = true;
                ended.push(order_id);
            }
        }
        self.join();
        for order_id in ended {
            self.settle(order_id);
        }
    }

    /// A decision about an order that the other policy would not have made so.
    pub fn changed(&mut self, compared: &Compared) {
        if let Some(order) = self.orders.get_mut(&OrderId(compared.order_id)) {
            order.compared.get_or_insert_with(|| compared.clone());
        }
    }

    /// Whether some order of the span is still under way somewhere.
    pub fn is_waiting(&self) -> bool {
        !self.orders.is_empty()
    }

    /// From here on drivers on duty stay: what their phones say is not followed beyond the span.
    pub fn close(&mut self) {
        self.both(City::keep_drivers);
    }

    /// Plays what is under way to its end.
    pub fn finish(&mut self, until: At) {
        self.both(|city| city.finish(until));
        self.join();
        let left: Vec<OrderId> = self.orders.keys().copied().collect();
        for order_id in left {
            self.tally(order_id);
        }
    }

    fn join(&mut self) {
        let mut known = Vec::new();
        for (order_id, fate) in self.old.take_fates() {
            if let Some(order) = self.orders.get_mut(&order_id) {
                order.old = Some(fate);
                known.push(order_id);
            }
        }
        for (order_id, fate) in self.new.take_fates() {
            if let Some(order) = self.orders.get_mut(&order_id) {
                order.new = Some(fate);
                known.push(order_id);
            }
        }
        for order_id in known {
            self.settle(order_id);
        }
    }

    fn settle(&mut self, order_id: OrderId) {
        let whole = |order: &Order| order.old.is_some() && order.new.is_some() && order.over;
        if self.orders.get(&order_id).is_some_and(whole) {
            self.tally(order_id);
        }
    }

    /// Goes on to an instant after the span.
    pub fn go_on(&mut self, now: At) {
        self.advance(now);
        self.join();
    }

    fn tally(&mut self, order_id: OrderId) {
        let Some(order) = self.orders.remove(&order_id) else {
            return;
        };
        let cancelled = |fate: &Option<Fate>| matches!(fate, Some(Fate::Cancelled));
        // One that was taken back in time everywhere tells nothing; nor does one that was under way in one world only when
        // it was taken back.
        if order.cancelled || cancelled(&order.old) || cancelled(&order.new) {
            self.cancelled += 1;
            return;
        }
        let scale = self.time_scale;
        let real = real_times(&order, scale);
        let (old, new) = (times(&order.old, scale), times(&order.new, scale));
        let under_way = !order.over;
        for (tally, times, fate, under_way) in [
            (&mut self.happened, &real, &None, under_way),
            (&mut self.by_old, &old, &order.old, false),
            (&mut self.by_new, &new, &order.new, false),
        ] {
            match times {
                Some(times) => {
                    tally.delivered += 1;
                    tally.times.add(times);
                }
                None if under_way => {}
                None => tally.undelivered += 1,
            }
            if let Some(Fate::Delivered(delivered)) = fate {
                let work = tally.work.entry(delivered.driver_id.clone()).or_default();
                work.orders += 1;
                work.busy_s += delivered.busy.0 * scale;
            }
        }
        self.comparison.add(order_id.0, old.as_ref(), new.as_ref());
        self.told.push(Told {
            order_id: order_id.0,
            placed_at: units::instant(order.placed_at),
            old_driver: driver(&order.old),
            new_driver: driver(&order.new),
            old,
            new,
            compared: order.compared,
        });
    }

    /// Orders that were settled since the last call.
    pub fn take_told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    /// The distributions: happened, old, new.
    pub fn distributions(&self) -> [&Distributions; 3] {
        [&self.happened.times, &self.by_old.times, &self.by_new.times]
    }

    pub fn answer(&self) -> Answer {
        let side = |tally: &Tally, simulated: bool| Side {
            delivered: tally.delivered,
            undelivered: tally.undelivered,
            times: tally.times.summary(),
            work: simulated.then(|| self.workload(tally)),
        };
        Answer {
            meaning: MEANING,
            orders: self.by_old.delivered + self.by_old.undelivered,
            cancelled: self.cancelled,
            happened: side(&self.happened, false),
            old: side(&self.by_old, true),
            new: side(&self.by_new, true),
            changes: self.comparison.changes(),
        }
    }

    fn workload(&self, tally: &Tally) -> Workload {
        let nobody = self
            .on_duty
            .keys()
            .filter(|id| !tally.work.contains_key(*id));
        let idle = nobody.map(|_| Work::default());
        let mut work: Vec<Work> = tally.work.values().copied().chain(idle).collect();
        work.sort_by_key(|work| work.orders);
        let drivers = work.len().max(1) as f64;
        let sum = |of: fn(&Work) -> f64| work.iter().map(of).fold(0.0, |sum, it| sum + it);
        let orders = sum(|work| f64::from(work.orders));
        let ranked = work.iter().zip(1..);
        let ranked: f64 = ranked
            .map(|(work, rank)| f64::from(rank) * f64::from(work.orders))
            .sum();
        Workload {
            drivers: work.len(),
            orders_mean: orders / drivers,
            orders_least: work.first().map_or(0, |work| work.orders),
            orders_most: work.last().map_or(0, |work| work.orders),
            busy_min_mean: sum(|work| work.busy_s) / 60.0 / drivers,
            // Mean absolute difference over twice the mean, by ranks.
            gini: match orders > 0.0 {
                true => 2.0 * ranked / (drivers * orders) - (drivers + 1.0) / drivers,
                false => 0.0,
            },
        }
    }
}

fn driver(fate: &Option<Fate>) -> Option<String> {
    match fate {
        Some(Fate::Delivered(delivered)) => Some(delivered.driver_id.to_string()),
        _ => None,
    }
}

fn times(fate: &Option<Fate>, scale: f64) -> Option<Times> {
    let Some(Fate::Delivered(it)) = fate else {
        return None;
    };
    let Delivered {
        placed_at,
        ready_at,
        at_counter,
        picked_up_at,
        delivered_at,
        ..
    } = it;
    Some(Times {
        click_to_door: delivered_at.since(*placed_at).0 * scale,
        food_wait: picked_up_at.since(*ready_at).0.max(0.0) * scale,
        driver_wait: picked_up_at.since(*at_counter).0.max(0.0) * scale,
    })
}

fn real_times(order: &Order, scale: f64) -> Option<Times> {
    let (delivered_at, picked_up_at) = (order.delivered_at?, order.picked_up_at?);
    let at_counter = order.at_counter.unwrap_or(picked_up_at);
    Some(Times {
        click_to_door: delivered_at.since(order.placed_at).0 * scale,
        food_wait: picked_up_at.since(order.ready_at).0.max(0.0) * scale,
        driver_wait: picked_up_at.since(at_counter).0.max(0.0) * scale,
    })
}
