//! The catalogue of this tree is good, and each way to spoil it is named.

use super::*;

const OUR_TOPICS: &str = include_str!("../../../schemas/topics.toml");
const OUR_GEOS: &str = include_str!("../../../schemas/geos.toml");

fn spoiled(topics: (&str, &str), geos: (&str, &str)) -> CatalogueError {
    for (text, (from, _)) in [(OUR_TOPICS, topics), (OUR_GEOS, geos)] {
        assert!(text.contains(from), "nothing was spoiled: {from}");
    }
    let topics = OUR_TOPICS.replacen(topics.0, topics.1, 1);
    let geos = OUR_GEOS.replacen(geos.0, geos.1, 1);
    Catalogue::parse(&topics, &geos).expect_err("the spoiled catalogue was read")
}

#[test]
fn the_catalogue_of_this_tree_holds_twenty_geos_and_every_record() {
    let catalogue = Catalogue::embedded();
    assert_eq!(catalogue.geos().len(), 20);
    let records: usize = catalogue.streams().iter().map(|s| s.records.len()).sum();
    assert_eq!(records, crate::CONTRACTS.len());
}

#[test]
fn topics_of_a_geo_include_dead_letters_and_the_ownership_of_all_geos() {
    let catalogue = Catalogue::embedded();
    let geo = catalogue.geo("wellington-te-aro").unwrap().name.clone();
    let topics = catalogue.topics(std::slice::from_ref(&geo)).unwrap();
    let find = |name: &str| topics.iter().find(|t| t.name == name);
    assert_eq!(find("driver_assignment.geos").unwrap().partitions, 20);
    let requests = find("orders.requests.wellington-te-aro").unwrap();
    assert_eq!(
        (requests.partitions, requests.retention),
        (6, Duration::from_secs(48 * 3_600))
    );
    let dead = find("orders.requests.dlq.wellington-te-aro").unwrap();
    assert_eq!(dead.retention, Duration::from_secs(14 * 24 * 3_600));
    assert_eq!(
        find("driver_assignment.ticks.wellington-te-aro")
            .unwrap()
            .partitions,
        1
    );
    assert_eq!(find("driver_assignment.ticks.dlq.wellington-te-aro"), None);
    assert_eq!(topics.len(), 1 + 11 + 9);
    assert_eq!(catalogue.ownership_partition(&geo), Some(19));
}

#[test]
fn an_error_names_file_field_and_value() {
    let same = ("", "");
    let cases = [
        (
            spoiled(same, ("berlin-mitte", "Berlin Mitte")),
            "geos.toml",
            "geo[0].name",
            "Berlin Mitte",
        ),
        (
            spoiled(same, ("london-soho", "berlin-mitte")),
            "geos.toml",
            "geo[1].name",
            "berlin-mitte",
        ),
        (
            spoiled(same, ("Europe/Berlin", "Europe/Bonn")),
            "geos.toml",
            "geo[0].time_zone",
            "Europe/Bonn",
        ),
        (
            spoiled(same, ("\"busy\"", "\"huge\"")),
            "geos.toml",
            "geo[0].class",
            "huge",
        ),
        (
            spoiled(same, ("lat = 52.52", "lat = 152.52")),
            "geos.toml",
            "geo[0].centre",
            "152.52, 13.405",
        ),
        (
            spoiled(("small = 6", "small = 0"), same),
            "topics.toml",
            "partition_classes.small",
            "0",
        ),
        (
            spoiled(("partitions = \"class\"", "partitions = \"many\""), same),
            "topics.toml",
            "stream[0].partitions",
            "Named(\"many\")",
        ),
        (
            spoiled(("kind = \"events\"", "kind = \"requests\""), same),
            "topics.toml",
            "stream[1].family",
            "orders.requests.x",
        ),
    ];
    for (error, file, field, value) in cases {
        assert_eq!(
            (
                error.file.as_str(),
                error.field.as_str(),
                error.value.as_str()
            ),
            (file, field, value)
        );
    }
}

#[test]
fn a_mistyped_key_is_named_with_its_line() {
    let error = spoiled(("dead_letters = true", "dead_leters = true"), ("", ""));
    assert!(
        error.value.contains("dead_leters") || error.problem.contains("dead_leters"),
        "{error}"
    );
}
