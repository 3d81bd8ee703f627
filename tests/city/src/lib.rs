//! A city that lives: checkout, kitchens, drivers and their phones, against the real topics with real clients.
//!
//! Two halves that share nothing but the topics. The city ([`City`], [`run`]) plays everybody who is not one of the
//! services, many times faster than life; its decisions are pure and repeat from a seed. The verification ([`verify`])
//! is an outside consumer: it reads everything back, decodes it by the registry's schemas alone, and says what does
//! not hold. Costs: a wall-clock second and a half to verify the 22 topics of a geo with few records; an id per record
//! and a little per order is held in memory.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod city;
mod clock;
mod driver;
mod emission;
mod generate;
mod geometry;
mod instance;
mod plan;
mod progress;
mod run;
pub mod verify;
mod world;

pub use city::{City, Seen};
pub use clock::Clock;
pub use emission::{Content, Emission, Encoded, Trace};
pub use generate::Size;
pub use plan::{Courier, Order, Plan, Restaurant};
pub use progress::{Progress, Summary};
pub use run::{Line, Outcome, Run, run};
pub use world::World;
