//! What is on the wire is plain Avro: apache-avro writes and reads the same bytes for any value of every record.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use contracts::streams::*;
use contracts::{CONTRACTS, Codec, CodecError, Contract, Message, RejectKind};
use proptest::prelude::*;

fn codec() -> Codec {
    Codec::with_ids(CONTRACTS.iter().map(|c| (c, id(c))))
}

fn id(contract: &Contract) -> u32 {
    100 + u32::try_from(contract.index).unwrap()
}

/// Any value of a schema whose references have been seen before.
fn value(schema: &Schema, root: &Schema) -> BoxedStrategy<Value> {
    match schema {
        Schema::Null => Just(Value::Null).boxed(),
        Schema::Boolean => any::<bool>().prop_map(Value::Boolean).boxed(),
        Schema::Int => any::<i32>().prop_map(Value::Int).boxed(),
        Schema::Long => any::<i64>().prop_map(Value::Long).boxed(),
        Schema::Float => any::<f32>().prop_map(Value::Float).boxed(),
        Schema::Double => any::<f64>().prop_map(Value::Double).boxed(),
        Schema::String => "\\PC{0,12}".prop_map(Value::String).boxed(),
        Schema::Uuid(_) => any::<u128>()
            .prop_map(|n| Value::Uuid(uuid::Uuid::from_u128(n)))
            .boxed(),
        Schema::TimestampMicros => (-8_000_000_000_000_000i64..8_000_000_000_000_000)
            .prop_map(Value::TimestampMicros)
            .boxed(),
        Schema::Enum(e) => {
            let symbols = e.symbols.clone();
            (0..symbols.len())
                .prop_map(move |i| Value::Enum(u32::try_from(i).unwrap(), symbols[i].clone()))
                .boxed()
        }
        Schema::Array(a) => proptest::collection::vec(value(&a.items, root), 0..3)
            .prop_map(Value::Array)
            .boxed(),
        // One entry at most: the order of more is the writer's choice.
        Schema::Map(m) => proptest::collection::hash_map("\\PC{0,6}", value(&m.types, root), 0..2)
            .prop_map(Value::Map)
            .boxed(),
        Schema::Union(u) => {
            let variants: Vec<_> = u.variants().iter().map(|v| value(v, root)).collect();
            (0..variants.len())
                .prop_flat_map(move |i| {
                    variants[i]
                        .clone()
                        .prop_map(move |v| Value::Union(u32::try_from(i).unwrap(), Box::new(v)))
                })
                .boxed()
        }
        Schema::Record(record) => {
            let fields: Vec<_> = record
                .fields
                .iter()
                .map(|f| (Just(f.name.clone()), value(&f.schema, root)))
                .collect();
            fields.prop_map(Value::Record).boxed()
        }
        Schema::Ref { name } => value(
            definition(root, name).expect("a reference is defined"),
            root,
        ),
        other => panic!("no values for {other:?}"),
    }
}

fn definition<'a>(schema: &'a Schema, wanted: &apache_avro::schema::Name) -> Option<&'a Schema> {
    if !matches!(schema, Schema::Ref { .. }) && schema.name() == Some(wanted) {
        return Some(schema);
    }
    match schema {
        Schema::Record(r) => r.fields.iter().find_map(|f| definition(&f.schema, wanted)),
        Schema::Array(a) => definition(&a.items, wanted),
        Schema::Map(m) => definition(&m.types, wanted),
        Schema::Union(u) => u.variants().iter().find_map(|v| definition(v, wanted)),
        _ => None,
    }
}

fn datum(schema: &Schema, value: &Value) -> Vec<u8> {
    let writer = GenericDatumWriter::builder(schema).build().unwrap();
    writer.write_value_to_vec(value.clone()).unwrap()
}

fn framed(contract: &Contract, datum: &[u8]) -> Vec<u8> {
    [&[0], &id(contract).to_be_bytes()[..], datum].concat()
}

/// For every record of a stream: bytes of apache-avro -> our type -> the same bytes -> the same value.
fn check_stream<M: Message>() {
    let codec = codec();
    for contract in M::RECORDS {
        let schema = Schema::parse_str(contract.schema).unwrap();
        let values = value(&schema, &schema);
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        for _ in 0..64 {
            let sample = values.new_tree(&mut runner).unwrap().current();
            let theirs = framed(contract, &datum(&schema, &sample));
            let message: M = codec
                .decode(&theirs)
                .unwrap_or_else(|e| panic!("{}: {e}", contract.name));
            assert_eq!(message.contract().full_name, contract.full_name);
            let mut ours = b"kept".to_vec();
            message.encode_into(&codec, &mut ours).unwrap();
            assert_eq!(
                ours.strip_prefix(b"kept"),
                Some(&theirs[..]),
                "{}",
                contract.name
            );
            let reader = GenericDatumReader::builder(&schema).build().unwrap();
            let back = reader.read_value(&mut &ours[9..]).unwrap();
            assert_eq!(datum(&schema, &back), &theirs[5..], "{}", contract.name);
        }
    }
}

