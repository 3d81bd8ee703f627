//! A city in front of the services of a geo: orders, kitchens, drivers and their phones, an hour of it in a minute.

use std::time::Duration;

use city::{Plan, Run, Size, World, run};
use contracts::Catalogue;

use crate::platform::Platform;

/// Times faster than life.
pub const SPEED: f64 = 60.0;

/// Everything goes wrong now and then.
pub const ROUGH: World = World {
    bad_orders: 2,
    poison: 2,
    vanishing: 0.05,
    declines: 0.12,
    silence: 0.08,
    cancels: 0.10,
    kitchen_rejections: 0.05,
    delays: 0.20,
};

/// A city of this geo.
pub struct Town {
    plan: Plan,
    world: World,
}

impl Town {
    pub fn new(platform: &Platform, size: Size, world: World) -> Town {
        let catalogue = Catalogue::embedded();
        let plan = Plan::generate(catalogue.geo(&platform.geo).unwrap(), 7, size);
        Town { plan, world }
    }

    /// What assignment has to know of it: how fast time runs and how fast drivers are.
    pub fn assignment(&self) -> Vec<(String, String)> {
        let road = &self.plan.road;
        let speeds: Vec<String> = road.speed_kmh.iter().map(|it| format!("{it:?}")).collect();
        let set = |name: &str, value: String| (format!("ASSIGNMENT__{name}"), value);
        vec![
            set("TIME_SCALE", format!("{SPEED:?}")),
            set("TRAVEL__DETOUR", format!("{:?}", road.detour)),
            set("TRAVEL__SPEED_KMH", format!("[{}]", speeds.join(", "))),
            // A second of the machine would be a minute of this world.
            set("DISPATCH__TICK_S", "0.05".to_owned()),
            set("DISPATCH__VANISH_AFTER_S", "15.0".to_owned()),
            set("DISPATCH__ABANDON_AFTER_S", "3600.0".to_owned()),
        ]
    }

    /// Lives until every order has ended.
    pub async fn live(self, platform: &Platform) {
        let last = self.plan.last_placed_s();
        let outcome = run(
            Run {
                brokers: platform.stack.kafka.clone(),
                registry: platform.stack.registry.clone(),
                plans: vec![(self.plan, self.world)],
                speed: SPEED,
                seed: 7,
                deadline: Duration::from_secs_f64((last + 3.0 * 3_600.0) / SPEED + 60.0),
            },
            |_| {},
        )
        .await
        .unwrap();
        assert!(outcome.complete, "{outcome:?}");
    }
}
