//! The plan of a registration, without a registry.

use serde_json::{Value, json};

use super::*;

fn ours() -> (&'static Contract, Value) {
    let contract = &CONTRACTS[0];
    (
        contract,
        serde_json::from_str(contract.schema).expect("our schema is JSON"),
    )
}

#[test]
fn a_record_that_the_registry_does_not_know_is_new() {
    let (contract, _) = ours();
    let (plan, problems) = compare(contract, &[]).expect("our schema parses");
    assert_eq!((plan, problems.len()), (Plan::New, 0));
}

#[test]
fn a_version_without_an_optional_field_goes_with_ours() {
    let (contract, ours) = ours();
    let mut richer = ours.clone();
    let field = json!({"name": "extra", "type": ["null", "string"], "default": null});
    richer["fields"]
        .as_array_mut()
        .expect("a record")
        .push(field);
    let (plan, problems) = compare(contract, &[(1, richer)]).expect("both parse");
    assert_eq!((plan, problems), (Plan::Changed, vec![]));
}

#[test]
fn one_version_that_does_not_go_with_ours_refuses_whatever_the_others_say() {
    let (contract, ours) = ours();
    let mut other = ours.clone();
    other["fields"][0]["type"] = json!("long");
    let (plan, problems) = compare(contract, &[(1, other), (2, ours)]).expect("both parse");
    assert_eq!(plan, Plan::Incompatible);
    assert!(
        problems.iter().all(|p| p.contains("version 1")),
        "{problems:?}"
    );
}
