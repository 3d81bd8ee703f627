//! Identities: of orders, restaurants, drivers and trips. Newtypes, so that one cannot be passed for another; all ordered, because decisions break their last
//! ties by identity and must not depend on the order of arrival.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OrderId(pub Uuid);

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A trip: what one driver does between two stretches of being free. Derived from its first order and that order's attempt, so that a replay names it alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TripId(pub Uuid);

impl TripId {
    /// The trip that begins with this attempt at this order.
    pub fn starting_with(order: OrderId, attempt: u32) -> TripId {
        TripId(Uuid::new_v5(&order.0, format!("trip/{attempt}").as_bytes()))
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
