//! `[assignment]` of the configuration: how each geo dispatches, checked at start.

use std::collections::BTreeMap;
use std::sync::Arc;

use contracts::GeoSpec;
use dispatch::{Policy, PolicySpec, Road, RoadConfig, Scheduler, Snapshot, TravelTime};
use runtime::ConfigError;
use serde::Deserialize;
use serde_json::Value;

/// `[assignment]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Which driver gets which due order: `{ name = "lookahead" }` (default), `{ name = "bundle" }`, which lets up to
    /// three orders of one restaurant share a trip, or one of the baselines `slack-greedy` and `fifo`. An unknown name
    /// ends the start.
    pub policy: PolicySpec,
    /// The scheduler's settings, each documented there. All in seconds of the world (see `time_scale`), but
    /// `location_ttl_s`, `vanish_after_s` and `tick_s`, which are the machine's.
    pub dispatch: dispatch::Config,
    /// How fast drivers are.
    pub travel: Travel,
    /// How many times faster than ours the world runs; above 0, default 1. Divides the world's durations and multiplies
    /// speeds, for demonstrations and load tests. Anything but 1 in production sends drivers at the wrong time.
    pub time_scale: f64,
    /// Shortest pause between two ticks of a geo, in milliseconds; default 20, at most 100. Longer: decisions come that
    /// much after they are due; shorter: more, smaller cycles.
    pub tick_ms: u32,
    /// How long a geo that was just taken over waits at most for the positions of the last `location_ttl_s` to be read
    /// before it decides, in milliseconds; default 5,000. Too short: the first orders go to whoever was heard first; too long:
    /// orders wait while positions cannot be read.
    pub warm_up_ms: u32,
    /// For how long orders that ended without a delivery are remembered, in hours; default 48. Shorter than the
    /// retention of the requests: a request that was withdrawn could come back to life when it is read again.
    pub tombstone_h: u32,
    /// What single geos do otherwise, by name.
    pub geos: BTreeMap<String, GeoConfig>,
}

/// `[assignment.geos.<name>]`; what is absent is as for all.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GeoConfig {
    pub policy: Option<PolicySpec>,
    pub tolerance_s: Option<f64>,
    pub widening: Option<dispatch::Widening>,
    pub correction: Option<dispatch::Correction>,
    pub travel: Option<Travel>,
}

/// `[assignment.travel]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Travel {
    /// Metres of street per metre of great circle; at least 1, default 1.35. Too low: drivers are sent late and food
    /// waits; too high: drivers wait.
    pub detour: f64,
    /// Speed over streets in km/h: one number, or 24 by local hour from midnight. Wrong in the same two directions.
    pub speed_kmh: Speed,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Speed {
    Constant(f64),
    ByHour([f64; 24]),
}

impl Default for Travel {
    fn default() -> Self {
        let road = RoadConfig::default();
        Self {
            detour: road.detour,
            speed_kmh: Speed::ByHour(road.speed_kmh),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            policy: PolicySpec::default(),
            dispatch: dispatch::Config::default(),
            travel: Travel::default(),
            time_scale: 1.0,
            tick_ms: 20,
            warm_up_ms: 5_000,
            tombstone_h: 48,
            geos: BTreeMap::new(),
        }
    }
}

