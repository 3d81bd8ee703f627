//! What has to hold.

use serde::Serialize;

/// A statement about everything that stands on the topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// Every order placed has an end.
    Ended,
    /// No order has two ends.
    EndedOnce,
    /// No end, and no acceptance, of an order that nobody placed.
    Placed,
    /// No event id twice on a topic.
    EventOnce,
    /// No order is accepted, confirmed, picked up or delivered twice, under whatever event id.
    StepOnce,
    /// No recipient gets the same message about the same event twice over the same channel.
    NotifiedOnce,
    /// The versions of an order never go down within a topic.
    VersionOrder,
    /// All messages that our services write about an order stand on one partition number.
    OnePartition,
    /// No driver is on two trips at once, and none has more than three orders on one.
    OneTripPerDriver,
    /// A confirmed order was charged once, and none twice.
    ChargedOnce,
    /// Every payment that was asked for was captured or declined.
    PaymentAnswered,
    /// What payments says was captured and refunded for an order is what the gateway's ledger says, where it is known.
    Ledger,
    /// What was charged and not delivered was given back, once; what was delivered was not.
    Refunded,
    /// The registry knows the schema, the schema reads the payload, and the catalogue has the record on that topic.
    Contract,
    /// The headers are there and say what the payload says.
    Headers,
    /// The Kafka key and the geo are those of the payload.
    KeyAndGeo,
    /// All messages about an order belong to the trace that its checkout began.
    OneTrace,
    /// What nobody could read is a dead letter, once.
    DeadLettered,
    /// Accepted orders are spread evenly over a geo's partitions.
    Spread,
}

impl Check {
    pub const ALL: [Self; 19] = [
        Self::Ended,
        Self::EndedOnce,
        Self::Placed,
        Self::EventOnce,
        Self::StepOnce,
        Self::NotifiedOnce,
        Self::VersionOrder,
        Self::OnePartition,
        Self::OneTripPerDriver,
        Self::ChargedOnce,
        Self::PaymentAnswered,
        Self::Ledger,
        Self::Refunded,
        Self::Contract,
        Self::Headers,
        Self::KeyAndGeo,
        Self::OneTrace,
        Self::DeadLettered,
        Self::Spread,
    ];

    /// As the table says it.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Ended => "every order placed ended",
            Self::EndedOnce => "no order ended twice",
            Self::Placed => "no order came from nowhere",
            Self::EventOnce => "no event twice on a topic",
            Self::StepOnce => "no step of an order twice",
            Self::NotifiedOnce => "no notification twice",
            Self::VersionOrder => "versions of an order in order",
            Self::OnePartition => "one partition number per order",
            Self::OneTripPerDriver => "no driver on two trips at once",
            Self::ChargedOnce => "every confirmed order charged once",
            Self::PaymentAnswered => "every payment captured or declined",
            Self::Ledger => "money as in the gateway's ledger",
            Self::Refunded => "refunds where due, and only there",
            Self::Contract => "every payload under a known contract",
            Self::Headers => "headers present and true",
            Self::KeyAndGeo => "keys and geos true",
            Self::OneTrace => "one trace per order",
            Self::DeadLettered => "unreadable messages dead-lettered once",
            Self::Spread => "orders spread evenly over partitions",
        }
    }
}
