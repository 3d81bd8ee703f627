//! The city and its outside observer, as the demo runs them: the program `city`, and what it prints.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use toml::Table;

use super::{Options, platform};
use crate::stack::state::State;
use crate::workspace;

/// Orders of a generated city, unless said otherwise.
pub const ORDERS: usize = 60;

/// How each geo travels, as a section of the assignment's settings.
pub type Roads = BTreeMap<String, Table>;

/// The first geos of the catalogue.
pub fn geos(count: u8) -> Result<Vec<String>> {
    let file = workspace::root().join("schemas/geos.toml");
    let catalogue: Table = fs::read_to_string(file)?
        .parse()
        .context("schemas/geos.toml")?;
    let names = catalogue
        .get("geo")
        .and_then(toml::Value::as_array)
        .context("schemas/geos.toml: no [[geo]]")?;
    let name = |geo: &toml::Value| Some(geo.get("name")?.as_str()?.to_owned());
    names
        .iter()
        .take(count.into())
        .map(|geo| name(geo).context("schemas/geos.toml: a geo without name"))
        .collect()
}

/// How fast the city's drivers are at life's own speed, so that the scheduler estimates with the same roads.
pub fn roads(options: &Options, geos: &[String]) -> Result<Roads> {
    let mut command = Command::new(workspace::binary("city"));
    command
        .arg("travel")
        .args(["--geos", &geos.join(","), "--speed", "1"]);
    describe(options, &mut command);
    let output = command.output().context("start city")?;
    if !output.status.success() {
        bail!("city travel: {}", String::from_utf8_lossy(&output.stderr));
    }
    let roads: BTreeMap<String, Table> =
        serde_json::from_slice(&output.stdout).context("city travel")?;
    let wanted = |road: Table| {
        road.into_iter()
            .filter(|(field, _)| field == "detour" || field == "speed_kmh")
            .collect()
    };
    Ok(roads
        .into_iter()
        .map(|(geo, road)| (geo, wanted(road)))
        .collect())
}

/// Which city it is.
fn describe(options: &Options, command: &mut Command) {
    command.args(["--seed", &options.seed.to_string()]);
    if let Some(orders) = options.orders {
        command.args(["--orders", &orders.to_string()]);
    }
    if let Some(instance) = &options.instance {
        command.arg("--instance").arg(instance);
    }
}

/// Lets the city live to its end, showing how it goes; `every_second` may act on the platform. Says whether every order
/// ended.
pub fn live(
    options: &Options,
    state: &State,
    geos: &[String],
    mut every_second: impl FnMut(u64, &Value) -> Result<()>,
) -> Result<bool> {
    let mut command = Command::new(workspace::binary("city"));
    command.arg("run").args(stack(state)).args([
        "--geos",
        &geos.join(","),
        "--speed",
        &options.speed.to_string(),
    ]);
    describe(options, &mut command);
    command.args(options.world.city(options.orders.unwrap_or(ORDERS)));
    let mut city = command
        .stdout(Stdio::piped())
        .spawn()
        .context("start city")?;
    let lines = BufReader::new(city.stdout.take().context("the city's output is piped")?).lines();
    let mut shown = View::default();
    for (second, line) in lines.enumerate() {
        let line: Value = serde_json::from_str(&line?).context("a line of the city")?;
        shown.show(&line);
        if let Err(error) =
            platform::interrupted().and_then(|()| every_second(second as u64, &line))
        {
            _ = city.kill();
            city.wait()?;
            return Err(error);
        }
    }
    shown.end();
    Ok(city.wait()?.success())
}

/// What the outsider looks at besides the topics.
pub struct Observer<'a> {
    /// Base URL of the gateway, whose ledger is compared.
    pub gateway: &'a str,
    /// Greatest difference between partitions in orders accepted, where it is known.
    pub max_spread: Option<u64>,
    /// Whether the last line tells of cancellations and money as well.
    pub tell_all: bool,
}

/// Seconds for the last refunds and messages to arrive before a violation counts.
const SETTLE_S: &str = "60";

/// Has the outsider read everything back: its report, and whether all holds.
pub fn verify(state: &State, geos: &[String], observer: &Observer) -> Result<(String, bool)> {
    eprintln!("demo: reading all topics back");
    let mut command = Command::new(workspace::binary("city"));
    command
        .arg("verify")
        .args(stack(state))
        .args(["--geos", &geos.join(",")])
        .args(["--gateway", observer.gateway, "--settle-s", SETTLE_S]);
    if let Some(spread) = observer.max_spread {
        command.args(["--max-spread", &spread.to_string()]);
    }
    if observer.tell_all {
        command.arg("--tell-all");
    }
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .context("start city")?;
    Ok((String::from_utf8(output.stdout)?, output.status.success()))
}

fn stack(state: &State) -> [&str; 4] {
    ["--brokers", &state.kafka, "--registry", &state.registry]
}

/// One line that is rewritten on a terminal, and a line every five seconds elsewhere.
#[derive(Default)]
struct View {
    lines: u64,
}

impl View {
    fn show(&mut self, line: &Value) {
        let text = text(line);
        let mut out = std::io::stderr().lock();
        // A view that cannot be written changes nothing of what is shown.
        _ = if out.is_terminal() {
            write!(out, "\r\x1b[2K{text}").and_then(|()| out.flush())
        } else if self.lines.is_multiple_of(5) || line["done"] == true {
            writeln!(out, "{text}")
        } else {
            Ok(())
        };
        self.lines += 1;
    }

    fn end(&self) {
        if std::io::stderr().is_terminal() {
            eprintln!();
        }
    }
}

fn text(line: &Value) -> String {
    let number = |name: &str| line[name].as_f64().unwrap_or_default();
    let (placed, delivered) = (number("placed"), number("delivered"));
    let width = 20;
    let filled = if placed > 0.0 {
        (delivered / placed * f64::from(width)) as usize
    } else {
        0
    };
    let bar = format!(
        "{}{}",
        "#".repeat(filled),
        ".".repeat(width as usize - filled.min(width as usize))
    );
    let slack = &line["slack_at_pickup_s"];
    let slack = match slack["p50"].as_i64() {
        Some(p50) => format!(
            "slack at pickup {} / {p50} / {} s",
            slack["p10"], slack["p90"]
        ),
        None => "slack at pickup -".to_owned(),
    };
    format!(
        "{:>4.0} s [{bar}] placed {placed} accepted {} confirmed {} assigned {} picked up {} delivered {delivered} | drivers {}/{} busy | {slack}",
        number("elapsed_s"),
        number("accepted"),
        number("confirmed"),
        number("assigned"),
        number("picked_up"),
        number("busy"),
        number("drivers"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_view_names_every_stage_and_fills_its_bar_with_what_is_delivered() {
        let line = serde_json::json!({"elapsed_s": 3.0, "placed": 10, "delivered": 5, "slack_at_pickup_s": {"p10": -3, "p50": 1, "p90": 7}});
        let text = text(&line);
        assert!(text.contains("[##########..........]"), "{text}");
        assert!(
            text.contains("placed 10")
                && text.contains("delivered 5")
                && text.contains("-3 / 1 / 7 s"),
            "{text}"
        );
    }

    #[test]
    fn the_geos_of_the_demo_are_the_first_of_the_catalogue() {
        let (one, three) = (geos(1).unwrap(), geos(3).unwrap());
        assert_eq!((one.len(), three.len(), &one[0]), (1, 3, &three[0]));
    }
}
