//! How well an instance was served, in minutes unless a name says otherwise.
//!
//! Click-to-door and food wait are over delivered orders: compare policies at an equal share of undelivered ones, or by
//! `click_to_door_charged_mean`, which counts those too. A measure over nothing (no order delivered, no hour worked) is
//! not a number, `null` in JSON.

use dispatch::At;
use serde::Serialize;

use crate::instance::{Instance, minute_of, minutes};
use crate::solution::{Solution, Trip};

/// The measures of one instance, or their unweighted means over instances.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measures {
    /// Orders placed.
    pub orders: f64,
    pub delivered: f64,
    /// Share of orders never delivered, in percent.
    pub undelivered_pct: f64,
    /// Drop-off - placement.
    pub click_to_door_mean: f64,
    pub click_to_door_p50: f64,
    pub click_to_door_p90: f64,
    pub click_to_door_p99: f64,
    /// Over all orders, an undelivered one counted with the instance's maximum click-to-door.
    pub click_to_door_charged_mean: f64,
    /// Pickup - ready: how long food waits.
    pub ready_to_pickup_mean: f64,
    pub ready_to_pickup_p90: f64,
    pub ready_to_pickup_p99: f64,
    /// Per trip: pickup - (arrival + half the pickup service), how long a courier waits for food.
    pub courier_wait_mean: f64,
    /// Per trip: travel to the restaurant.
    pub first_mile_mean: f64,
    /// Time on trips (from setting out to being free, waiting included) per time on duty, overtime included; 0 to 1.
    pub utilisation: f64,
    /// Delivered orders per hour of shift.
    pub orders_per_courier_hour: f64,
    /// Dollars: what couriers are paid (per order, or the guaranteed pay for the shift if that is more) per delivered order.
    pub cost_per_order: f64,
    /// Share of delivered orders that shared a trip, in percent.
    pub bundled_pct: f64,
    /// Delivered orders of the courier who had the fewest, and of the one who had the most.
    pub orders_per_courier_min: f64,
    pub orders_per_courier_max: f64,
    /// How unevenly orders were spread over couriers, by Gini's coefficient: 0 when each had as many, towards 1 when one had
    /// all. Shifts of different length make some of it.
    pub orders_per_courier_gini: f64,
}

/// A delivered order's two figures that matter most, minutes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Delivery {
    pub click_to_door: f64,
    pub ready_to_pickup: f64,
}

/// The delivered orders, by trip.
pub fn deliveries(instance: &Instance, solution: &Solution) -> Vec<Delivery> {
    let of_trip = |trip: &Trip| -> Vec<Delivery> {
        let drops = trip.drops.iter().zip(trip.orders(instance));
        drops
            .map(|(drop, order)| Delivery {
                click_to_door: minutes(drop.dropoff_at.since(order.placed_at)),
                ready_to_pickup: minutes(trip.pickup_at.since(order.ready_at)),
            })
            .collect()
    };
    solution.trips.iter().flat_map(of_trip).collect()
}

impl Measures {
    pub fn of(instance: &Instance, solution: &Solution) -> Measures {
        let deliveries = deliveries(instance, solution);
        let click_to_door = Sample::new(deliveries.iter().map(|d| d.click_to_door));
        let ready_to_pickup = Sample::new(deliveries.iter().map(|d| d.ready_to_pickup));
        let travels: Vec<Travel> = solution
            .by_courier(instance)
            .iter()
            .enumerate()
            .flat_map(|(courier, trips)| travels(instance, courier, trips))
            .collect();
        let (orders, delivered) = (instance.orders.len() as f64, deliveries.len() as f64);
        let bundled = solution.trips.iter().filter(|trip| trip.drops.len() > 1);
        let bundled: usize = bundled.map(|trip| trip.drops.len()).sum();
        let charge = instance.parameters.maximum_click_to_door_min * (orders - delivered);
        let payroll = payroll(instance, solution);
        let per_courier = Sample::new(solution.by_courier(instance).iter().map(|trips| {
            let orders: usize = trips.iter().map(|trip| trip.drops.len()).sum();
            orders as f64
        }));
        Measures {
            orders,
            delivered,
            undelivered_pct: 100.0 * (orders - delivered) / orders,
            click_to_door_mean: click_to_door.mean(),
            click_to_door_p50: click_to_door.percentile(50.0),
            click_to_door_p90: click_to_door.percentile(90.0),
            click_to_door_p99: click_to_door.percentile(99.0),
            click_to_door_charged_mean: (click_to_door.sum() + charge) / orders,
            ready_to_pickup_mean: ready_to_pickup.mean(),
            ready_to_pickup_p90: ready_to_pickup.percentile(90.0),
            ready_to_pickup_p99: ready_to_pickup.percentile(99.0),
            courier_wait_mean: Sample::new(travels.iter().map(|t| t.wait)).mean(),
            first_mile_mean: Sample::new(travels.iter().map(|t| t.first_mile)).mean(),
            utilisation: travels.iter().map(|t| t.busy).sum::<f64>() / payroll.on_duty,
            orders_per_courier_hour: delivered / (payroll.shifts / 60.0),
            cost_per_order: payroll.dollars / delivered,
            bundled_pct: 100.0 * bundled as f64 / delivered,
            orders_per_courier_min: per_courier.percentile(0.0),
            orders_per_courier_max: per_courier.percentile(100.0),
            orders_per_courier_gini: per_courier.gini(),
        }
    }

