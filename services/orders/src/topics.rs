//! Names of the topics of a geo that orders writes to, built once.

use contracts::streams::{DriverAssignmentRequest, OrdersEvent, PaymentsRequest};
use contracts::{Geo, Topic};

#[derive(Clone, Debug)]
pub struct Topics {
    pub orders: String,
    pub payments: String,
    pub assignment: String,
}

impl Topics {
    pub fn of(geo: &Geo) -> Self {
        Self {
            orders: Topic::of::<OrdersEvent>(geo).to_string(),
            payments: Topic::of::<PaymentsRequest>(geo).to_string(),
            assignment: Topic::of::<DriverAssignmentRequest>(geo).to_string(),
        }
    }
}
