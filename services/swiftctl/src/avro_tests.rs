//! Views of records, and back, over every schema of the contracts.

use contracts::CONTRACTS;
use serde_json::json;

use super::*;

/// A value of a schema: the first branch of each union, or the last.
fn sample(schema: &Schema, names: &ResolvedSchema<'_>, last: bool) -> Value {
    let again = |schema: &Schema| sample(schema, names, last);
    match schema {
        Schema::Null => Value::Null,
        Schema::Boolean => Value::Boolean(true),
        Schema::Int => Value::Int(-7),
        Schema::Long => Value::Long(1 << 40),
        Schema::Double => Value::Double(52.520_008),
        Schema::Float => Value::Float(0.1),
        Schema::String => Value::String("Phở".to_owned()),
        Schema::Bytes => Value::Bytes(vec![0, 255]),
        Schema::Uuid(_) => Value::Uuid(apache_avro::Uuid::from_u128(7)),
        Schema::TimestampMicros => Value::TimestampMicros(1_800_000_000_123_456),
        Schema::TimestampMillis => Value::TimestampMillis(1_800_000_000_123),
        Schema::Enum(symbols) => Value::Enum(0, symbols.symbols[0].clone()),
        Schema::Array(array) => Value::Array(vec![again(&array.items), again(&array.items)]),
        Schema::Map(map) => Value::Map([("key".to_owned(), again(&map.types))].into()),
        Schema::Ref { name } => again(names.get_names()[name]),
        Schema::Union(union) => {
            let index = if last { union.variants().len() - 1 } else { 0 };
            Value::Union(index as u32, Box::new(again(&union.variants()[index])))
        }
        Schema::Record(record) => {
            let field = |field: &apache_avro::schema::RecordField| {
                (field.name.clone(), again(&field.schema))
            };
            Value::Record(record.fields.iter().map(field).collect())
        }
        other => panic!("no contract has {other:?}"),
    }
}

#[test]
fn every_record_of_the_contracts_survives_its_view() {
    for contract in CONTRACTS {
        let schema = Schema::parse_str(contract.schema).expect("a contract");
        for last in [false, true] {
            let names = ResolvedSchema::new(&schema).expect("a contract");
            let datum = GenericDatumWriter::builder(&schema)
                .build()
                .expect("a contract");
            let datum = datum
                .write_value_to_vec(sample(&schema, &names, last))
                .expect("fits");
            let seen = read(&schema, &datum).expect("just written");
            let payload = encode(contract.schema, 7, &seen).expect("a view of it");
            assert_eq!(
                payload,
                [&[0, 0, 0, 0, 7], &datum[..]].concat(),
                "{}",
                contract.name
            );
        }
    }
}

const SCHEMA: &str = r#"{"type": "record", "name": "a.R", "fields": [
    {"name": "n", "type": "int"}, {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "note", "type": ["null", "string"], "default": null}]}"#;

fn refused(view: &Json) -> String {
    format!(
        "{:#}",
        encode(SCHEMA, 1, view).expect_err("must be refused")
    )
}

#[test]
fn a_view_that_does_not_fit_is_refused_by_the_place_that_is_wrong() {
    let at = "2027-01-15T08:00:00.000001Z";
    assert!(encode(SCHEMA, 1, &json!({"n": 1, "at": at})).is_ok());
    assert!(refused(&json!({"n": 1, "at": at, "nota": "x"})).contains("no field nota"));
    assert!(refused(&json!({"at": at})).contains("the record.n is missing"));
    assert!(refused(&json!({"n": 3_000_000_000_i64, "at": at})).contains("the record.n = "));
    assert!(refused(&json!({"n": 1, "at": "yesterday"})).contains("the record.at"));
    assert!(refused(&json!({"n": 1, "at": at, "note": 5})).contains("expected String"));
}

#[test]
fn bytes_left_over_are_not_passed_over() {
    let schema = Schema::parse_str(r#""int""#).expect("a schema");
    assert_eq!(read(&schema, &[2]).expect("an int"), json!(1));
    assert!(read(&schema, &[2, 2]).is_err());
}

#[test]
fn hex_reads_back_and_rubbish_does_not() {
    assert_eq!(unhex(&hex(b"\x00\xff\x10")), Some(vec![0, 255, 16]));
    assert_eq!((unhex("0"), unhex("zz")), (None, None));
}