impl Config {
    /// Refuses what no geo could work with, by field and value.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !(self.time_scale > 0.0 && self.time_scale.is_finite()) {
            return Err(invalid(
                "time_scale",
                self.time_scale,
                "must be a number above 0",
            ));
        }
        if !(1..=100).contains(&self.tick_ms) {
            return Err(invalid(
                "tick_ms",
                self.tick_ms,
                "must be between 1 and 100",
            ));
        }
        if self.tombstone_h == 0 {
            return Err(invalid(
                "tombstone_h",
                self.tombstone_h,
                "must be at least 1",
            ));
        }
        Ok(())
    }

    /// How this geo dispatches.
    pub fn rules(&self, geo: &GeoSpec) -> Result<GeoRules, ConfigError> {
        let own = self
            .geos
            .get(geo.name.as_str())
            .cloned()
            .unwrap_or_default();
        let mut dispatch = self.dispatch.clone();
        if let Some(tolerance_s) = own.tolerance_s {
            dispatch.tolerance_s = tolerance_s;
        }
        dispatch.widening = own.widening.unwrap_or(dispatch.widening);
        dispatch.correction = own.correction.unwrap_or(dispatch.correction);
        let world = [
            &mut dispatch.tolerance_s,
            &mut dispatch.widening_s,
            &mut dispatch.max_wait_s,
            &mut dispatch.cool_down_s,
            &mut dispatch.pickup_service_s,
            &mut dispatch.dropoff_service_s,
            &mut dispatch.correction.shortest_s,
        ];
        let limits = [&mut dispatch.offer_timeout_s, &mut dispatch.abandon_after_s];
        for duration in world.into_iter().chain(limits.into_iter().flatten()) {
            *duration /= self.time_scale;
        }
        dispatch.check().map_err(|error| {
            invalid(
                "dispatch",
                format!("{:?}", self.dispatch),
                error.to_string(),
            )
        })?;
        let travel = own.travel.as_ref().unwrap_or(&self.travel);
        let speed_kmh = match travel.speed_kmh {
            Speed::Constant(speed) => [speed; 24],
            Speed::ByHour(speeds) => speeds,
        };
        let road = RoadConfig {
            detour: travel.detour,
            speed_kmh: speed_kmh.map(|speed| speed * self.time_scale),
            time_zone: geo.time_zone.name().to_owned(),
        };
        let travel = Road::new(&road)
            .map_err(|error| invalid("travel", format!("{travel:?}"), error.to_string()))?;
        let policy = own.policy.as_ref().unwrap_or(&self.policy);
        let wrong = |problem: String| invalid("policy", format!("{policy:?}"), problem);
        policy.check().map_err(|error| wrong(error.to_string()))?;
        let policy = policy.sped_up(self.time_scale);
        Ok(GeoRules {
            parameters: parameters(&dispatch, &road, &policy),
            dispatch,
            travel: Arc::new(travel),
            policy: policy.build(),
        })
    }
}

fn invalid(field: &str, value: impl ToString, problem: impl Into<String>) -> ConfigError {
    ConfigError::invalid(format!("assignment.{field}"), value, problem)
}

/// The values in force by name, as ticks record them: a replay can be configured from them alone.
pub(crate) fn parameters(
    dispatch: &dispatch::Config,
    road: &RoadConfig,
    policy: &PolicySpec,
) -> BTreeMap<String, String> {
    let values = [
        ("dispatch", serde_json::to_value(dispatch)),
        ("travel", serde_json::to_value(road)),
        ("policy", serde_json::to_value(policy)),
    ];
    let mut parameters = BTreeMap::new();
    for (prefix, value) in values {
        name_all(prefix, value.unwrap_or_default(), &mut parameters);
    }
    parameters
}

/// Puts every value of an object under its path, `policy.plan.horizon_s`.
fn name_all(path: &str, value: Value, parameters: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                name_all(&format!("{path}.{name}"), value, parameters);
            }
        }
        Value::String(text) => _ = parameters.insert(path.to_owned(), text),
        value => _ = parameters.insert(path.to_owned(), value.to_string()),
    }
}

/// How a geo dispatches: what its scheduler is made from.
#[derive(Clone, Debug)]
pub struct GeoRules {
    pub dispatch: dispatch::Config,
    pub travel: Arc<dyn TravelTime>,
    pub policy: Arc<dyn Policy>,
    pub parameters: BTreeMap<String, String>,
}