    /// Every measure's mean over instances, each instance counting the same.
    pub fn mean(of: &[&Measures]) -> Measures {
        let mean =
            |measure: fn(&Measures) -> f64| Sample::new(of.iter().map(|m| measure(m))).mean();
        Measures {
            orders: mean(|m| m.orders),
            delivered: mean(|m| m.delivered),
            undelivered_pct: mean(|m| m.undelivered_pct),
            click_to_door_mean: mean(|m| m.click_to_door_mean),
            click_to_door_p50: mean(|m| m.click_to_door_p50),
            click_to_door_p90: mean(|m| m.click_to_door_p90),
            click_to_door_p99: mean(|m| m.click_to_door_p99),
            click_to_door_charged_mean: mean(|m| m.click_to_door_charged_mean),
            ready_to_pickup_mean: mean(|m| m.ready_to_pickup_mean),
            ready_to_pickup_p90: mean(|m| m.ready_to_pickup_p90),
            ready_to_pickup_p99: mean(|m| m.ready_to_pickup_p99),
            courier_wait_mean: mean(|m| m.courier_wait_mean),
            first_mile_mean: mean(|m| m.first_mile_mean),
            utilisation: mean(|m| m.utilisation),
            orders_per_courier_hour: mean(|m| m.orders_per_courier_hour),
            cost_per_order: mean(|m| m.cost_per_order),
            bundled_pct: mean(|m| m.bundled_pct),
            orders_per_courier_min: mean(|m| m.orders_per_courier_min),
            orders_per_courier_max: mean(|m| m.orders_per_courier_max),
            orders_per_courier_gini: mean(|m| m.orders_per_courier_gini),
        }
    }
}

/// A trip from its courier's side, minutes.
struct Travel {
    first_mile: f64,
    wait: f64,
    busy: f64,
}

fn travels(instance: &Instance, courier: usize, trips: &[&Trip]) -> Vec<Travel> {
    let half_service = instance.parameters.pickup_service_min / 2.0;
    let mut from = instance.couriers[courier].start;
    let mut travels = Vec::new();
    for trip in trips {
        let Some(restaurant) = trip.restaurant(instance) else {
            continue;
        };
        let first_mile = instance.travel_min(from, restaurant.location);
        let at_counter = minute_of(trip.departs_at) + first_mile + half_service;
        travels.push(Travel {
            first_mile,
            wait: minute_of(trip.pickup_at) - at_counter,
            busy: minutes(trip.free_at(instance).since(trip.departs_at)),
        });
        from = trip.ends(instance).unwrap_or(from);
    }
    travels
}

/// What couriers cost, in time (minutes) and money.
struct Payroll {
    shifts: f64,
    /// Shifts, and beyond them until the last trip is over.
    on_duty: f64,
    dollars: f64,
}

fn payroll(instance: &Instance, solution: &Solution) -> Payroll {
    let mut sum = Payroll {
        shifts: 0.0,
        on_duty: 0.0,
        dollars: 0.0,
    };
    for (courier, trips) in instance.couriers.iter().zip(solution.by_courier(instance)) {
        let shift = minutes(courier.off_at.since(courier.on_at));
        let last = trips.iter().map(|trip| trip.free_at(instance));
        let home: At = last.fold(courier.off_at, At::max);
        let orders: usize = trips.iter().map(|trip| trip.drops.len()).sum();
        let earned = instance.parameters.pay_per_order * orders as f64;
        let guaranteed = instance.parameters.guaranteed_pay_per_hour * shift / 60.0;
        sum.shifts += shift;
        sum.on_duty += minutes(home.since(courier.on_at));
        sum.dollars += earned.max(guaranteed);
    }
    sum
}

/// Numbers, sorted.
pub struct Sample(Vec<f64>);

impl Sample {
    pub fn new(numbers: impl Iterator<Item = f64>) -> Sample {
        let mut numbers: Vec<f64> = numbers.collect();
        numbers.sort_by(f64::total_cmp);
        Sample(numbers)
    }

    pub fn sum(&self) -> f64 {
        self.0.iter().sum()
    }

    pub fn mean(&self) -> f64 {
        self.sum() / self.0.len() as f64
    }

    /// Gini's coefficient: half the mean difference between any two of the numbers, per their mean.
    pub fn gini(&self) -> f64 {
        let count = self.0.len() as f64;
        let weighted = (1..)
            .zip(&self.0)
            .map(|(rank, number)| f64::from(rank) * number);
        2.0 * weighted.sum::<f64>() / (count * self.sum()) - (count + 1.0) / count
    }

    /// The value below which this share of the numbers lies: linear between the two nearest ranks, as in Hyndman and
    /// Fan's definition 7, which numpy and R take too.
    pub fn percentile(&self, percent: f64) -> f64 {
        let Some(last) = self.0.len().checked_sub(1) else {
            return f64::NAN;
        };
        let rank = percent / 100.0 * last as f64;
        let below = (rank.floor() as usize).min(last);
        let above = (below + 1).min(last);
        self.0[below] + (self.0[above] - self.0[below]) * (rank - below as f64)
    }
}
