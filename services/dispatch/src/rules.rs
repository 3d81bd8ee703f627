//! What stays the same from tick to tick: settings, travel times, and the policy's reading of the tolerance.

use std::sync::Arc;

use crate::config::Config;
use crate::driver::Shift;
use crate::point::Place;
use crate::time::{At, Seconds};
use crate::travel::{Corrected, TravelTime};

#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub config: Config,
    /// Travel times as configured.
    pub model: Arc<dyn TravelTime>,
    /// The same as they are estimated in this tick: corrected by what was learned.
    pub travel: Arc<dyn TravelTime>,
    /// By how much.
    pub factor: f64,
    /// Slack at which a request is due in this tick, as the policy in force has it.
    pub tolerance: Seconds,
    /// The most that it can be in any.
    pub widest: Seconds,
    /// Since when positions have been followed without a gap: what was not heard before says nothing.
    pub listening_since: At,
}

impl Rules {
    pub fn tick(&self) -> Seconds {
        Seconds(self.config.tick_s)
    }

    /// Estimates go by this factor from now on; whether it is another one than before.
    pub fn correct(&mut self, factor: f64) -> bool {
        let news = factor != self.factor;
        if news {
            let model = self.model.clone();
            self.travel = Arc::new(Corrected { model, factor });
            self.factor = factor;
        }
        news
    }

    /// What such a distance may take at the worst, however estimates are corrected.
    pub fn slowest(&self, distance_m: f64, at: At) -> Seconds {
        self.model.seconds(distance_m, at) * self.config.correction.slowest()
    }

    pub fn eta(&self, from: Place, to: Place, at: At) -> Seconds {
        self.travel.eta(from, to, at)
    }

    /// The shift with the place where it begins.
    pub fn placed(&self, shift: Shift) -> Box<(Shift, Place)> {
        Box::new((shift, self.travel.place(shift.start)))
    }

    /// The last instant at which a position seen at `seen_at` still counts.
    pub fn heard_until(&self, seen_at: At) -> At {
        seen_at.plus(Seconds(self.config.location_ttl_s))
    }

    /// The instant after which a driver last heard at `seen_at` counts as gone, if there is one.
    pub fn vanishes_at(&self, seen_at: At) -> Option<At> {
        let patience = Seconds(self.config.vanish_after_s?);
        Some(self.silent_since(seen_at).plus(patience))
    }

    /// Since when we have rightly missed a driver last heard at `seen_at`.
    pub fn silent_since(&self, seen_at: At) -> At {
        seen_at.max(self.listening_since)
    }

    /// From a driver's setting out to his having the food, if it is ready: at the counter half the service after arriving.
    pub fn to_counter(&self, eta: Seconds) -> Seconds {
        eta + Seconds(self.config.pickup_service_s / 2.0)
    }
}