impl GeoRules {
    pub fn scheduler(&self, snapshot: Snapshot) -> Scheduler {
        Scheduler::restore(
            self.dispatch.clone(),
            self.travel.clone(),
            self.policy.clone(),
            snapshot,
        )
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use contracts::Catalogue;

    use super::*;

    fn config(json: &str) -> Result<Config, serde_json::Error> {
        serde_json::from_str(json)
    }

    fn rules(config: &Config) -> Result<GeoRules, ConfigError> {
        let catalogue = Catalogue::embedded();
        config.validate()?;
        config.rules(&catalogue.geos()[0])
    }

    #[test]
    fn the_defaults_work_in_every_geo() {
        let config = config("{}").unwrap();
        config.validate().unwrap();
        for geo in Catalogue::embedded().geos() {
            let rules = config.rules(geo).unwrap();
            assert_eq!(rules.policy.id().name, "lookahead");
            assert_eq!(rules.parameters["dispatch.tolerance_s"], "120.0");
            assert_eq!(rules.parameters["dispatch.widening"], "none");
            assert_eq!(rules.parameters["travel.time_zone"], geo.time_zone.name());
            assert_eq!(rules.parameters["policy.name"], "lookahead");
        }
    }

    #[test]
    fn a_faster_world_has_shorter_durations_and_faster_drivers_but_the_same_machine() {
        let (usual, fast) = (
            config("{}").unwrap(),
            config(r#"{"time_scale": 60}"#).unwrap(),
        );
        let (usual, fast) = (rules(&usual).unwrap(), rules(&fast).unwrap());
        assert_eq!(fast.dispatch.tolerance_s, 2.0);
        assert_eq!(fast.dispatch.offer_timeout_s, Some(0.5));
        assert_eq!(fast.dispatch.location_ttl_s, usual.dispatch.location_ttl_s);
        let seconds = |rules: &GeoRules| rules.travel.seconds(1000.0, dispatch::At(0)).0;
        assert!((seconds(&usual) - 60.0 * seconds(&fast)).abs() < 1e-9);
    }

    #[test]
    fn a_geo_may_differ() {
        let name = Catalogue::embedded().geos()[0].name.to_string();
        let text = format!(
            r#"{{"geos": {{"{name}": {{"policy": {{"name": "fifo"}}, "tolerance_s": 60, "widening": "linear", "correction": {{"on": false}}, "travel": {{"speed_kmh": 18}}}}}}}}"#
        );
        let config = config(&text).unwrap();
        let rules = rules(&config).unwrap();
        assert_eq!(
            (rules.policy.id().name, rules.dispatch.tolerance_s),
            ("fifo", 60.0)
        );
        assert_eq!(rules.parameters["dispatch.widening"], "linear");
        assert_eq!(rules.parameters["dispatch.correction.on"], "false");
        assert_eq!(
            rules.travel.seconds(1000.0, dispatch::At(0)).0,
            1000.0 * 1.35 * 3.6 / 18.0
        );
    }

    #[test]
    fn wrong_values_are_refused_by_name() {
        for (text, field) in [
            (r#"{"time_scale": 0}"#, "assignment.time_scale = 0"),
            (r#"{"tick_ms": 101}"#, "assignment.tick_ms = 101"),
            (r#"{"tombstone_h": 0}"#, "assignment.tombstone_h = 0"),
            (
                r#"{"dispatch": {"max_attempts": 0}}"#,
                "max_attempts must be at least 1",
            ),
            (
                r#"{"dispatch": {"correction": {"most": 0.5}}}"#,
                "correction.most must be a number from 1 up, not 0.5",
            ),
            (
                r#"{"travel": {"detour": 0.5}}"#,
                "detour must be a number from 1 up, not 0.5",
            ),
            (
                r#"{"policy": {"name": "lookahead", "expect_s": -1}}"#,
                "expect_s must be 0 or more, not -1",
            ),
            (
                r#"{"policy": {"name": "bundle", "max_orders": 4}}"#,
                "max_orders must be 2 or 3, not 4",
            ),
        ] {
            let error = rules(&config(text).unwrap()).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
        for text in [r#"{"policy": {"name": "psychic"}}"#, r#"{"tolerance": 1}"#] {
            assert!(config(text).is_err(), "{text}");
        }
    }
}
