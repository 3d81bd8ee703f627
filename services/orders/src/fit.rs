//! Whether a fact can be about the order it names: what does not fit is somebody's mistake, and moves nothing.

use runtime::Reject;

use crate::fact::{Fact, Said};
use crate::limit;
use crate::order::Order;

/// Whether a fact can be about this order.
pub fn belongs(fact: &Fact, order: &Order) -> Result<(), Reject> {
    let reject = |kind, message: String| Err(Reject::new(kind, message));
    if fact.geo != order.geo.as_str() {
        return reject(
            "geo_mismatch",
            format!("geo = {}: order {} is of {}", fact.geo, order.id, order.geo),
        );
    }
    match &fact.said {
        Said::PrepTimeChanged { restaurant_id, .. }
        | Said::FoodReady { restaurant_id, .. }
        | Said::KitchenRejected { restaurant_id, .. }
            if *restaurant_id != order.restaurant.id =>
        {
            let message = format!(
                "restaurant_id = {restaurant_id}: order {} is cooked by {}",
                order.id, order.restaurant.id
            );
            reject("restaurant_mismatch", message)
        }
        Said::PrepTimeChanged { ready_at, .. } | Said::FoodReady { ready_at, .. }
            if !limit::is_plausible(*ready_at) =>
        {
            reject(
                "implausible_instant",
                format!("ready_at = {ready_at}: not within 2000 to 2200"),
            )
        }
        Said::PaymentCaptured { amount } | Said::PaymentRefunded { amount }
            if *amount != order.total =>
        {
            let message = format!(
                "amount = {} {}: order {} costs {} {}",
                amount.amount_minor,
                amount.currency,
                order.id,
                order.total.amount_minor,
                order.total.currency
            );
            reject("amount_mismatch", message)
        }
        Said::DriverAssigned { attempt, .. }
        | Said::AssignmentReleased { attempt }
        | Said::AssignmentFailed { attempt, .. }
            if !(1..=limit::ATTEMPTS).contains(attempt) =>
        {
            reject(
                "attempt_out_of_range",
                format!("attempt = {attempt}: not within 1 to {}", limit::ATTEMPTS),
            )
        }
        _ => Ok(()),
    }
}

/// A meal is picked up and delivered by the driver who holds the order.
pub fn same_driver(said: Option<&Said>, order: &Order) -> Result<(), Reject> {
    let (
        Some(Said::PickupConfirmed { driver_id, .. } | Said::DeliveryConfirmed { driver_id, .. }),
        Some(holder),
    ) = (said, &order.driver_id)
    else {
        return Ok(());
    };
    if driver_id == holder {
        return Ok(());
    }
    let message = format!(
        "driver_id = {driver_id}: order {} is held by {holder}",
        order.id
    );
    Err(Reject::new("driver_mismatch", message))
}
