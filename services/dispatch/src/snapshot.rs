//! A scheduler as its tables have it.
//!
//! Nothing else needs to survive: a scheduler rebuilt from a snapshot and fed the pings of the last
//! location TTL decides what an uninterrupted one would, because all that a snapshot leaves out is when
//! requests are to be looked at again (all are, once) and positions too old to matter.

use serde::{Deserialize, Serialize};

use crate::driver::DriverRecord;
use crate::drives::Drives;
use crate::request::Request;
use crate::trip::Assignment;

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// `pending_assignments`
    pub pending: Vec<Request>,
    /// `assignments` that are not over.
    pub assignments: Vec<Assignment>,
    /// `drivers`; positions may be left out if pings bring them back.
    pub drivers: Vec<DriverRecord>,
    /// `drives`
    pub drives: Drives,
}
