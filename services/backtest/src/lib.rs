//! Dispatch policies measured on the public Meal Delivery Routing Problem instances.
//!
//! An instance is played in virtual time through the scheduler that also runs live, under the benchmark's rules. The
//! figures are comparable with published ones, and repeat bit for bit. No broker, no database, no clock: a day of a city
//! takes a fraction of a second.
//!
//! `Arguments::run` is the whole command; `swiftctl backtest` is its face.

mod agenda;
pub mod city;
mod command;
pub mod comparison;
pub mod export;
pub mod feasibility;
pub mod instance;
mod measures;
mod report;
mod results;
mod run;
mod simulate;
mod solution;
mod table;

pub use command::{Arguments, BacktestError};
pub use feasibility::Violation;
pub use instance::Instance;
pub use measures::{Delivery, Measures, deliveries};
pub use report::shadow_page;
pub use results::{InstanceResults, LEGEND, PolicyResults, Results};
pub use run::{Run, RunError, run};
pub use simulate::{Outcome, Tolerance, simulate};
pub use solution::{Drop, Solution, Trip};
pub use table::FileError;
