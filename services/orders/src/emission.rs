//! The records that an order's transition sends out: which topic, and what they say.
//!
//! Every id is derived from the order's new version, so what is emitted again after a crash is the same event.

use chrono::{DateTime, TimeDelta, Utc};
use contracts::driver_assignment::{
    AssignmentCancelled, AssignmentRequested, FailureReason, ItemCount, WithdrawalReason,
};
use contracts::orders::{
    Actor, CancelRefusal, OrderAccepted, OrderCancelRefused, OrderCancelled, OrderConfirmed,
    OrderDelivered, OrderDriverAssigned, OrderPaymentFailed, OrderPickedUp, OrderRejected,
    OrderUndeliverable, RejectionReason,
};
use contracts::payments::{DeclineReason, PaymentRequested, RefundReason, RefundRequested};
use contracts::streams::{DriverAssignmentRequest, OrdersEvent, PaymentsRequest};
use contracts::value::Place;
use contracts::{Geo, Record};
use lifecycle::{Effect, Kitchen, Payment, Refusal, Status};
use runtime::Trace;
use uuid::Uuid;

use crate::decide::Policy;
use crate::fact::Said;
use crate::order::Order;

/// Why the system cancels an order whose payment expired.
const UNPAID_IN_TIME: &str = "the payment could not be taken in time";

/// A record to publish, with the order's own partition and key.
#[derive(Clone, Debug)]
pub struct Emission {
    pub order_id: Uuid,
    pub geo: Geo,
    pub partition: i32,
    pub trace: Trace,
    pub body: Body,
}

/// By topic.
#[derive(Clone, Debug, PartialEq)]
#[allow(
    clippy::large_enum_variant,
    reason = "boxing would cost an allocation per record"
)]
pub enum Body {
    Orders(OrdersEvent),
    Payments(PaymentsRequest),
    Assignment(DriverAssignmentRequest),
}

/// What made an order move.
pub struct Cause<'a> {
    pub event_id: Uuid,
    pub said: Option<&'a Said>,
    /// What is wrong with an order that was placed.
    pub reasons: &'a [RejectionReason],
}

/// Makes the records of one transition, from the order as it is after it.
pub struct Emitter<'a> {
    pub policy: &'a Policy,
    pub now: DateTime<Utc>,
    pub order: &'a Order,
    pub cause: &'a Cause<'a>,
    pub trace: &'a Trace,
}

/// A record of an event: the envelope that all of them share, then fields of its own.
macro_rules! event {
    ($self:ident, $name:ident { $($field:ident: $value:expr),* $(,)? }) => {
        Body::Orders(OrdersEvent::$name($name {
            event_id: $self.event_id::<$name>(1),
            occurred_at: $self.now,
            geo: $self.order.geo.to_string(),
            correlation_id: $self.cause.event_id.into(),
            order_id: $self.order.id,
            order_version: $self.order.version,
            customer: $self.order.customer_contact(),
            restaurant: $self.order.restaurant_contact(),
            $($field: $value),*
        }))
    };
}