macro_rules! for_each_stream {
    ($call:ident) => {
        $call!(
            OrdersRequest,
            OrdersEvent,
            PaymentsRequest,
            PaymentsEvent,
            DriverAssignmentRequest,
            DriverAssignmentEvent,
            DriverAssignmentTick,
            KitchenEvent,
            DriverEvent,
            DriverLocation,
            NotificationsEvent
        )
    };
}

#[test]
fn bytes_are_those_of_apache_avro_for_any_value_of_every_record() {
    macro_rules! check {
        ($($stream:ident),+) => {{
            $(check_stream::<$stream>();)+
            [$($stream::RECORDS.len()),+].iter().sum::<usize>()
        }};
    }
    assert_eq!(
        for_each_stream!(check),
        CONTRACTS.len(),
        "a stream was left out"
    );
}

#[test]
fn rubbish_is_rejected_with_what_is_wrong() {
    let codec = codec();
    let kind = |payload: &[u8]| match codec.decode::<OrdersRequest>(payload) {
        Err(CodecError::Reject(rejection)) => rejection.kind,
        other => panic!("{other:?}"),
    };
    for payload in [
        &b""[..],
        b"\0",
        b"\0\0\0\0",
        b"{\"order_id\": 1}",
        b"\x01\0\0\0\x64abc",
    ] {
        assert_eq!(kind(payload), RejectKind::NotAvroEnvelope, "{payload:?}");
    }
    let find = |name: &str| CONTRACTS.iter().find(|c| c.full_name == name).unwrap();
    let placed = find("swifteats.orders.OrderPlaced");
    assert_eq!(kind(&framed(placed, b"")), RejectKind::Malformed);
    assert_eq!(kind(&framed(placed, &[0xff; 64])), RejectKind::Malformed);
    let ready = find("swifteats.kitchen.FoodReady");
    assert_eq!(kind(&framed(ready, b"")), RejectKind::UnexpectedRecord);
}

#[test]
fn a_schema_that_was_never_fetched_asks_to_be_prepared() {
    let decoded = codec().decode::<OrdersRequest>(b"\0\0\0\0\x07rest");
    assert!(
        matches!(decoded, Err(CodecError::Unprepared { id: 7 })),
        "{decoded:?}"
    );
}

#[test]
fn two_records_of_one_name_are_told_apart_by_their_family() {
    let codec = codec();
    let picked_up = CONTRACTS
        .iter()
        .find(|c| c.full_name == "swifteats.driver.OrderPickedUp")
        .unwrap();
    let schema = Schema::parse_str(picked_up.schema).unwrap();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let sample = value(&schema, &schema)
        .new_tree(&mut runner)
        .unwrap()
        .current();
    let bytes = framed(picked_up, &datum(&schema, &sample));
    assert!(matches!(
        codec.decode(&bytes),
        Ok(DriverEvent::OrderPickedUp(_))
    ));
    assert!(matches!(
        codec.decode::<OrdersEvent>(&bytes),
        Err(CodecError::Reject(_))
    ));
}

#[test]
fn a_record_that_the_codec_was_not_connected_for_is_not_written() {
    let bytes = {
        let codec = codec();
        let contract = &KitchenEvent::RECORDS[2];
        let schema = Schema::parse_str(contract.schema).unwrap();
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let sample = value(&schema, &schema)
            .new_tree(&mut runner)
            .unwrap()
            .current();
        codec
            .decode::<KitchenEvent>(&framed(contract, &datum(&schema, &sample)))
            .unwrap()
    };
    let none = Codec::with_ids([]);
    let mut out = b"kept".to_vec();
    assert!(bytes.encode_into(&none, &mut out).is_err());
    assert_eq!(out, b"kept");
}

proptest! {
    #[test]
    fn mutated_bytes_are_a_value_or_a_rejection_and_never_a_panic(
        stream in 0usize..2,
        seed in any::<u64>(),
        cuts in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        truncate in proptest::option::of(any::<proptest::sample::Index>()),
    ) {
        let codec = codec();
        let records = if stream == 0 { OrdersRequest::RECORDS } else { DriverAssignmentTick::RECORDS };
        let contract = &records[usize::try_from(seed % records.len() as u64).unwrap()];
        let schema = Schema::parse_str(contract.schema).unwrap();
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let sample = value(&schema, &schema).new_tree(&mut runner).unwrap().current();
        let mut bytes = framed(contract, &datum(&schema, &sample));
        for (index, byte) in &cuts {
            let at = 5 + index.index(bytes.len() - 5);
            bytes[at] = *byte;
        }
        if let Some(index) = truncate {
            bytes.truncate(index.index(bytes.len()));
        }
        // Whatever comes out, it is a value or a rejection; a value writes back without error.
        if let Ok(message) = codec.decode::<OrdersRequest>(&bytes) {
            message.encode_into(&codec, &mut Vec::new()).unwrap();
        }
        if let Ok(message) = codec.decode::<DriverAssignmentTick>(&bytes) {
            message.encode_into(&codec, &mut Vec::new()).unwrap();
        }
    }
}
