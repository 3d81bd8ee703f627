//! What was decided can be decided again, bit for bit: an hour of a rough city, with processes killed and geos handed over.

use std::time::Duration;

use city::Size;
use contracts::Topic;
use contracts::streams::DriverAssignmentTick;
use harness::{Isolation, wait_for};

use crate::city::{ROUGH, Town};
use crate::platform::Platform;

const GEO: &str = "sao-paulo-pinheiros";

#[tokio::test]
async fn every_decision_of_a_rough_hour_with_rebalances_is_repeated_bit_for_bit() {
    let mut platform = Platform::new(GEO).await;
    let size = Size {
        orders: 150,
        couriers: 60,
        restaurants: 25,
        span_s: 3_600.0,
    };
    let town = Town::new(&platform, size, ROUGH);
    let settings = town.assignment();
    let of = |instance: &'static str| {
        let own = [
            ("RUNTIME__INSTANCE", instance),
            ("RUNTIME__SESSION_TIMEOUT_MS", "6000"),
            // Drivers are faster than it says: there is something to learn.
            ("ASSIGNMENT__TRAVEL__DETOUR", "1.9"),
            ("ASSIGNMENT__DISPATCH__CORRECTION__AT_LEAST", "8"),
        ];
        let city = settings.iter().map(|(name, value)| (&**name, &**value));
        city.chain(own).collect::<Vec<_>>()
    };
    let begin = crate::platform::now();
    platform.start("orders", &[]);
    platform.start("payments", &[("PAYMENTS__GATEWAY", "instant")]);
    platform.start("notifier", &[]);
    let mut owners = platform.processes();
    let first = owners.start("assignment", &of("0"));
    let meddle = async {
        ticks(&platform, 25).await;
        owners.start("assignment", &of("1"));
        ticks(&platform, 40).await;
        owners.kill(first);
        ticks(&platform, 70).await;
        owners.start("assignment", &of("0"));
    };
    tokio::join!(town.live(&platform), meddle);

    let factors = travel_factors(&platform).await;
    let corrected = factors.iter().filter(|factor| **factor < 0.9).count();
    assert!(corrected > 20, "{factors:?}");
    let (from, to) = (begin.to_rfc3339(), crate::platform::now().to_rfc3339());
    let span = ["--geo", GEO, "--from", &from, "--to", &to];
    let arguments = [&["replay", "shadow"][..], &span, &["--policy", "recorded"]].concat();
    platform.sees(&arguments);
    let answer = platform.json(&arguments);
    let repeated = &answer["repeated"];
    assert!(repeated["ticks"].as_u64().unwrap() > 100, "{repeated}");
    assert!(
        repeated["take_overs"].as_u64().unwrap() >= 1,
        "nobody took over: {repeated}"
    );
    assert_eq!(repeated["differing"], 0, "{:#}", answer["differences"]);
    assert_eq!(repeated["untold"], 0, "{repeated}");
    // What was learned of travel times is learned again, from the same drives.
    assert_eq!(repeated["told_corrections"], 0, "{repeated}");
    assert_eq!(answer["differences"].as_array().unwrap().len(), 0);
    let decisions = answer["decisions"].as_array().unwrap().len();
    assert!(decisions > 100, "{decisions} decisions");
    // Twice the same question, twice the same answer.
    assert_eq!(platform.json(&arguments), answer);

    for (service, tables) in [
        ("assignment", 5),
        ("orders", 3),
        ("payments", 1),
        ("notifier", 1),
    ] {
        let rebuilt = rebuilt(&platform, service);
        assert_eq!(rebuilt.len(), tables, "{rebuilt:?}");
        for table in &rebuilt {
            let count = |what: &str| table[what].as_u64().unwrap();
            let equal = count("equal");
            let other = count("differing") + count("only_live") + count("only_rebuilt");
            // Which of two topics was read first, live, only assignment's ticks say.
            let most = if service == "assignment" {
                0
            } else {
                equal / 20
            };
            assert!(other <= most, "{table:#}");
        }
        assert!(
            rebuilt
                .iter()
                .map(|it| it["equal"].as_u64().unwrap())
                .sum::<u64>()
                > 100
        );
    }
    // A row that somebody has touched is found, with its column.
    let before = rebuilt(&platform, "payments")[0]["differing"].clone();
    platform
        .sql("UPDATE payments.payments SET amount_minor = amount_minor + 1 \
              WHERE order_id = (SELECT order_id FROM payments.payments WHERE status = 'captured' LIMIT 1)")
        .await;
    let touched = rebuilt(&platform, "payments");
    assert_eq!(
        touched[0]["differing"].as_u64().unwrap(),
        before.as_u64().unwrap() + 1
    );
    assert_eq!(touched[0]["columns"]["amount_minor"], 1, "{touched:?}");
}

/// By what each recorded tick multiplied travel times.
async fn travel_factors(platform: &Platform) -> Vec<f64> {
    let topic = Topic::of::<DriverAssignmentTick>(&GEO.parse().unwrap()).to_string();
    let topics = [topic.as_str()];
    let read = platform.broker.read_all(&topics, Isolation::Committed);
    let ticks = read.await.unwrap().into_iter();
    let factor = |payload: Vec<u8>| {
        let DriverAssignmentTick::DispatchTick(tick) = platform.codec.decode(&payload).unwrap();
        tick.travel_factor.unwrap()
    };
    ticks
        .filter_map(|record| record.value)
        .map(factor)
        .collect()
}

/// Waits until so many ticks are recorded.
async fn ticks(platform: &Platform, count: usize) {
    let topic = Topic::of::<DriverAssignmentTick>(&GEO.parse().unwrap()).to_string();
    let what = format!("{count} ticks");
    wait_for(&what, Duration::from_secs(240), async || {
        platform.held(&topic).await >= count
    })
    .await;
}

/// What became of each table of a service.
fn rebuilt(platform: &Platform, service: &str) -> Vec<serde_json::Value> {
    let arguments = ["replay", "rebuild", "--service", service, "--geo", GEO];
    platform.sees(&arguments);
    let rebuilt = platform.json(&arguments);
    rebuilt["tables"].as_array().unwrap().clone()
}