impl Emitter<'_> {
    /// The record of an effect; none for those that only concern the order itself.
    pub fn emit(&self, effect: Effect) -> Option<Emission> {
        let body = match effect {
            Effect::PublishAccepted => self.accepted(),
            Effect::PublishRejected => event!(
                self,
                OrderRejected {
                    reasons: self.cause.reasons.to_vec()
                }
            ),
            Effect::PublishConfirmed => self.confirmed(),
            Effect::PublishPaymentFailed => self.payment_failed(),
            Effect::PublishDriverAssigned => self.driver_assigned(),
            Effect::PublishPickedUp => self.picked_up(),
            Effect::PublishDelivered => self.delivered(),
            Effect::PublishCancelled => self.cancelled(),
            Effect::PublishUndeliverable => self.undeliverable(),
            Effect::RequestPayment => {
                Body::Payments(PaymentsRequest::PaymentRequested(self.payment()))
            }
            Effect::RequestRefund => {
                Body::Payments(PaymentsRequest::RefundRequested(self.refund()))
            }
            Effect::RequestAssignment => Body::Assignment(
                DriverAssignmentRequest::AssignmentRequested(self.assignment()),
            ),
            Effect::CancelAssignment => Body::Assignment(
                DriverAssignmentRequest::AssignmentCancelled(self.withdrawal()),
            ),
            Effect::MoveReadyAt | Effect::ScheduleAssignment => return None,
        };
        Some(self.emission(body))
    }

    /// The answer to a cancellation that comes too late.
    pub fn refuse(&self, refusal: Refusal) -> Emission {
        let requested_by = match self.cause.said {
            Some(Said::CancelRequested { by, .. }) => *by,
            Some(Said::KitchenRejected { .. }) => Actor::Restaurant,
            _ => Actor::Unknown,
        };
        let reason = match refusal {
            Refusal::AlreadyPickedUp => CancelRefusal::AlreadyPickedUp,
            Refusal::AlreadyDelivered => CancelRefusal::AlreadyDelivered,
        };
        self.emission(event!(
            self,
            OrderCancelRefused {
                requested_by: requested_by,
                reason: reason
            }
        ))
    }

    fn emission(&self, body: Body) -> Emission {
        let Order { id, partition, .. } = *self.order;
        let (geo, trace) = (self.order.geo.clone(), self.trace.clone());
        Emission {
            order_id: id,
            geo,
            partition,
            trace,
            body,
        }
    }

    fn event_id<R: Record>(&self, attempt: u32) -> Uuid {
        contracts::event_id(self.order.id, self.order.version, R::NAME, attempt)
    }

    fn accepted(&self) -> Body {
        let Order {
            items,
            total,
            placed_at,
            ready_at,
            ..
        } = self.order;
        let (items, total) = (items.clone(), total.clone());
        event!(
            self,
            OrderAccepted {
                items: items,
                total: total,
                placed_at: *placed_at,
                ready_at: *ready_at
            }
        )
    }

    fn confirmed(&self) -> Body {
        let Order {
            items,
            total,
            placed_at,
            ready_at,
            ..
        } = self.order;
        let (items, total) = (items.clone(), total.clone());
        event!(
            self,
            OrderConfirmed {
                items: items,
                total: total,
                placed_at: *placed_at,
                ready_at: *ready_at
            }
        )
    }

    fn payment_failed(&self) -> Body {
        let (reason, message) = match self.cause.said {
            Some(Said::PaymentDeclined { reason, message }) => (*reason, message.clone()),
            _ => (DeclineReason::Unknown, None),
        };
        event!(
            self,
            OrderPaymentFailed {
                reason: reason,
                message: message,
                total: self.order.total.clone()
            }
        )
    }

    fn driver_assigned(&self) -> Body {
        let Order {
            expected_pickup_at,
            expected_delivery_at,
            ..
        } = *self.order;
        event!(
            self,
            OrderDriverAssigned {
                driver_id: self.driver(),
                expected_pickup_at: expected_pickup_at,
                expected_delivery_at: expected_delivery_at,
            }
        )
    }

    fn picked_up(&self) -> Body {
        event!(
            self,
            OrderPickedUp {
                driver_id: self.driver(),
                picked_up_at: self.order.picked_up_at.unwrap_or(self.now),
                expected_delivery_at: self.order.expected_delivery_at,
            }
        )
    }

    fn delivered(&self) -> Body {
        let order = self.order;
        event!(
            self,
            OrderDelivered {
                driver_id: self.driver(),
                total: order.total.clone(),
                placed_at: order.placed_at,
                ready_at: order.ready_at,
                picked_up_at: order.picked_up_at,
                delivered_at: order.delivered_at.unwrap_or(self.now),
            }
        )
    }

    fn cancelled(&self) -> Body {
        let (cancelled_by, reason) = match self.cause.said {
            Some(Said::CancelRequested { by, reason }) => (*by, reason.clone()),
            Some(Said::KitchenRejected { reason, .. }) => (Actor::Restaurant, reason.clone()),
            Some(Said::PaymentDeclined { .. }) => (Actor::System, Some(UNPAID_IN_TIME.to_owned())),
            _ => (Actor::Unknown, None),
        };
        let refund = self.is_refunded().then(|| self.order.total.clone());
        let driver_id = self.order.driver_id.clone();
        event!(
            self,
            OrderCancelled {
                cancelled_by: cancelled_by,
                reason: reason,
                refund: refund,
                driver_id: driver_id,
            }
        )
    }

    fn undeliverable(&self) -> Body {
        let reason = match self.cause.said {
            Some(Said::AssignmentFailed { reason, .. }) => *reason,
            _ => FailureReason::Unknown,
        };
        let refund = self.is_refunded().then(|| self.order.total.clone());
        event!(
            self,
            OrderUndeliverable {
                reason: reason,
                refund: refund
            }
        )
    }

    fn payment(&self) -> PaymentRequested {
        let patience = TimeDelta::from_std(self.policy.payment_expires).ok();
        PaymentRequested {
            event_id: self.event_id::<PaymentRequested>(1),
            occurred_at: self.now,
            geo: self.order.geo.to_string(),
            order_id: self.order.id,
            order_version: self.order.version,
            attempt: 1,
            customer_id: self.order.customer.id.clone(),
            amount: self.order.total.clone(),
            payment_method: self.order.payment_method.clone(),
            expires_at: patience.and_then(|patience| self.now.checked_add_signed(patience)),
        }
    }

    fn refund(&self) -> RefundRequested {
        let reason = match self.order.state {
            state if state.kitchen == Kitchen::Rejected => RefundReason::KitchenRejected,
            state if state.status == Status::Undeliverable => RefundReason::Undeliverable,
            _ => RefundReason::OrderCancelled,
        };
        RefundRequested {
            event_id: self.event_id::<RefundRequested>(1),
            occurred_at: self.now,
            geo: self.order.geo.to_string(),
            order_id: self.order.id,
            order_version: self.order.version,
            attempt: 1,
            amount: self.order.total.clone(),
            reason,
        }
    }

    fn assignment(&self) -> AssignmentRequested {
        let order = self.order;
        let attempt = order.state.assignment.attempt;
        let count = |item: &contracts::orders::OrderItem| ItemCount {
            id: item.id.clone(),
            quantity: item.quantity,
        };
        AssignmentRequested {
            event_id: self.event_id::<AssignmentRequested>(attempt),
            occurred_at: self.now,
            geo: order.geo.to_string(),
            order_id: order.id,
            order_version: order.version,
            attempt: i32::try_from(attempt).unwrap_or(i32::MAX),
            restaurant: Place {
                id: order.restaurant.id.clone(),
                location: order.restaurant.location.clone(),
            },
            customer_location: order.customer.location.clone(),
            placed_at: order.placed_at,
            ready_at: order.ready_at,
            prep_total_s: order.prep_total_s,
            items: order.items.iter().map(count).collect(),
            search_radius_m: self.policy.search_radius_m,
        }
    }

    fn withdrawal(&self) -> AssignmentCancelled {
        let rejected = self.order.state.kitchen == Kitchen::Rejected;
        AssignmentCancelled {
            event_id: self.event_id::<AssignmentCancelled>(1),
            occurred_at: self.now,
            geo: self.order.geo.to_string(),
            order_id: self.order.id,
            order_version: self.order.version,
            reason: if rejected {
                WithdrawalReason::KitchenRejected
            } else {
                WithdrawalReason::OrderCancelled
            },
        }
    }

    fn driver(&self) -> String {
        self.order.driver_id.clone().unwrap_or_default()
    }

    fn is_refunded(&self) -> bool {
        matches!(
            self.order.state.payment,
            Payment::RefundRequested | Payment::Refunded
        )
    }
}
