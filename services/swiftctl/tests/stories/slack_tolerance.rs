//! Should a geo send its drivers earlier? Its last hour, replayed with a slack tolerance of 240 s instead of 120 s.

use chrono::TimeDelta;
use city::{Size, World};
use serde_json::Value;

use crate::city::{SPEED, Town};
use crate::platform::{Platform, now};

const GEO: &str = "paris-bastille";

#[tokio::test]
async fn a_wider_slack_tolerance_is_tried_on_the_last_hour() {
    let mut platform = Platform::new(GEO).await;
    let size = Size {
        orders: 150,
        couriers: 45,
        restaurants: 25,
        span_s: 3_600.0,
    };
    let world = World {
        delays: 0.2,
        declines: 0.05,
        cancels: 0.05,
        ..World::default()
    };
    let town = Town::new(&platform, size, world);
    let settings = town.assignment();
    let settings = settings.iter().map(|(name, value)| (&**name, &**value));
    let settings: Vec<_> = settings
        .chain([("ASSIGNMENT__POLICY__NAME", "slack-greedy")])
        .collect();
    platform.start("orders", &[]);
    platform.start("payments", &[("PAYMENTS__GATEWAY", "instant")]);
    platform.start("assignment", &settings);
    let begin = now();
    let from = begin.to_rfc3339();
    town.live(&platform).await;
    let to = now().to_rfc3339();

    let speed = SPEED.to_string();
    let shadow = |policy: &'static str| {
        let span = [
            "--geo",
            GEO,
            "--from",
            &from,
            "--to",
            &to,
            "--time-scale",
            &speed,
        ];
        let arguments = [&["replay", "shadow"][..], &span, &["--policy", policy]].concat();
        arguments.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let sees = |arguments: &[String]| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        platform.sees(&arguments)
    };
    let json = |arguments: &[String]| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        platform.json(&arguments)
    };

    // Is what was recorded what we hold?
    let exact = sees(&shadow("recorded"));
    assert!(exact.contains("bit for bit"), "{exact}");
    // The second half alone, its state from what was told before: were the world 3,600 times as fast as life, two seconds
    // would be the two hours that are repeated before a span, and the rest is followed.
    let middle = (begin + TimeDelta::seconds(30)).to_rfc3339();
    let half = [
        "--geo",
        GEO,
        "--from",
        &middle,
        "--to",
        &to,
        "--time-scale",
        "3600",
    ];
    let half = [&["replay", "shadow"][..], &half, &["--policy", "recorded"]].concat();
    let repeated = platform.json(&half)["repeated"].clone();
    assert!(repeated["followed"].as_u64().unwrap() > 10, "{repeated}");
    assert!(repeated["ticks"].as_u64().unwrap() > 10, "{repeated}");
    for nothing in ["contradicted", "differing", "untold"] {
        assert_eq!(repeated[nothing], 0, "{repeated}");
    }
    // What would 240 s have changed?
    let wider = shadow("slack-greedy@tolerance_s=240");
    let page = std::env::temp_dir().join(format!("{}.html", platform.group("shadow")));
    let report = ["--report".to_owned(), page.display().to_string()];
    sees(&[&wider[..], &report].concat());
    let html = std::fs::read_to_string(&page).unwrap();
    std::fs::remove_file(&page).unwrap();
    assert!(html.contains("Shadow replay") && !html.contains("/* data */"));
    for elsewhere in ["src=", "href=", "url(", "fetch(", "import "] {
        assert!(
            !html.contains(elsewhere),
            "{elsewhere}: it needs no network"
        );
    }

    let answer = json(&wider);
    compared(&answer);
    // The same question has the same answer, to the last figure.
    assert_eq!(json(&wider), answer);
    // What is not changed changes nothing.
    let same = json(&shadow("slack-greedy@tolerance_s=120"));
    let counts = &same["open_loop"]["counts"];
    let decisions = same["decisions"].as_array().unwrap().len() as u64;
    // A machine that is busy with tests decides now and then later than its scheduler wanted to.
    let late = counts["earlier"].as_u64().unwrap();
    assert_eq!(
        counts["same"].as_u64().unwrap() + late,
        decisions,
        "{counts}"
    );
    assert!(late * 4 <= decisions, "{counts}");
    for change in same["closed_loop"]["changes"].as_array().unwrap() {
        assert_eq!(change["change"]["mean"], 0.0, "{change}");
    }
}

/// Drivers are sent earlier, and wait for it; no order is lost on the way.
fn compared(answer: &Value) {
    let counts = &answer["open_loop"]["counts"];
    let (decisions, differences) = (&answer["decisions"], &answer["differences"]);
    let (decisions, differences) = (
        decisions.as_array().unwrap(),
        differences.as_array().unwrap(),
    );
    assert!(decisions.len() > 100, "{} decisions", decisions.len());
    let count = |kind: &str| counts[kind].as_u64().unwrap() as usize;
    let differing = count("earlier") + count("later") + count("other_driver");
    assert_eq!(count("same") + differing, decisions.len());
    assert_eq!(differences.len(), differing);
    assert!(count("earlier") > count("later"), "{counts}");
    for difference in differences {
        assert_ne!(difference["why"], "", "{difference}");
    }
    let closed = &answer["closed_loop"];
    let change = |measure: &str| {
        let changes = closed["changes"].as_array().unwrap();
        let found = changes.iter().find(|change| change["measure"] == measure);
        found.unwrap()["change"].clone()
    };
    let wait = change("driver_wait_s");
    assert!(
        wait["low"].as_f64().unwrap() > 0.0,
        "drivers wait no longer: {wait}"
    );
    assert!(change("food_wait_s")["mean"].as_f64().unwrap() < 60.0);
    // The simulation is near enough to the world to be believed: the mean within a quarter.
    let mean = |side: &str| closed[side]["times"][0]["mean"].as_f64().unwrap();
    let (happened, old) = (mean("happened"), mean("old"));
    assert!(
        (old / happened - 1.0).abs() < 0.25,
        "happened {happened}, simulated {old}"
    );
    assert!(closed["old"]["work"]["drivers"].as_u64().unwrap() >= 40);
}
