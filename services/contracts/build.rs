//! Generates the Rust types of every record from the schemas, so that no type is written twice.
//!
//! A schema that the generator does not understand, or two that disagree about a nested type, end the build with a
//! message that names file and field. Costs a few milliseconds, and only when something under schemas/ changed.

#[path = "build/avro.rs"]
mod avro;
#[path = "build/records.rs"]
mod records;
#[path = "build/streams.rs"]
mod streams;

use std::path::Path;
use std::{env, fs, process};

fn main() {
    if let Err(error) = generate() {
        eprintln!("error: {error}");
        process::exit(1);
    }
}

fn generate() -> Result<(), String> {
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas");
    for input in ["avro", "topics.toml", "geos.toml"] {
        println!("cargo::rerun-if-changed={}", schemas.join(input).display());
    }
    println!("cargo::rerun-if-changed=build");
    let schemata = avro::Schemata::load(&schemas.join("avro"))?;
    let streams = streams::load(&schemas.join("topics.toml"), &schemata)?;
    let code = records::emit(&schemata) + &streams::emit(&streams);
    let out = env::var("OUT_DIR").map_err(|e| format!("OUT_DIR: {e}"))?;
    let path = Path::new(&out).join("contracts.rs");
    fs::write(&path, code).map_err(|e| format!("{}: {e}", path.display()))
}
