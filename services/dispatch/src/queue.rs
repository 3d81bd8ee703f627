//! The requests that wait, and when each must be looked at again.
//!
//! A request falls due at `ready_at - tolerance - eta(best free driver)`. That instant moves with every
//! driver, so it is not kept up to date; kept is a **rest**: a reason why the request cannot be due yet,
//! which names everything that could end it. A request that rests is not looked at. Each reason, and why
//! it is safe:
//!
//! - `Distant`: even a driver at the edge of its search radius would not make it due before the wake
//!   instant, at the slowest that travel may be estimated. Depends on no driver and no correction at all.
//! - `Counting(driver)`: with its nearest driver at eta `e` it falls due in `h` seconds. Other drivers
//!   who come nearer only postpone that, so only this one matters: until he is no candidate any more, or
//!   has moved so far that his eta may have grown by `h/2` (the triangle inequality, on his odometer),
//!   or `h/2` has passed, it is not due. Halving makes the number of looks logarithmic in `h`.
//! - `Stranded`: nobody may take it. Only a driver who becomes a candidate within its radius, or moves
//!   there, can change that; such a driver finds it in a spatial index of the stranded, which is why a
//!   ping costs nothing where nobody is stranded.
//! - `Held`: due, but the policy lets it wait; looked at every tick.
//! - `Near(driver)`: due as soon as pressure widens the tolerance (see `widening`), so looked at every tick, and when its
//!   nearest driver moves or is gone. For the rests above the tolerance is the widest that there can be.
//!
//! All rests end when the travel times change (the hour; but `Distant` when a correction does), when its own facts change, and at its expiry.
//! Rests are a cache: they decide when a request is looked at, never what is then seen.

use std::collections::BTreeSet;

use foldhash::HashMap;
use uuid::Uuid;

use crate::driver::{Driver, Reading};
use crate::fleet::{Candidate, Fleet, Stir};
use crate::ids::{DriverId, OrderId};
use crate::point::Place;
use crate::request::{Placed, Request};
use crate::rules::Rules;
use crate::spots::Spots;
use crate::time::{At, Seconds};

/// A waiting request with its places and its rest.
#[derive(Debug, Clone)]
pub struct Pending {
    pub request: Request,
    pub(crate) pickup: Place,
    pub(crate) dropoff: Place,
    rest: Option<(Rest, At)>,
}

/// Why a request cannot be due yet, apart from the instant at which it must be looked at anyway.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Rest {
    Distant,
    Counting { driver: DriverId, until: Reading },
    Stranded,
    Held,
    Near { driver: DriverId, until: Reading },
}

/// A request that is due for a free driver.
#[derive(Debug, Clone, PartialEq)]
pub struct Due {
    pub order_id: OrderId,
    /// With the nearest driver who may take it.
    pub slack: Seconds,
    pub ready_at: At,
    pub placed_at: At,
    pub nearest: DriverId,
    pub eta: Seconds,
}

pub(crate) enum Appraisal {
    Due(Due),
    Rests(Rest, At),
}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Looked up, and gone through where the order does not matter.
    pending: HashMap<OrderId, Pending>,
    /// The same by the instant at which their food is ready.
    by_ready: BTreeSet<(At, OrderId)>,
    by_placed: Placed,
    /// Resting requests by the instant at which they must be looked at.
    wakes: BTreeSet<(At, OrderId)>,
    /// Requests to be looked at in the next tick, whenever it is.
    stirred: BTreeSet<OrderId>,
    /// Requests that the policy lets wait; to be looked at in every tick, whenever it is.
    held: BTreeSet<OrderId>,
    stranded: Spots<OrderId>,
    /// No request ever had a wider search radius.
    widest_m: f64,
}

impl Queue {
    pub fn get(&self, order: OrderId) -> Option<&Pending> {
        self.pending.get(&order)
    }

