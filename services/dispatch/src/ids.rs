//! Identities: of orders, restaurants, drivers and trips. Newtypes, so that one cannot be passed for another; all ordered, because decisions break their last
//! ties by identity and must not depend on the order of arrival.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::time::At;

/// An order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OrderId(pub Uuid);

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A trip: what one driver does between two stretches of being free. Derived from its first order, its driver and its
/// instant, so that a replay names it alike; the order alone would not do, since it can leave a trip that goes on with others and begin one anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TripId(pub Uuid);

impl TripId {
    /// The trip that begins with this order for this driver at this instant.
    pub fn starting_with(order: OrderId, driver: &DriverId, at: At) -> TripId {
        let name = format!("trip/{}/{driver}", at.0);
        TripId(Uuid::new_v5(&order.0, name.as_bytes()))
    }
}

macro_rules! named {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn new(name: impl Into<Arc<str>>) -> Self {
                Self(name.into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

named! {
    /// A driver, as the driver apps name him; cloning costs a counter.
    DriverId
}
named! {
    /// A restaurant, as the checkout names it; orders of one restaurant may share a trip.
    RestaurantId
}
