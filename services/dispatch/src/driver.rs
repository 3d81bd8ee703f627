//! A driver: on duty or not, where last seen, on which trip; and, beside these facts, the scheduler's
//! bookkeeping of who is counting on him.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::ids::{DriverId, OrderId, TripId};
use crate::point::{Place, Point};
use crate::time::At;
use crate::trip::LastDrop;

/// What is known of a driver apart from his trip; what `drivers` stores, the position excepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriverRecord {
    pub driver_id: DriverId,
    pub online: bool,
    /// Event time of the last online or offline.
    pub duty_at: At,
    /// No pickup after this instant, if it is known.
    pub shift_end: Option<At>,
    /// Since when he has no trip (while he has none).
    pub free_since: At,
    /// Last position; soft state, `None` until a ping of the last seconds brings it back.
    pub position: Option<Point>,
    /// Event time of that position, or of his having left this geo.
    pub seen_at: Option<At>,
    /// His last delivery on the trip that he is on, if there was one.
    pub last_drop: Option<LastDrop>,
    /// The shift that he will work next, if it is known.
    pub next_shift: Option<Shift>,
}

/// A shift that was announced: where and when it begins, and when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Shift {
    pub begins: At,
    pub ends: At,
    pub start: Point,
}

/// What a driver can be asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum DriverStatus {
    Offline,
    /// Has no trip. A candidate as long as he is heard.
    Free {
        since: At,
    },
    /// Under way; the estimate says when and where he will be free.
    Busy {
        trip: TripId,
        free_at: At,
        free_where: Point,
    },
}

#[derive(Debug, Clone)]
pub(crate) struct Driver {
    pub id: DriverId,
    pub online: bool,
    pub duty_at: At,
    pub shift_end: Option<At>,
    pub free_since: At,
    pub trip: Option<TripId>,
    /// Where that trip ends: the door of its last order.
    pub bound_for: Option<Place>,
    /// When he should be there and done, as estimated; of use only while he has a trip.
    pub free_at: At,
    pub position: Option<(Point, Place)>,
    pub seen_at: At,
    /// With the place where it begins. Few have one.
    pub next_shift: Option<Box<(Shift, Place)>>,
    /// Bookkeeping from here on: none of it changes a decision.
    /// Whether he is in the index of candidates; where his position is.
    pub indexed: bool,
    /// Whether an entry of the fleet's queue says when to look whether he has fallen silent.
    pub hearing: bool,
    /// The same for having vanished with an order.
    pub checking: bool,
    /// Metres moved while in the index. Never shrinks, so a distance to him taken at one reading is at
    /// most longer by the difference at another.
    pub odometer_m: f64,
    /// Requests that sleep because he is near, by the odometer reading at which they must look again.
    pub watchers: BTreeSet<(Reading, OrderId)>,
}

impl Driver {
    pub fn unknown(id: DriverId) -> Driver {
        Driver {
            id,
            online: false,
            duty_at: At::MIN,
            shift_end: None,
            free_since: At::MIN,
            trip: None,
            bound_for: None,
            free_at: At::MAX,
            position: None,
            seen_at: At::MIN,
            next_shift: None,
            indexed: false,
            hearing: false,
            checking: false,
            odometer_m: 0.0,
            watchers: BTreeSet::new(),
        }
    }

    /// Where he can be fetched from: on duty, without a trip, and seen in this geo.
    pub fn available(&self) -> Option<Place> {
        let (_, place) = self.position?;
        (self.online && self.trip.is_none()).then_some(place)
    }

    /// His place in the index of candidates, while he is in it.
    pub fn stands(&self) -> Option<Place> {
        let (_, place) = self.position?;
        self.indexed.then_some(place)
    }

    /// Where he starts once his trip is over or his next shift begins, if he is not available now.
    pub fn starts_later(&self) -> Option<Place> {
        match self.trip {
            Some(_) => self.bound_for.filter(|_| self.online),
            None if self.online => None,
            None => self.next_shift.as_deref().map(|(_, place)| *place),
        }
    }

    /// Begins a trip that ends there; when, is for the fleet to be told.
    pub fn set_out(&mut self, trip: TripId, bound_for: Option<Place>) {
        self.trip = Some(trip);
        self.bound_for = bound_for;
        self.free_at = At::MAX;
    }

    pub fn record(&self, last_drop: Option<LastDrop>) -> DriverRecord {
        DriverRecord {
            driver_id: self.id.clone(),
            online: self.online,
            duty_at: self.duty_at,
            shift_end: self.shift_end,
            free_since: self.free_since,
            position: self.position.map(|(point, _)| point),
            seen_at: (self.seen_at > At::MIN).then_some(self.seen_at),
            last_drop,
            next_shift: self.next_shift.as_deref().map(|(shift, _)| *shift),
        }
    }
}

/// A reading of an odometer, in metres, that can be a key: readings are never negative and never NaN,
/// and the bits of such numbers sort as the numbers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reading(u64);

impl Reading {
    pub fn of(metres: f64) -> Reading {
        Reading(metres.max(0.0).to_bits())
    }
}
