//! What the caller has to do when an order moves.

/// One thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Effect {
    PublishAccepted,
    PublishRejected,
    PublishConfirmed,
    PublishPaymentFailed,
    PublishDriverAssigned,
    PublishPickedUp,
    PublishDelivered,
    PublishCancelled,
    PublishUndeliverable,
    /// The kitchen's time of the event is the order's now.
    MoveReadyAt,
    /// Ask for the money.
    RequestPayment,
    /// Give all of it back.
    RequestRefund,
    /// Ask for a driver, with the attempt of the new state.
    RequestAssignment,
    /// Ask again at the time the event names: bring [`Event::AssignmentDue`](crate::Event::AssignmentDue) then.
    ScheduleAssignment,
    /// No driver is wanted any more; one who holds the order is released.
    CancelAssignment,
}

impl Effect {
    pub const ALL: [Self; 15] = [
        Self::PublishAccepted,
        Self::PublishRejected,
        Self::PublishConfirmed,
        Self::PublishPaymentFailed,
        Self::PublishDriverAssigned,
        Self::PublishPickedUp,
        Self::PublishDelivered,
        Self::PublishCancelled,
        Self::PublishUndeliverable,
        Self::MoveReadyAt,
        Self::RequestPayment,
        Self::RequestRefund,
        Self::RequestAssignment,
        Self::ScheduleAssignment,
        Self::CancelAssignment,
    ];
}

/// A set of effects, performed in the order in which [`Effect`] declares them. No allocation: orders are many.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Effects(u16);

impl Effects {
    pub const NONE: Self = Self(0);

    pub const fn of(effects: &[Effect]) -> Self {
        let mut bits = 0;
        let mut index = 0;
        while index < effects.len() {
            bits |= 1 << effects[index] as u16;
            index += 1;
        }
        Self(bits)
    }

    #[must_use]
    pub fn and_if(self, condition: bool, effect: Effect) -> Self {
        if condition {
            Self(self.0 | 1 << effect as u16)
        } else {
            self
        }
    }

    pub fn contains(self, effect: Effect) -> bool {
        self.0 & 1 << effect as u16 != 0
    }

    pub fn iter(self) -> impl Iterator<Item = Effect> {
        Effect::ALL
            .into_iter()
            .filter(move |effect| self.contains(*effect))
    }
}

impl std::fmt::Debug for Effects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
