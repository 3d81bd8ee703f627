//! A driver and the phone: where they are, and what orders they carry.

use contracts::driver_assignment::DriverAssigned;
use contracts::value::Point;
use dispatch::At;
use rand_chacha::ChaCha8Rng;
use uuid::Uuid;

use crate::emission::Trace;
use crate::geometry::between;

/// One driver of a city.
#[derive(Clone, Debug)]
pub(crate) struct Driver {
    pub id: String,
    /// Where he stands when he does not move.
    pub place: Point,
    pub on_duty: bool,
    pub off_at: At,
    /// From when on he can set out again: he may still be at the last customer's door.
    pub free_at: At,
    pub job: Option<Job>,
    /// Offers, and the traces they came with, that were read while the last trip was not over.
    pub next: Vec<(DriverAssigned, Option<u128>)>,
    /// Counts jobs and their ends, so that what was scheduled for an earlier one is recognised.
    pub turn: u32,
    /// When he will not be heard any more.
    pub doom: Option<Doom>,
    /// He is not heard any more.
    pub gone: bool,
    pub rng: ChaCha8Rng,
}

/// At which moment of his first trip a driver's phone falls silent for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doom {
    OnTheWay,
    WithTheMeal,
}

/// A trip: one order, or several of one restaurant.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// The name of a trip of several.
    pub trip: Option<Uuid>,
    pub restaurant: Point,
    /// In the order of delivery.
    pub orders: Vec<Carried>,
    pub leg: Leg,
}

/// An order in a driver's hands.
#[derive(Clone, Debug)]
pub(crate) struct Carried {
    pub order_id: Uuid,
    pub order_version: i32,
    pub trace: Trace,
    pub customer: Point,
    /// Its place among the trip's deliveries.
    pub position: i32,
}

/// How far the driver has come with them.
#[derive(Clone, Debug)]
pub(crate) enum Leg {
    /// The offer is on the phone's screen.
    Offered,
    ToRestaurant(Drive),
    /// At the counter since then; `asked`: and would take the meals if they were ready.
    AtRestaurant {
        since: At,
        asked: bool,
    },
    /// To the first of those who have not got theirs.
    ToCustomer(Drive),
}

impl Job {
    pub fn holds(&self, order: Uuid) -> bool {
        self.orders.iter().any(|carried| carried.order_id == order)
    }

    /// Puts an order where its turn is.
    pub fn add(&mut self, order: Carried) {
        let place = self
            .orders
            .partition_point(|other| other.position <= order.position);
        self.orders.insert(place, order);
    }
}

/// A way driven in one go.
#[derive(Clone, Debug)]
pub(crate) struct Drive {
    pub from: Point,
    pub to: Point,
    pub depart: At,
    pub arrive: At,
}

impl Drive {
    /// Where the driver is at that instant.
    pub fn position(&self, now: At) -> Point {
        let (whole, gone) = (self.arrive.since(self.depart).0, now.since(self.depart).0);
        if whole <= 0.0 {
            self.to.clone()
        } else {
            between(&self.from, &self.to, gone / whole)
        }
    }
}

impl Driver {
    /// Where the phone says he is.
    pub fn position(&self, now: At) -> Point {
        match self.job.as_ref().map(|job| &job.leg) {
            Some(Leg::ToRestaurant(drive) | Leg::ToCustomer(drive)) => drive.position(now),
            Some(Leg::Offered | Leg::AtRestaurant { .. }) | None => self.place.clone(),
        }
    }

    /// Ends the job where he is now.
    pub fn let_go(&mut self, now: At) {
        self.place = self.position(now);
        self.job = None;
        self.turn += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_is_halfway_after_half_the_time_and_never_beyond_the_end() {
        let (from, to) = (Point { lat: 0.0, lon: 0.0 }, Point { lat: 1.0, lon: 2.0 });
        let drive = Drive {
            from: from.clone(),
            to: to.clone(),
            depart: At(10),
            arrive: At(30),
        };
        assert_eq!(drive.position(At(20)), Point { lat: 0.5, lon: 1.0 });
        assert_eq!((drive.position(At(5)), drive.position(At(99))), (from, to));
    }
}
