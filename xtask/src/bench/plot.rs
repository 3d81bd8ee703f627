//! The plot of BENCHMARKS.md: bars in SVG, with a mark where the goal is.

use std::fmt::Write as _;

use super::goals::amount;
use super::results::Results;

const WIDTH: f64 = 760.0;
const LABEL: f64 = 270.0;
const BAR: f64 = 18.0;
const GAP: f64 = 6.0;
const TITLE: f64 = 34.0;
/// What a tuned Kafka Streams application (exactly_once_v2, RocksDB, warm JVM) did of the same path, on two shared cores.
const STREAMS: f64 = 6_100.0;

struct Bar {
    label: String,
    figure: f64,
    goal: Option<f64>,
}

struct Panel {
    title: &'static str,
    bars: Vec<Bar>,
}

/// Panels of what was measured.
pub fn svg(results: &Results) -> String {
    let panels = [throughput(results), latency(results), growth(results)];
    let panels: Vec<&Panel> = panels
        .iter()
        .filter(|panel| !panel.bars.is_empty())
        .collect();
    let bars: usize = panels.iter().map(|panel| panel.bars.len()).sum();
    let height = panels.len() as f64 * (TITLE + 10.0) + bars as f64 * (BAR + GAP) + 10.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    let mut y = 0.0;
    for panel in panels {
        y = draw(panel, y, &mut svg);
    }
    svg + "</svg>\n"
}

fn throughput(results: &Results) -> Panel {
    let bar = |label: &str, path, goal| {
        let figure = results.number(path)?;
        Some(Bar {
            label: label.to_owned(),
            figure,
            goal: Some(goal),
        })
    };
    let ours = [
        bar(
            "the four processors",
            "/drain/orders_per_cpu_second_processors",
            2.0 * STREAMS,
        ),
        bar(
            "with PostgreSQL counted in",
            "/drain/orders_per_cpu_second_with_postgres",
            STREAMS,
        ),
    ];
    let mut bars: Vec<Bar> = ours.into_iter().flatten().collect();
    if !bars.is_empty() {
        let label = "Kafka Streams with RocksDB, for comparison".to_owned();
        bars.push(Bar {
            label,
            figure: STREAMS,
            goal: None,
        });
    }
    Panel {
        title: "Orders per CPU second while a backlog is worked off (mark: goal, at least)",
        bars,
    }
}

fn latency(results: &Results) -> Panel {
    let mut bars = Vec::new();
    for run in results.list("/steady") {
        let rate = run["rate"].as_f64().unwrap_or_default();
        for (rank, field, goal) in [
            ("P50", "placed_to_assigned_p50_ms", 40.0),
            ("P99", "placed_to_assigned_p99_ms", 100.0),
        ] {
            let label = format!("{rank} at {rate} orders/s");
            let goal = (rate == 33.0).then_some(goal);
            bars.extend(run[field].as_f64().map(|figure| Bar {
                label,
                figure,
                goal,
            }));
        }
    }
    Panel {
        title: "From placed to DriverAssigned, milliseconds (mark: goal, at most)",
        bars,
    }
}

fn growth(results: &Results) -> Panel {
    let bar = |(label, path, goal): (&str, &str, Option<f64>)| {
        let figure = results.number(path)?;
        Some(Bar {
            label: label.to_owned(),
            figure,
            goal,
        })
    };
    let bars = [
        (
            "24 partitions to 6",
            "/scale/cost_ratio_partitions_24",
            None,
        ),
        ("20 geos to 1", "/scale/cost_ratio_geos_20", Some(1.2)),
        (
            "full tables to 10,000 orders",
            "/scale/cost_ratio_rows",
            Some(1.2),
        ),
        (
            "a ping, 100,000 pending to 1,000",
            "/pings/ratio",
            Some(1.3),
        ),
    ];
    Panel {
        title: "How much dearer an order or a ping becomes, times (mark: goal, at most)",
        bars: bars.into_iter().filter_map(bar).collect(),
    }
}

/// Draws a panel from `y` down; where it ends.
fn draw(panel: &Panel, y: f64, svg: &mut String) -> f64 {
    let longest = panel
        .bars
        .iter()
        .flat_map(|bar| [Some(bar.figure), bar.goal])
        .flatten();
    let longest = longest.fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - LABEL - 80.0) / longest;
    // Writing to a String does not fail.
    _ = writeln!(
        svg,
        "<text x=\"10\" y=\"{}\" font-weight=\"bold\">{}</text>",
        y + 24.0,
        panel.title
    );
    let mut y = y + TITLE;
    for bar in &panel.bars {
        let (width, text) = (bar.figure.max(0.0) * scale, y + BAR - 5.0);
        _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LABEL}\" y=\"{y}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"#4878a8\"/>\
             <text x=\"{:.1}\" y=\"{text}\">{}</text>",
            LABEL - 8.0,
            bar.label,
            LABEL + width.max(bar.goal.unwrap_or(0.0) * scale) + 6.0,
            amount(bar.figure)
        );
        if let Some(goal) = bar.goal {
            let x = LABEL + goal * scale;
            _ = writeln!(
                svg,
                "<line x1=\"{x:.1}\" y1=\"{}\" x2=\"{x:.1}\" y2=\"{}\" stroke=\"#c03020\" stroke-width=\"2\"/>",
                y - 2.0,
                y + BAR + 2.0
            );
        }
        y += BAR + GAP;
    }
    y + 10.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_figure_and_its_goal_is_marked_on_the_same_scale() {
        let mut results = Results::default();
        results.add("scale", json!({ "cost_ratio_geos_20": 0.6 }));
        results.add("pings", json!({ "ratio": 1.3 }));
        let svg = svg(&results);
        let scale = (WIDTH - LABEL - 80.0) / 1.3;
        for width in [0.6 * scale, 1.3 * scale] {
            assert!(svg.contains(&format!("width=\"{width:.1}\"")), "{svg}");
        }
        let goal = LABEL + 1.2 * scale;
        assert!(svg.contains(&format!("x1=\"{goal:.1}\"")), "{svg}");
        assert!(!svg.contains("CPU second"), "nothing was drained");
    }
}