    /// In the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Pending> {
        let mut pending: Vec<&Pending> = self.pending.values().collect();
        pending.sort_unstable_by_key(|pending| pending.request.order_id);
        pending.into_iter()
    }

    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// The first to be ready first.
    pub fn first_ready(&self) -> impl Iterator<Item = &Pending> {
        let orders = self.by_ready.iter();
        orders.filter_map(|(_, order)| self.pending.get(order))
    }

    /// In metres; no request has a wider search radius.
    pub fn widest_radius_m(&self) -> f64 {
        self.widest_m
    }

    /// The last that were placed, from this instant back.
    pub fn last_placed(&self, now: At) -> impl Iterator<Item = &Request> {
        let orders = self.by_placed.last(now);
        orders.filter_map(|order| self.get(order).map(|pending| &pending.request))
    }

    /// How many wait whose food is ready by then.
    pub fn ready_by(&self, at: At) -> usize {
        let end = (at, OrderId(Uuid::max()));
        self.by_ready.range(..=end).count()
    }

    pub fn stranded(&self) -> usize {
        self.stranded.len()
    }

    /// Adds a request, or replaces the one of the same order.
    pub fn insert(&mut self, request: Request, rules: &Rules, fleet: &mut Fleet) {
        let order = request.order_id;
        self.remove(order, fleet);
        self.by_ready.insert((request.ready_at, order));
        self.by_placed.insert(&request);
        self.widest_m = self.widest_m.max(request.search_radius_m);
        let (pickup, dropoff) = (
            rules.travel.place(request.restaurant),
            rules.travel.place(request.customer),
        );
        self.pending.insert(
            order,
            Pending {
                request,
                pickup,
                dropoff,
                rest: None,
            },
        );
        self.stirred.insert(order);
    }

    pub fn remove(&mut self, order: OrderId, fleet: &mut Fleet) -> Option<Request> {
        self.rouse(order, fleet);
        self.stirred.remove(&order);
        let request = self.pending.remove(&order)?.request;
        self.by_ready.remove(&(request.ready_at, order));
        self.by_placed.remove(&request);
        Some(request)
    }

    /// Changes a request's facts, after which it must be looked at if `change` says so.
    pub fn update(
        &mut self,
        order: OrderId,
        fleet: &mut Fleet,
        change: impl FnOnce(&mut Request) -> bool,
    ) -> Option<bool> {
        let request = &mut self.pending.get_mut(&order)?.request;
        let ready_at = request.ready_at;
        let changed = change(request);
        if ready_at != request.ready_at {
            self.by_ready.remove(&(ready_at, order));
            self.by_ready.insert((request.ready_at, order));
        }
        if changed {
            self.rouse(order, fleet);
        }
        Some(changed)
    }

    /// Ends a request's rest: the next tick looks at it.
    fn rouse(&mut self, order: OrderId, fleet: &mut Fleet) {
        let Some(pending) = self.pending.get_mut(&order) else {
            return;
        };
        let Some((rest, wake_at)) = pending.rest.take() else {
            return;
        };
        self.wakes.remove(&(wake_at, order));
        match rest {
            Rest::Counting { driver, until } => fleet.unwatch(&driver, until, order),
            Rest::Stranded => {
                self.stranded.remove(pending.pickup, order);
            }
            Rest::Held => {
                self.held.remove(&order);
            }
            Rest::Near { driver, until } => {
                self.held.remove(&order);
                fleet.unwatch(&driver, until, order);
            }
            Rest::Distant => {}
        }
        self.stirred.insert(order);
    }

    /// Ends the rests that estimates of travel times decided.
    pub fn rouse_near(&mut self, fleet: &mut Fleet) {
        let near = self.pending.values().filter(|pending| {
            let rest = pending.rest.as_ref();
            rest.is_some_and(|(rest, _)| *rest != Rest::Distant)
        });
        let near: Vec<OrderId> = near.map(|pending| pending.request.order_id).collect();
        for order in near {
            self.rouse(order, fleet);
        }
    }

    /// Ends the rests that a change of a driver ends.
    pub fn stir(&mut self, stir: Stir, rules: &Rules, fleet: &mut Fleet) {
        for order in stir.watchers {
            self.rouse(order, fleet);
        }
        let Some(stands) = stir.stands else { return };
        // A chord is shorter than its arc, so this sphere holds all that are within reach.
        let widest2 = self.widest_m * self.widest_m;
        let near = self.stranded.nearest(stands);
        let reached: Vec<OrderId> = near
            .take_while(|(_, chord2)| *chord2 <= widest2)
            .map(|(spot, _)| spot)
            .filter(|spot| {
                rules.travel.distance_m(stands, spot.place)
                    <= self.pending[&spot.who].request.search_radius_m
            })
            .map(|spot| spot.who)
            .collect();
        for order in reached {
            self.rouse(order, fleet);
        }
    }

    /// Lays a request to rest.
    pub fn rest(&mut self, order: OrderId, rest: Rest, wake_at: At, fleet: &mut Fleet) {
        self.rouse(order, fleet);
        let Some(pending) = self.pending.get_mut(&order) else {
            return;
        };
        self.stirred.remove(&order);
        match &rest {
            Rest::Counting { driver, until } => fleet.watch(driver, *until, order),
            Rest::Stranded => {
                self.stranded.insert(pending.pickup, order);
            }
            Rest::Held => {
                self.held.insert(order);
            }
            Rest::Near { driver, until } => {
                self.held.insert(order);
                fleet.watch(driver, *until, order);
            }
            Rest::Distant => {}
        }
        self.wakes.insert((wake_at, order));
        pending.rest = Some((rest, wake_at));
    }

    /// Ends the rests whose time has come and returns all requests to be looked at, by order id.
    pub fn awake(&mut self, now: At, fleet: &mut Fleet) -> Vec<OrderId> {
        let risen: Vec<OrderId> = self
            .wakes
            .iter()
            .take_while(|(at, _)| *at <= now)
            .map(|(_, order)| *order)
            .collect();
        for order in risen.into_iter().chain(std::mem::take(&mut self.held)) {
            self.rouse(order, fleet);
        }
        self.stirred.iter().copied().collect()
    }

    /// When the first rest ends by time; `At::MIN` when requests are to be looked at already.
    pub fn next_wake(&self) -> Option<At> {
        if self.stirred.is_empty() {
            self.wakes.first().map(|(at, _)| *at)
        } else {
            Some(At::MIN)
        }
    }

    /// Looks at a request: is it due, and if not, on what ground can it rest?
    pub fn appraise(&self, pending: &Pending, now: At, fleet: &Fleet, rules: &Rules) -> Appraisal {
        let request = &pending.request;
        let expiry = request
            .expires_at(&rules.config)
            .max(At(now.0.saturating_add(1)));
        let bound = rules.travel.changes_after(now).min(expiry);
        let edge = rules.slowest(request.search_radius_m, now);
        let earliest = request.due_at(rules.widest, edge);
        if now < earliest {
            return Appraisal::Rests(Rest::Distant, bound.min(earliest));
        }
        let Some((candidate, driver)) = fleet.nearest(pending, now, rules) else {
            let cooled = request
                .cooled
                .values()
                .copied()
                .filter(|until| *until > now)
                .min();
            return Appraisal::Rests(Rest::Stranded, bound.min(cooled.unwrap_or(At::MAX)));
        };
        let due_at = request.due_at(rules.tolerance, candidate.eta);
        if now >= due_at {
            return Appraisal::Due(Due {
                order_id: request.order_id,
                slack: request.slack(now, candidate.eta),
                ready_at: request.ready_at,
                placed_at: request.placed_at,
                nearest: candidate.driver_id,
                eta: candidate.eta,
            });
        }
        let widest_at = request.due_at(rules.widest, candidate.eta);
        if now >= widest_at {
            // Pressure may make it due at any tick.
            let near = Rest::Near {
                until: Reading::of(driver.odometer_m),
                driver: candidate.driver_id,
            };
            return Appraisal::Rests(near, bound.min(due_at).min(now.plus(rules.tick())));
        }
        let (rest, wake_at) = count_on(candidate, driver, widest_at, now, rules);
        Appraisal::Rests(rest, bound.min(wake_at))
    }
}

/// The rest of a request that counts on its nearest driver, and when it ends by time.
fn count_on(nearest: Candidate, driver: &Driver, due_at: At, now: At, rules: &Rules) -> (Rest, At) {
    // The last instant at which he may leave and still be in time for his shift's last pickup.
    let last_leave = |end: At| end.plus(Seconds::ZERO - rules.to_counter(nearest.eta));
    let leaves_by = driver.shift_end.map_or(At::MAX, last_leave);
    let room = due_at.min(leaves_by).since(now);
    let (give, reach_m) = if room > rules.tick() {
        let give = room / 2.0;
        // A hundredth is kept back for rounding.
        let reach = rules.travel.reach_m(nearest.eta + give * 0.99, now);
        (give, (reach - nearest.distance_m).max(0.0))
    } else {
        // Too little room to halve: sleep until the very instant, wake if he moves at all.
        (Seconds::ZERO, 0.0)
    };
    let gone = At(leaves_by.minus(give).0.saturating_add(1));
    let until = Reading::of(driver.odometer_m + reach_m);
    (
        Rest::Counting {
            driver: nearest.driver_id,
            until,
        },
        due_at.minus(give).min(gone),
    )
}
