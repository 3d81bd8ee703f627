//! The lifecycle of an order as one total function: [`apply`] maps every (state, event) to what follows.
//!
//! Guarantees, each tested over all reachable states:
//! - An order ends once: `delivered`, `rejected`, `payment_failed`, `cancelled` and `undeliverable` are never left.
//! - Money is asked for at most once, given back at most once, and never kept for an order that ended undelivered: a
//!   capture that arrives after the end is refunded.
//! - Facts of different topics may overtake each other. A later fact implies the earlier ones, and what then comes
//!   late is stale; only what each topic says in itself has to be in order.
//! - Repetitions are stale.
//!
//! Pure: no clock, no ids, no I/O. Times, amounts and names belong to the caller, who performs the [`Effects`].

mod effect;
mod event;
mod outcome;
mod state;
mod transition;

pub use effect::{Effect, Effects};
pub use event::Event;
pub use outcome::{Contradiction, Outcome, Refusal, Staleness, Transition};
pub use state::{Assignment, Kitchen, Payment, Phase, State, Status};
pub use transition::apply;
