//! The state of an order: its status and the three axes that move beside it (money, kitchen, search for a driver).

/// A fieldless enum with stable names: they are stored and published.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The inverse of [`Self::name`].
            pub fn of_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

named! {
    /// How far an order got.
    Status {
        /// Known, not yet accepted or rejected.
        Placed = "placed",
        /// Valid; its money has been asked for.
        PaymentPending = "payment_pending",
        /// Paid.
        Confirmed = "confirmed",
        DriverAssigned = "driver_assigned",
        PickedUp = "picked_up",
        Delivered = "delivered",
        Rejected = "rejected",
        PaymentFailed = "payment_failed",
        Cancelled = "cancelled",
        Undeliverable = "undeliverable",
    }
}

named! {
    /// Where the money is.
    Payment {
        Unasked = "unasked",
        Requested = "requested",
        Captured = "captured",
        Declined = "declined",
        RefundRequested = "refund_requested",
        Refunded = "refunded",
    }
}

named! {
    /// How far the kitchen got.
    Kitchen {
        Waiting = "waiting",
        Preparing = "preparing",
        Ready = "ready",
        Rejected = "rejected",
    }
}

named! {
    /// How far one attempt at finding a driver got, in the order in which it goes.
    Phase {
        /// To be asked for at a later time.
        Waiting = "waiting",
        /// Asked for.
        Sought = "sought",
        /// A driver holds the order.
        Held = "held",
        /// The driver gave it up.
        Released = "released",
        /// No driver was found.
        Failed = "failed",
    }
}

/// The search for a driver: the attempt and how far it got. Ordered, so that what is older than the known is stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Assignment {
    /// From 1; 0: none was asked for.
    pub attempt: u32,
    pub phase: Phase,
}

impl Assignment {
    pub const UNASKED: Self = Self {
        attempt: 0,
        phase: Phase::Waiting,
    };

    pub fn was_asked(self) -> bool {
        self.attempt > 0
    }
}

/// Everything that decides what an event means for an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub status: Status,
    pub payment: Payment,
    pub kitchen: Kitchen,
    pub assignment: Assignment,
}

impl State {
    /// An order of which nothing has been decided.
    pub const NEW: Self = Self {
        status: Status::Placed,
        payment: Payment::Unasked,
        kitchen: Kitchen::Waiting,
        assignment: Assignment::UNASKED,
    };
}

impl State {
    /// Whether nothing is left to do: the order ended, and so did the way of its money.
    pub fn is_settled(self) -> bool {
        self.status.is_final()
            && match self.payment {
                Payment::Unasked | Payment::Declined | Payment::Refunded => true,
                Payment::Captured => self.status == Status::Delivered,
                Payment::Requested | Payment::RefundRequested => false,
            }
    }
}

impl Status {
    /// Whether the order ended: no event changes this status any more.
    pub fn is_final(self) -> bool {
        match self {
            Self::Placed
            | Self::PaymentPending
            | Self::Confirmed
            | Self::DriverAssigned
            | Self::PickedUp => false,
            Self::Delivered
            | Self::Rejected
            | Self::PaymentFailed
            | Self::Cancelled
            | Self::Undeliverable => true,
        }
    }
}
