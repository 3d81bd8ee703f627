//! What a record costs to write and to read: our codec beside the two crates it could be made of, each at its best.
//!
//! All three turn the same value into the same bytes and back, into buffers that are reused, with schemas that were parsed
//! and resolved before. Ours also writes and checks the five bytes of the wire format, finds the schema by its id and
//! refuses bytes that are left over. `apache-avro` writes and reads by serde, which is faster than by its `Value`. The three
//! take turns for many short rounds; the median round counts, so that what else the machine does meets all of them.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use chrono::Utc;
use contracts::streams::{DriverLocation, OrdersRequest};
use contracts::{CONTRACTS, Codec, GeoSpec, Message, Record};
use serde::Serialize;
use serde_avro_fast::ser::SerializerConfig;

use crate::say::{self, OrderIds};

/// Rounds of a measurement.
pub const ROUNDS: usize = 101;
/// Per side and round.
const ROUND: Duration = Duration::from_millis(4);

/// Nanoseconds per record, and how many times as long as ours the others take.
#[derive(Serialize)]
pub struct Side {
    ours_ns: f64,
    serde_avro_fast_ns: f64,
    apache_avro_ns: f64,
    serde_avro_fast_to_ours: f64,
    apache_avro_to_ours: f64,
}

#[derive(Serialize)]
pub struct Costs {
    /// Of the datum.
    bytes: usize,
    encode: Side,
    decode: Side,
}

/// By record.
pub fn compare(geo: &GeoSpec, rounds: usize) -> Result<BTreeMap<&'static str, Costs>> {
    let codec = Codec::with_ids(CONTRACTS.iter().zip(1..));
    let ids = OrderIds {
        run: 1,
        scattered: false,
    };
    let placed = say::order_placed(geo, ids, 7, Utc::now());
    let ping = say::driver_location(geo, 7, 3, Utc::now());
    Ok(BTreeMap::from([
        (
            "OrderPlaced",
            costs::<_, OrdersRequest>(&codec, &placed, rounds)?,
        ),
        (
            "DriverLocation",
            costs::<_, DriverLocation>(&codec, &ping, rounds)?,
        ),
    ]))
}

fn costs<R: Record, M: Message>(codec: &Codec, record: &R, rounds: usize) -> Result<Costs> {
    let mut framed = Vec::new();
    codec.encode_into(record, &mut framed)?;
    let datum = &framed[5..];
    let fast: serde_avro_fast::Schema = R::SCHEMA.parse().context("schema")?;
    let apache = apache_avro::Schema::parse_str(R::SCHEMA)?;
    let writer = GenericDatumWriter::builder(&apache)
        .human_readable(true)
        .validate(false)
        .build()?;
    let reader = GenericDatumReader::builder(&apache)
        .human_readable(true)
        .build()?;
    ensure!(
        writer.write_ser_to_vec(record)? == datum,
        "the crates write different bytes"
    );
    let mut config = SerializerConfig::new(&fast);
    let (mut ours, mut bare, mut other) = (Vec::new(), Vec::new(), Vec::new());
    let encode = side(
        rounds,
        [
            &mut || {
                ours.clear();
                codec.encode_into(black_box(record), &mut ours).is_ok()
            },
            &mut || {
                bare.clear();
                serde_avro_fast::to_datum(black_box(record), &mut bare, &mut config).is_ok()
            },
            &mut || {
                other.clear();
                writer.write_ser(&mut other, black_box(record)).is_ok()
            },
        ],
    )?;
    let decode = side(
        rounds,
        [
            &mut || codec.decode::<M>(black_box(&framed)).map(black_box).is_ok(),
            &mut || {
                serde_avro_fast::from_datum_slice::<R>(black_box(datum), &fast)
                    .map(black_box)
                    .is_ok()
            },
            &mut || {
                reader
                    .read_deser::<R>(&mut black_box(datum))
                    .map(black_box)
                    .is_ok()
            },
        ],
    )?;
    Ok(Costs {
        bytes: datum.len(),
        encode,
        decode,
    })
}

/// Runs the three (ours, serde_avro_fast, apache-avro) in turns.
fn side(rounds: usize, mut sides: [&mut dyn FnMut() -> bool; 3]) -> Result<Side> {
    let mut times: [Vec<f64>; 3] = Default::default();
    for _ in 0..rounds {
        for (act, times) in sides.iter_mut().zip(&mut times) {
            let (began, mut done) = (Instant::now(), 0_u32);
            while began.elapsed() < ROUND {
                for _ in 0..64 {
                    ensure!(act(), "a record could not be written or read");
                }
                done += 64;
            }
            times.push(began.elapsed().as_secs_f64() * 1e9 / f64::from(done));
        }
    }
    let [ours, fast, apache] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[rounds / 2]
    });
    Ok(Side {
        ours_ns: ours,
        serde_avro_fast_ns: fast,
        apache_avro_ns: apache,
        serde_avro_fast_to_ours: fast / ours,
        apache_avro_to_ours: apache / ours,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn all_three_write_and_read_the_same_and_each_takes_time() {
        let catalogue = contracts::Catalogue::embedded();
        let costs = compare(&catalogue.geos()[0], 1).unwrap();
        for (record, costs) in costs {
            for side in [costs.encode, costs.decode] {
                let all = [side.ours_ns, side.serde_avro_fast_ns, side.apache_avro_ns];
                assert!(all.iter().all(|ns| *ns > 1.0), "{record}: {all:?}");
            }
        }
    }
}
