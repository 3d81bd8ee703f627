//! The catalogue of a directory takes the place of the one that was built in.

use std::fs;
use std::path::{Path, PathBuf};

use binding::CatalogueSettings;
use contracts::Catalogue;

fn of(directory: Option<&Path>) -> CatalogueSettings {
    serde_json::from_value(serde_json::json!({ "directory": directory })).expect("a section")
}

fn empty(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&dir).expect("a directory of the test's own");
    dir
}

#[test]
fn a_geo_is_added_by_a_file() {
    let dir = empty("catalogue");
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas");
    let geos = fs::read_to_string(schemas.join("geos.toml")).unwrap();
    let new = "\n[[geo]]\nname = \"tromso-sentrum\"\ncentre = { lat = 69.6496, lon = 18.956 }\nradius_m = 4000\n\
        class = \"small\"\ntime_zone = \"Europe/Oslo\"\n";
    fs::write(dir.join("geos.toml"), geos + new).unwrap();
    fs::copy(schemas.join("topics.toml"), dir.join("topics.toml")).unwrap();
    let built_in = of(None).catalogue().unwrap();
    assert!(built_in.geo("tromso-sentrum").is_err());
    assert_eq!(built_in.geos().len(), Catalogue::embedded().geos().len());
    let catalogue = of(Some(&dir)).catalogue().unwrap();
    assert_eq!(catalogue.geo("tromso-sentrum").unwrap().radius_m, 4_000);
    assert_eq!(catalogue.geos().len(), built_in.geos().len() + 1);
}

#[test]
fn a_directory_that_holds_no_catalogue_is_named() {
    let dir = empty("no-catalogue");
    let error = of(Some(&dir)).catalogue().unwrap_err().to_string();
    assert!(
        error.contains("topics.toml") && error.contains(dir.to_str().unwrap()),
        "{error}"
    );
}
