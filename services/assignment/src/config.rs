//! `[assignment]` of the configuration: how each geo dispatches, checked at start.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;
use contracts::{Catalogue, GeoSpec};
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
    pub tick_ms: Option<u32>,
    pub tick_s: Option<f64>,
    pub tolerance_s: Option<f64>,
    pub widening: Option<dispatch::Widening>,
    pub widening_from: Option<f64>,
    pub widening_to: Option<f64>,
    pub widening_s: Option<f64>,
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
    /// Refuses what no geo could work with, and settings of a geo that is not in the catalogue, by field and value.
    pub fn validate(&self, catalogue: &Catalogue) -> Result<(), ConfigError> {
        if !(self.time_scale > 0.0 && self.time_scale.is_finite()) {
            return Err(invalid(
                "time_scale",
                self.time_scale,
                "must be a number above 0",
            ));
        }
        check_pause("tick_ms", self.tick_ms)?;
        let is_unknown = |name: &&String| catalogue.geo(name).is_err();
        if let Some(name) = self.geos.keys().find(is_unknown) {
            return Err(invalid("geos", name, "is not a geo of the catalogue"));
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

    fn of_geo(&self, geo: &GeoSpec) -> GeoConfig {
        let own = self.geos.get(geo.name.as_str());
        own.cloned().unwrap_or_default()
    }

    /// Shortest pause between two ticks of this geo that no message asks for.
    pub fn pause(&self, geo: &GeoSpec) -> Result<TimeDelta, ConfigError> {
        let tick_ms = self.of_geo(geo).tick_ms;
        if let Some(tick_ms) = tick_ms {
            check_pause(&format!("geos.{}.tick_ms", geo.name), tick_ms)?;
        }
        let tick_ms = tick_ms.unwrap_or(self.tick_ms);
        Ok(TimeDelta::milliseconds(i64::from(tick_ms)))
    }

    /// The scheduler's settings in this geo, as configured. An error names the section in which the value stands.
    fn dispatch(&self, geo: &GeoSpec) -> Result<dispatch::Config, ConfigError> {
        let own = self.of_geo(geo);
        let all = &self.dispatch;
        let merged = dispatch::Config {
            tick_s: own.tick_s.unwrap_or(all.tick_s),
            tolerance_s: own.tolerance_s.unwrap_or(all.tolerance_s),
            widening: own.widening.unwrap_or(all.widening),
            widening_from: own.widening_from.unwrap_or(all.widening_from),
            widening_to: own.widening_to.unwrap_or(all.widening_to),
            widening_s: own.widening_s.unwrap_or(all.widening_s),
            correction: own.correction.unwrap_or_else(|| all.correction.clone()),
            ..all.clone()
        };
        let of_geo = format!("geos.{}", geo.name);
        for (section, config) in [("dispatch", all), (&of_geo, &merged)] {
            config.check().map_err(|error| {
                let dispatch::ConfigError::OutOfRange { field, must, value } = error;
                invalid(
                    &format!("{section}.{field}"),
                    value,
                    format!("must be {must}"),
                )
            })?;
        }
        Ok(merged)
    }

    /// How this geo dispatches.
    pub fn rules(&self, geo: &GeoSpec) -> Result<GeoRules, ConfigError> {
        let own = self.of_geo(geo);
        let mut dispatch = self.dispatch(geo)?;
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
        let field = |name: &str, own: bool| match own {
            true => format!("geos.{}.{name}", geo.name),
            false => name.to_owned(),
        };
        let field_of_travel = field("travel", own.travel.is_some());
        let travel = Road::new(&road)
            .map_err(|error| invalid(&field_of_travel, format!("{travel:?}"), error.to_string()))?;
        let field_of_policy = field("policy", own.policy.is_some());
        let policy = own.policy.as_ref().unwrap_or(&self.policy);
        let wrong = |problem: String| invalid(&field_of_policy, format!("{policy:?}"), problem);
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

fn check_pause(field: &str, tick_ms: u32) -> Result<(), ConfigError> {
    if (1..=100).contains(&tick_ms) {
        Ok(())
    } else {
        Err(invalid(field, tick_ms, "must be between 1 and 100"))
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
    use super::*;

    fn config(json: &str) -> Result<Config, serde_json::Error> {
        serde_json::from_str(json)
    }

    fn rules(config: &Config) -> Result<GeoRules, ConfigError> {
        let catalogue = Catalogue::embedded();
        config.validate(&catalogue)?;
        config.rules(&catalogue.geos()[0])
    }

    #[test]
    fn the_defaults_work_in_every_geo() {
        let config = config("{}").unwrap();
        let catalogue = Catalogue::embedded();
        config.validate(&catalogue).unwrap();
        for geo in catalogue.geos() {
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
            r#"{{"geos": {{"{name}": {{"policy": {{"name": "fifo"}}, "tick_ms": 5, "tick_s": 0.5, "tolerance_s": 60, "widening": "linear", "widening_from": 2, "widening_to": 5, "widening_s": 90, "correction": {{"on": false}}, "travel": {{"speed_kmh": 18}}}}}}}}"#
        );
        let config = config(&text).unwrap();
        let catalogue = Catalogue::embedded();
        let (first, second) = (&catalogue.geos()[0], &catalogue.geos()[1]);
        let pauses = [first, second].map(|geo| config.pause(geo).unwrap().num_milliseconds());
        assert_eq!(pauses, [5, 20]);
        let others = config.rules(second).unwrap();
        assert_eq!(others.dispatch.tick_s, 1.0);
        assert_eq!(others.dispatch.widening_to, 3.0);
        let rules = rules(&config).unwrap();
        let dispatch = &rules.dispatch;
        assert_eq!(dispatch.tick_s, 0.5);
        assert_eq!(
            [
                dispatch.widening_from,
                dispatch.widening_to,
                dispatch.widening_s
            ],
            [2.0, 5.0, 90.0]
        );
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
            (
                r#"{"geos": {"berlin-mite": {"tick_ms": 5}}}"#,
                "assignment.geos = berlin-mite: is not a geo of the catalogue",
            ),
            (r#"{"tombstone_h": 0}"#, "assignment.tombstone_h = 0"),
            (
                r#"{"dispatch": {"max_attempts": 0}}"#,
                "assignment.dispatch.max_attempts = 0: must be at least 1",
            ),
            (
                r#"{"dispatch": {"correction": {"most": 0.5}}}"#,
                "assignment.dispatch.correction.most = 0.5: must be a number from 1 up",
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
        let catalogue = Catalogue::embedded();
        let geo = &catalogue.geos()[0];
        let name = &geo.name;
        for (own, problem) in [
            (r#""tick_ms": 0"#, "tick_ms = 0: must be between 1 and 100"),
            (r#""tick_s": 0"#, "tick_s = 0: must be at least 0.001"),
            (r#""widening_s": -1"#, "widening_s = -1: must be 0 or more"),
            (
                r#""widening_from": 3"#,
                "widening_to = 3: must be above widening_from",
            ),
            (
                r#""policy": {"name": "bundle", "max_orders": 4}"#,
                "policy = ",
            ),
            (r#""travel": {"detour": 0.5}"#, "travel = "),
        ] {
            let config = config(&format!(r#"{{"geos": {{"{name}": {{{own}}}}}}}"#)).unwrap();
            let error = config.rules(geo).map(drop);
            let error = error.and_then(|()| config.pause(geo).map(drop));
            let error = error.unwrap_err().to_string();
            let expected = format!("assignment.geos.{name}.{problem}");
            assert!(error.contains(&expected), "{error}");
        }
        for text in [r#"{"policy": {"name": "psychic"}}"#, r#"{"tolerance": 1}"#] {
            assert!(config(text).is_err(), "{text}");
        }
    }
}
