//! What a message about an order says, whatever topic it came on: its fate-deciding part and the details to remember.

use chrono::{DateTime, Utc};
use contracts::driver_assignment::FailureReason;
use contracts::orders::{Actor, OrderCancelRequested};
use contracts::payments::DeclineReason;
use contracts::streams::{DriverAssignmentEvent, KitchenEvent, PaymentsEvent};
use contracts::value::Money;
use lifecycle::Event;
use uuid::Uuid;

use crate::limit;
use crate::order::storable;

/// A fact or a request about an order.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    pub order_id: Uuid,
    pub event_id: Uuid,
    pub occurred_at: DateTime<Utc>,
    /// As written; it has to be the order's.
    pub geo: String,
    pub said: Said,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    CancelRequested {
        by: Actor,
        reason: Option<String>,
    },
    PaymentCaptured {
        amount: Money,
    },
    PaymentDeclined {
        reason: DeclineReason,
        message: Option<String>,
    },
    PaymentRefunded {
        amount: Money,
    },
    DriverAssigned {
        attempt: i32,
        driver_id: String,
        expected_pickup_at: Option<DateTime<Utc>>,
        expected_delivery_at: Option<DateTime<Utc>>,
    },
    DriverAtRestaurant,
    /// Its driver is gone with the meal: somebody looks for him, the order goes on until assignment gives it up.
    DriverMissing,
    AssignmentReleased {
        attempt: i32,
    },
    AssignmentFailed {
        attempt: i32,
        reason: FailureReason,
        retry_after_s: i32,
        last: bool,
    },
    PickupConfirmed {
        driver_id: String,
        picked_up_at: DateTime<Utc>,
    },
    DeliveryConfirmed {
        driver_id: String,
        delivered_at: DateTime<Utc>,
    },
    PrepTimeChanged {
        restaurant_id: String,
        ready_at: DateTime<Utc>,
    },
    FoodReady {
        restaurant_id: String,
        ready_at: DateTime<Utc>,
    },
    KitchenRejected {
        restaurant_id: String,
        reason: Option<String>,
    },
}

impl Said {
    /// What it means for the order's fate; `None`: nothing.
    pub fn event(&self) -> Option<Event> {
        let attempt = |attempt: i32| u32::try_from(attempt).unwrap_or_default();
        Some(match self {
            Self::CancelRequested { .. } => Event::CancelRequested,
            Self::PaymentCaptured { .. } => Event::PaymentCaptured,
            Self::PaymentDeclined {
                reason: DeclineReason::Expired,
                ..
            } => Event::PaymentExpired,
            Self::PaymentDeclined { .. } => Event::PaymentDeclined,
            Self::PaymentRefunded { .. } => Event::PaymentRefunded,
            Self::DriverAssigned { attempt: n, .. } => Event::DriverAssigned {
                attempt: attempt(*n),
            },
            Self::DriverAtRestaurant | Self::DriverMissing => return None,
            Self::AssignmentReleased { attempt: n } => Event::AssignmentReleased {
                attempt: attempt(*n),
            },
            Self::AssignmentFailed {
                attempt: n, last, ..
            } => Event::AssignmentFailed {
                attempt: attempt(*n),
                last: *last,
            },
            Self::PickupConfirmed { .. } => Event::PickupConfirmed,
            Self::DeliveryConfirmed { .. } => Event::DeliveryConfirmed,
            Self::PrepTimeChanged { .. } => Event::PrepTimeChanged,
            Self::FoodReady { .. } => Event::FoodReady,
            Self::KitchenRejected { .. } => Event::KitchenRejected,
        })
    }

    /// Its kind and who said it, for the audit.
    pub fn kind_and_actor(&self) -> (&'static str, &'static str) {
        match self {
            Self::CancelRequested { by, .. } => ("OrderCancelRequested", by.symbol()),
            Self::PaymentCaptured { .. } => ("PaymentCaptured", "payments"),
            Self::PaymentDeclined { .. } => ("PaymentDeclined", "payments"),
            Self::PaymentRefunded { .. } => ("PaymentRefunded", "payments"),
            Self::DriverAssigned { .. } => ("DriverAssigned", "assignment"),
            Self::DriverAtRestaurant => ("DriverAtRestaurant", "assignment"),
            Self::DriverMissing => ("DriverMissing", "assignment"),
            Self::AssignmentReleased { .. } => ("AssignmentReleased", "assignment"),
            Self::AssignmentFailed { .. } => ("AssignmentFailed", "assignment"),
            Self::PickupConfirmed { .. } => ("PickupConfirmed", "assignment"),
            Self::DeliveryConfirmed { .. } => ("DeliveryConfirmed", "assignment"),
            Self::PrepTimeChanged { .. } => ("PrepTimeChanged", "kitchen"),
            Self::FoodReady { .. } => ("FoodReady", "kitchen"),
            Self::KitchenRejected { .. } => ("KitchenRejected", "kitchen"),
        }
    }

