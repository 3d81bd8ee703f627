//! What the gate lets pass and what it stops, change by change.

use serde_json::json;

use super::*;

/// A record with one of everything; `edit` makes tomorrow's version of it.
fn released() -> Value {
    json!({
        "type": "record", "name": "Meal", "namespace": "swifteats.test", "doc": "A meal.", "version": 1,
        "fields": [
            {"name": "id", "type": {"type": "string", "logicalType": "uuid"}, "doc": "Id."},
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
            {"name": "size", "type": {"type": "enum", "name": "Size", "symbols": ["UNKNOWN", "S", "L"], "default": "UNKNOWN"}},
            {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["A", "B"]}},
            {"name": "from", "type": {"type": "record", "name": "Point", "fields": [
                {"name": "lat", "type": "double"}, {"name": "lon", "type": "double"}]}},
            {"name": "to", "type": "Point"},
            {"name": "note", "type": ["null", "string"], "default": null},
            {"name": "weights", "type": {"type": "array", "items": "int"}},
        ]
    })
}

fn problems(edit: impl FnOnce(&mut Vec<Value>)) -> Vec<String> {
    let mut current = released();
    edit(current["fields"].as_array_mut().unwrap());
    assert!(!same_meaning(&current, &released()), "nothing was changed");
    let (current, released) = (Comparable::parse(&current), Comparable::parse(&released()));
    current.unwrap().problems(&released.unwrap())
}

fn index(fields: &[Value], name: &str) -> usize {
    fields.iter().position(|f| f["name"] == name).unwrap()
}

fn set_type(name: &'static str, ty: Value) -> Vec<String> {
    problems(|fields| {
        let at = index(fields, name);
        fields[at]["type"] = ty;
    })
}

#[test]
fn a_field_with_a_default_may_come_and_go() {
    assert_eq!(
        problems(|f| f.push(json!({"name": "tip", "type": "int", "default": 0}))),
        [""; 0]
    );
    assert_eq!(problems(|f| drop(f.remove(index(f, "note")))), [""; 0]);
}

#[test]
fn a_field_without_a_default_may_neither_come_nor_go() {
    let added = problems(|f| f.push(json!({"name": "tip", "type": "int"})));
    assert_eq!(added.len(), 1);
    assert!(added[0].contains("field tip has no default"), "{added:?}");
    let removed = problems(|f| drop(f.remove(index(f, "weights"))));
    assert_eq!(removed.len(), 1);
    assert!(
        removed[0].contains("field weights has no default"),
        "{removed:?}"
    );
}

#[test]
fn a_renamed_field_is_caught() {
    let renamed = problems(|f| {
        let at = index(f, "weights");
        f[at]["name"] = json!("grams");
    });
    assert_eq!(renamed.len(), 2, "{renamed:?}");
}

#[test]
fn a_changed_type_is_caught_also_when_only_one_direction_breaks() {
    assert_eq!(set_type("note", json!(["null", "int"])).len(), 2);
    assert_eq!(
        set_type("weights", json!({"type": "array", "items": "long"})).len(),
        1
    );
    assert_eq!(set_type("at", json!("string")).len(), 2);
}

#[test]
fn a_changed_logical_type_is_caught_although_the_bytes_are_the_same() {
    let millis = set_type(
        "at",
        json!({"type": "long", "logicalType": "timestamp-millis"}),
    );
    assert_eq!(millis.len(), 1, "{millis:?}");
    assert_eq!(set_type("id", json!("string")).len(), 1);
}

#[test]
fn enum_symbols_need_a_default_to_come_or_go() {
    let size = |symbols: Value| json!({"type": "enum", "name": "Size", "symbols": symbols, "default": "UNKNOWN"});
    assert_eq!(
        set_type("size", size(json!(["UNKNOWN", "S", "M", "L"]))),
        [""; 0]
    );
    assert_eq!(set_type("size", size(json!(["UNKNOWN", "S"]))), [""; 0]);
    let kind = |symbols: Value| json!({"type": "enum", "name": "Kind", "symbols": symbols});
    assert_eq!(set_type("kind", kind(json!(["A"]))).len(), 1);
    assert_eq!(set_type("kind", kind(json!(["A", "B", "C"]))).len(), 1);
}

#[test]
fn a_renamed_record_or_namespace_is_caught() {
    for (key, value) in [("name", "Dish"), ("namespace", "swifteats.other")] {
        let mut current = released();
        current[key] = json!(value);
        let current = Comparable::parse(&current).unwrap();
        let problems = current.problems(&Comparable::parse(&released()).unwrap());
        assert!(!problems.is_empty(), "{key}");
    }
}

#[test]
fn a_type_may_move_to_another_field_of_its_file() {
    let moved = problems(|fields| {
        let (from, to) = (index(fields, "from"), index(fields, "to"));
        let (one, two) = (fields[from]["type"].clone(), fields[to]["type"].clone());
        let via = json!({"name": "via", "type": ["null", one], "default": null});
        fields[from]["type"] = two;
        fields.insert(from, via);
    });
    assert_eq!(moved, [""; 0]);
}

#[test]
fn documentation_is_no_change() {
    let mut current = released();
    current["doc"] = json!("Another text.");
    current["fields"][0]["doc"] = json!("Another text.");
    current["version"] = json!(2);
    assert!(same_meaning(&current, &released()));
    current["fields"][0]["name"] = json!("identity");
    assert!(!same_meaning(&current, &released()));
}
