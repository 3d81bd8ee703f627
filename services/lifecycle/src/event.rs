//! What can happen to an order, stripped of everything that does not decide its fate.

/// A fact or a request about one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The order was placed and is valid.
    Accepted,
    /// The order was placed and is not valid.
    Invalid,
    /// Somebody wants it cancelled.
    CancelRequested,
    /// The money was taken.
    PaymentCaptured,
    /// The money was not taken and will not be.
    PaymentDeclined,
    /// The money could not be taken in the time that was given, and will not be.
    PaymentExpired,
    /// Whether the money was taken is still unknown at the instant after which it is no longer wanted.
    PaymentDelayed,
    /// The money was given back.
    PaymentRefunded,
    /// A driver holds the order.
    DriverAssigned { attempt: u32 },
    /// The driver of that attempt no longer holds it; it competes for another one.
    AssignmentReleased { attempt: u32 },
    /// That attempt found no driver; `last`: and there will be no other.
    AssignmentFailed { attempt: u32, last: bool },
    /// The time to ask for a driver again has come.
    AssignmentDue,
    /// The driver took the meal.
    PickupConfirmed,
    /// The customer got it.
    DeliveryConfirmed,
    /// The food will be ready at another time.
    PrepTimeChanged,
    /// The food is ready.
    FoodReady,
    /// The restaurant will not cook it.
    KitchenRejected,
}