    /// In their own words, if there are any.
    pub fn words(&self) -> Option<&str> {
        match self {
            Self::CancelRequested { reason, .. } | Self::KitchenRejected { reason, .. } => {
                reason.as_deref()
            }
            Self::PaymentDeclined { reason, .. } => Some(reason.symbol()),
            Self::AssignmentFailed { reason, .. } => Some(reason.symbol()),
            _ => None,
        }
    }

    /// Whether it may rightly be heard of before the order: kitchens and customers do not wait for us.
    pub fn may_be_early(&self) -> bool {
        matches!(
            self,
            Self::CancelRequested { .. }
                | Self::PrepTimeChanged { .. }
                | Self::FoodReady { .. }
                | Self::KitchenRejected { .. }
        )
    }
}

/// Fills the envelope of a [`Fact`] from a record that has one.
macro_rules! fact {
    ($record:ident, $said:expr) => {
        Fact {
            order_id: $record.order_id,
            event_id: $record.event_id,
            occurred_at: limit::nearest_instant($record.occurred_at),
            geo: id($record.geo),
            said: $said,
        }
    };
}

impl From<OrderCancelRequested> for Fact {
    fn from(record: OrderCancelRequested) -> Self {
        let said = Said::CancelRequested {
            by: record.requested_by,
            reason: words(record.reason),
        };
        fact!(record, said)
    }
}

impl From<PaymentsEvent> for Fact {
    fn from(event: PaymentsEvent) -> Self {
        match event {
            PaymentsEvent::PaymentCaptured(record) => {
                fact!(
                    record,
                    Said::PaymentCaptured {
                        amount: record.amount
                    }
                )
            }
            PaymentsEvent::PaymentDeclined(record) => {
                let message = words(record.message);
                fact!(
                    record,
                    Said::PaymentDeclined {
                        reason: record.reason,
                        message
                    }
                )
            }
            PaymentsEvent::PaymentRefunded(record) => {
                fact!(
                    record,
                    Said::PaymentRefunded {
                        amount: record.amount
                    }
                )
            }
        }
    }
}

impl From<DriverAssignmentEvent> for Fact {
    fn from(event: DriverAssignmentEvent) -> Self {
        match event {
            DriverAssignmentEvent::DriverAssigned(record) => {
                let said = Said::DriverAssigned {
                    attempt: record.attempt,
                    driver_id: id(record.driver_id),
                    expected_pickup_at: record.expected_pickup_at.map(limit::nearest_instant),
                    expected_delivery_at: record.expected_delivery_at.map(limit::nearest_instant),
                };
                fact!(record, said)
            }
            DriverAssignmentEvent::AssignmentReleased(record) => {
                fact!(
                    record,
                    Said::AssignmentReleased {
                        attempt: record.attempt
                    }
                )
            }
            DriverAssignmentEvent::AssignmentFailed(record) => {
                let said = Said::AssignmentFailed {
                    attempt: record.attempt,
                    reason: record.reason,
                    retry_after_s: record.retry_after_s.unwrap_or_default(),
                    last: record.r#final,
                };
                fact!(record, said)
            }
            DriverAssignmentEvent::DriverAtRestaurant(record) => {
                fact!(record, Said::DriverAtRestaurant)
            }
            DriverAssignmentEvent::DriverMissing(record) => fact!(record, Said::DriverMissing),
            DriverAssignmentEvent::PickupConfirmed(record) => {
                let picked_up_at = limit::nearest_instant(record.picked_up_at);
                fact!(
                    record,
                    Said::PickupConfirmed {
                        driver_id: id(record.driver_id),
                        picked_up_at
                    }
                )
            }
            DriverAssignmentEvent::DeliveryConfirmed(record) => {
                let delivered_at = limit::nearest_instant(record.delivered_at);
                fact!(
                    record,
                    Said::DeliveryConfirmed {
                        driver_id: id(record.driver_id),
                        delivered_at
                    }
                )
            }
        }
    }
}

impl From<KitchenEvent> for Fact {
    fn from(event: KitchenEvent) -> Self {
        match event {
            KitchenEvent::KitchenRejected(record) => {
                let (restaurant_id, reason) = (id(record.restaurant_id), words(record.reason));
                fact!(
                    record,
                    Said::KitchenRejected {
                        restaurant_id,
                        reason
                    }
                )
            }
            KitchenEvent::PrepTimeChanged(record) => {
                let (restaurant_id, ready_at) = (id(record.restaurant_id), record.ready_at);
                fact!(
                    record,
                    Said::PrepTimeChanged {
                        restaurant_id,
                        ready_at
                    }
                )
            }
            KitchenEvent::FoodReady(record) => {
                let (restaurant_id, ready_at) = (id(record.restaurant_id), record.ready_at);
                fact!(
                    record,
                    Said::FoodReady {
                        restaurant_id,
                        ready_at
                    }
                )
            }
        }
    }
}

fn words(text: Option<String>) -> Option<String> {
    text.map(|mut text| {
        storable(&mut text, limit::WORDS);
        text
    })
}

fn id(mut id: String) -> String {
    storable(&mut id, limit::ID);
    id
}
