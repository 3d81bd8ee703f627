//! Who held what and when: the trips of each driver, by the instants of the events, since the orders of a driver stand on
//! different partitions.

use std::collections::HashMap;

use uuid::Uuid;

use super::entry::Record;

/// By driver.
#[derive(Default)]
pub struct Shifts(HashMap<String, Vec<Holding>>);

/// A driver holds an order.
struct Holding {
    order: Uuid,
    /// The trip that the assignment names; an order that names none is one of its own.
    trip: Option<Uuid>,
    from: i64,
    until: Option<i64>,
}

/// What a driver held between two instants of having nothing, if he did as he should.
pub struct Trip {
    pub orders: Vec<Uuid>,
    pub from: i64,
    /// The end of the last of them.
    pub until: Option<i64>,
}

/// So many orders travel together at most.
pub const MOST_ORDERS: usize = 3;

impl Shifts {
    /// Takes note of what assignment says of a driver and an order; of one order it says it in order.
    pub fn add(&mut self, driver: &str, order: Uuid, record: &Record) {
        let holdings = self.0.entry(driver.to_owned()).or_default();
        match record.name() {
            "DriverAssigned" => holdings.push(Holding {
                order,
                trip: record.trip_id,
                from: record.occurred_at,
                until: None,
            }),
            "DeliveryConfirmed" | "AssignmentReleased" => {
                let open = holdings
                    .iter_mut()
                    .rev()
                    .find(|held| held.order == order && held.until.is_none());
                if let Some(held) = open {
                    held.until = Some(record.occurred_at);
                }
            }
            _ => {}
        }
    }

    /// The drivers by name, with their trips by beginning.
    pub fn into_trips(self) -> Vec<(String, Vec<Trip>)> {
        let trips_of = |(driver, holdings)| (driver, trips(holdings));
        let mut shifts: Vec<(String, Vec<Trip>)> = self.0.into_iter().map(trips_of).collect();
        shifts.sort_by(|(a, _), (b, _)| a.cmp(b));
        shifts
    }
}

/// By beginning.
fn trips(mut holdings: Vec<Holding>) -> Vec<Trip> {
    holdings.sort_by_key(|held| (held.from, held.until.unwrap_or(i64::MAX)));
    let mut trips: Vec<(Option<Uuid>, Trip)> = Vec::new();
    for held in holdings {
        let known = trips
            .iter_mut()
            .rev()
            .find(|(trip, _)| trip.is_some() && *trip == held.trip);
        match known {
            Some((_, trip)) => {
                trip.orders.push(held.order);
                trip.until = trip.until.zip(held.until).map(|(a, b)| a.max(b));
            }
            None => {
                let Holding {
                    order,
                    trip,
                    from,
                    until,
                } = held;
                let orders = vec![order];
                trips.push((
                    trip,
                    Trip {
                        orders,
                        from,
                        until,
                    },
                ));
            }
        }
    }
    trips.into_iter().map(|(_, trip)| trip).collect()
}
