//! Rebuilding a lane from its rows, and asking after orders that a lane no longer has in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use dispatch::{
    Assignment, At, DriverId, Drives, LastDrop, OrderId, Point, Request, RestaurantId, Shift,
    Snapshot, TripId,
};
use futures::TryStreamExt;
use sqlx::PgConnection;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::{StoreError, column, drives};
use crate::book::active_phase;
use crate::metric;
use crate::order::{Driver, Drivers, Held, OpenOrder, Order, OrderState, Orders};
use crate::units::at;

/// A lane as its tables have it: what its scheduler is restored from, and the mirrors of the rows.
#[derive(Debug, Default)]
pub struct StoredLane {
    pub snapshot: Snapshot,
    pub orders: Orders,
    pub drivers: Drivers,
}

/// Loads the lanes of these geos; each has an entry, empty if its tables are.
pub async fn load(
    tx: &mut PgConnection,
    geos: &[&str],
) -> Result<HashMap<String, StoredLane>, StoreError> {
    let mut lanes: HashMap<String, StoredLane> = geos
        .iter()
        .map(|geo| ((*geo).to_owned(), StoredLane::default()))
        .collect();
    let statement = "SELECT geo, driver_id, version, on_duty, duty_at, shift_ends_at, free_since, active_trip, lat, lon, \
        seen_at, last_drop_at, last_drop_lat, last_drop_lon, next_shift_starts_at, next_shift_ends_at, next_shift_lat, \
        next_shift_lon FROM drivers WHERE geo = ANY($1)";
    // Row by row: all rows of a large geo at once are several times what is kept of them.
    let mut rows = sqlx::query(statement).bind(geos).fetch(&mut *tx);
    while let Some(row) = rows.try_next().await? {
        let (driver_id, driver) = driver(&row)?;
        let Some(lane) = lanes.get_mut(column::<&str>(&row, DRIVERS, "geo")?) else {
            continue;
        };
        lane.snapshot.drivers.push(driver.record(&driver_id));
        lane.drivers.insert(driver_id, driver);
    }
    drop(rows);
    for lane in lanes.values_mut() {
        lane.drivers.shrink_to_fit();
    }
    let statement = "SELECT p.geo, p.order_id, p.version, p.order_version, p.ready_at, p.ready_said_at, p.request_id, \
            p.partition, p.traceparent, p.request_version, p.attempt, p.restaurant_id, p.restaurant_lat, p.restaurant_lon, \
            p.customer_lat, p.customer_lon, p.placed_at, p.requested_at, p.search_radius_m, p.cooled::text AS cooled, \
            a.attempt AS held_attempt, a.version AS held_version, a.driver_id, a.phase, a.phase_at, a.decided_at, \
            a.arrives_at, a.trip_id, a.trip_position, a.reported \
        FROM pending_assignments p LEFT JOIN assignments a ON a.geo = p.geo AND a.order_id = p.order_id AND a.active \
        WHERE p.geo = ANY($1) AND p.state = 'open'";
    let mut rows = sqlx::query(statement).bind(geos).fetch(&mut *tx);
    while let Some(row) = rows.try_next().await? {
        let Some(lane) = lanes.get_mut(column::<&str>(&row, ORDERS, "geo")?) else {
            continue;
        };
        let request = request(&row)?;
        let mut order = open_order(&row)?;
        let order_id = request.order_id;
        match assignment(&row, request.clone(), &lane.drivers)? {
            None => lane.snapshot.pending.push(request),
            Some((held, assignment)) => {
                lane.snapshot.assignments.push(assignment);
                if let Some(open) = order.open_mut() {
                    open.held = Some(held);
                }
            }
        }
        lane.orders.insert(order_id, order);
    }
    drop(rows);
    let mut seen: HashMap<String, Vec<_>> = HashMap::new();
    for (geo, drive) in drives::load(tx, geos).await? {
        seen.entry(geo).or_default().push(drive);
    }
    for (geo, lane) in &mut lanes {
        lane.snapshot.drives = Drives::new(seen.remove(geo).unwrap_or_default());
        lane.hand_out(geo)?;
    }
    Ok(lanes)
}

impl StoredLane {
    /// Puts the orders of `assignments` into their drivers' hands: each driver's row must name the trip that they are of.
    fn hand_out(&mut self, geo: &str) -> Result<(), StoreError> {
        let mut trips: HashMap<&DriverId, (TripId, BTreeSet<OrderId>)> = HashMap::new();
        for held in &self.snapshot.assignments {
            let trip = trips.entry(&held.driver_id);
            let (_, orders) = trip.or_insert_with(|| (held.trip_id, BTreeSet::new()));
            orders.insert(held.request.order_id);
        }
        for (driver_id, driver) in &mut self.drivers {
            let (trip, held) = trips.remove(driver_id).unzip();
            if driver.active_trip != trip {
                let row = driver.active_trip;
                let problem = format!(
                    "{driver_id} of {geo} is said to be on {row:?}, assignments say {trip:?}"
                );
                return Err(StoreError::Corrupt {
                    table: DRIVERS,
                    problem,
                });
            }
            driver.held = held.into_iter().flatten().collect();
        }
        Ok(())
    }
}

const DRIVERS: &str = "drivers";
const ORDERS: &str = "pending_assignments";

fn driver(row: &PgRow) -> Result<(DriverId, Driver), StoreError> {
    let instant = |name| column::<Option<DateTime<Utc>>>(row, DRIVERS, name);
    let place_at = |lat, lon, instant: Option<DateTime<Utc>>| {
        let (lat, lon): (Option<f64>, Option<f64>) =
            (column(row, DRIVERS, lat)?, column(row, DRIVERS, lon)?);
        Ok::<_, StoreError>(match (lat, lon, instant) {
            (Some(lat), Some(lon), Some(instant)) => Some((point(DRIVERS, lat, lon)?, at(instant))),
            _ => None,
        })
    };
    let seen = place_at("lat", "lon", instant("seen_at")?)?;
    let last_drop = place_at("last_drop_lat", "last_drop_lon", instant("last_drop_at")?)?;
    let driver = Driver {
        row_version: column(row, DRIVERS, "version")?,
        on_duty: column(row, DRIVERS, "on_duty")?,
        duty_at: at(column(row, DRIVERS, "duty_at")?),
        shift_end: instant("shift_ends_at")?.map(at),
        free_since: at(column(row, DRIVERS, "free_since")?),
        seen,
        active_trip: column::<Option<Uuid>>(row, DRIVERS, "active_trip")?.map(TripId),
        held: Vec::new(),
        last_drop: last_drop.map(|(customer, at)| Box::new(LastDrop { at, customer })),
        next_shift: next_shift(row)?.map(Box::new),
    };
    Ok((
        DriverId::new(column::<&str>(row, DRIVERS, "driver_id")?),
        driver,
    ))
}

fn next_shift(row: &PgRow) -> Result<Option<Shift>, StoreError> {
    let instant = |name| column::<Option<DateTime<Utc>>>(row, DRIVERS, name);
    let (begins, ends) = (
        instant("next_shift_starts_at")?,
        instant("next_shift_ends_at")?,
    );
    let Some((begins, ends)) = begins.zip(ends) else {
        return Ok(None);
    };
    let (lat, lon) = (
        column(row, DRIVERS, "next_shift_lat")?,
        column(row, DRIVERS, "next_shift_lon")?,
    );
    Ok(Some(Shift {
        begins: at(begins),
        ends: at(ends),
        start: point(DRIVERS, lat, lon)?,
    }))
}

fn request(row: &PgRow) -> Result<Request, StoreError> {
    let instant = |name| column(row, ORDERS, name).map(at);
    let place = |lat, lon| point(ORDERS, column(row, ORDERS, lat)?, column(row, ORDERS, lon)?);
    let cooled: BTreeMap<String, i64> = serde_json::from_str(column(row, ORDERS, "cooled")?)
        .map_err(|error| StoreError::Corrupt {
            table: ORDERS,
            problem: format!("cooled: {error}"),
        })?;
    Ok(Request {
        order_id: OrderId(column(row, ORDERS, "order_id")?),
        version: column(row, ORDERS, "request_version")?,
        attempt: column::<i32>(row, ORDERS, "attempt")? as u32,
        restaurant_id: RestaurantId::new(column::<&str>(row, ORDERS, "restaurant_id")?),
        restaurant: place("restaurant_lat", "restaurant_lon")?,
        customer: place("customer_lat", "customer_lon")?,
        placed_at: instant("placed_at")?,
        requested_at: instant("requested_at")?,
        ready_at: instant("ready_at")?,
        ready_said_at: instant("ready_said_at")?,
        search_radius_m: column(row, ORDERS, "search_radius_m")?,
        cooled: cooled
            .into_iter()
            .map(|(driver, until)| (DriverId::new(driver), At(until)))
            .collect(),
    })
}

fn open_order(row: &PgRow) -> Result<Order, StoreError> {
    let open = OpenOrder {
        partition: column(row, ORDERS, "partition")?,
        request_id: column(row, ORDERS, "request_id")?,
        traceparent: column::<&str>(row, ORDERS, "traceparent")?.into(),
        held: None,
    };
    let (row_version, order_version) = (
        column(row, ORDERS, "version")?,
        column(row, ORDERS, "order_version")?,
    );
    Ok(Order {
        row_version,
        order_version,
        state: OrderState::Open(open),
    })
}

fn assignment(
    row: &PgRow,
    request: Request,
    drivers: &Drivers,
) -> Result<Option<(Held, Assignment)>, StoreError> {
    const TABLE: &str = "assignments";
    let Some(driver_id) = column::<Option<&str>>(row, TABLE, "driver_id")?.map(DriverId::new)
    else {
        return Ok(None);
    };
    // All who name him share one copy of his name.
    let driver_id = match drivers.get_key_value(&driver_id) {
        Some((known, _)) => known.clone(),
        None => driver_id,
    };
    let instant = |name| column(row, TABLE, name).map(at);
    let phase: &str = column(row, TABLE, "phase")?;
    let phase = active_phase(phase).ok_or_else(|| StoreError::Corrupt {
        table: TABLE,
        problem: format!("an active row of phase {phase}"),
    })?;
    let held = Held {
        row_version: column(row, TABLE, "held_version")?,
        attempt: column::<i32>(row, TABLE, "held_attempt")? as u32,
        driver_id: driver_id.clone(),
    };
    let assignment = Assignment {
        request,
        driver_id,
        trip_id: TripId(column(row, TABLE, "trip_id")?),
        position: column::<i16>(row, TABLE, "trip_position")? as u8,
        decided_at: instant("decided_at")?,
        arrives_at: instant("arrives_at")?,
        phase,
        phase_at: instant("phase_at")?,
        reported: column(row, TABLE, "reported")?,
    };
    Ok(Some((held, assignment)))
}

fn point(table: &'static str, lat: f64, lon: f64) -> Result<Point, StoreError> {
    Point::degrees(lat, lon).map_err(|error| StoreError::Corrupt {
        table,
        problem: error.to_string(),
    })
}

/// What the tables know of orders that are not open: `(index, order)`, the index being that of the pair asked for.
pub async fn recall(
    tx: &mut PgConnection,
    geos: &[&str],
    orders: &[Uuid],
) -> Result<Vec<(usize, Order)>, StoreError> {
    if orders.is_empty() {
        return Ok(Vec::new());
    }
    let statement = "SELECT u.index, p.version, p.state, p.order_version, p.ready_at, p.ready_said_at, \
            a.phase, a.driver_id, a.order_version AS assigned_version \
        FROM UNNEST($1::text[], $2::uuid[]) WITH ORDINALITY AS u(geo, order_id, index) \
        LEFT JOIN pending_assignments p ON p.geo = u.geo AND p.order_id = u.order_id \
        LEFT JOIN LATERAL (SELECT a.phase, a.driver_id, a.order_version FROM assignments a \
            WHERE a.geo = u.geo AND a.order_id = u.order_id \
            ORDER BY a.order_version DESC, a.attempt DESC LIMIT 1) a ON true \
        WHERE p.order_id IS NOT NULL OR a.phase IS NOT NULL";
    let rows = sqlx::query(statement)
        .bind(geos)
        .bind(orders)
        .fetch_all(tx)
        .await?;
    rows.iter().map(recalled).collect()
}

fn recalled(row: &PgRow) -> Result<(usize, Order), StoreError> {
    let index = column::<i64>(row, ORDERS, "index")? as usize - 1;
    let Some(state) = column::<Option<&str>>(row, ORDERS, "state")? else {
        let delivered = column::<&str>(row, ORDERS, "phase")? == "delivered";
        let driver = DriverId::new(column::<&str>(row, ORDERS, "driver_id")?);
        let state = OrderState::Closed {
            delivered_by: delivered.then_some(driver),
        };
        return Ok((
            index,
            Order {
                row_version: 0,
                order_version: column(row, ORDERS, "assigned_version")?,
                state,
            },
        ));
    };
    let state = match state {
        "announced" => OrderState::Announced {
            ready_at: at(column(row, ORDERS, "ready_at")?),
            said_at: at(column(row, ORDERS, "ready_said_at")?),
        },
        "closed" => OrderState::Closed { delivered_by: None },
        // The lane holds all open orders in memory: this one it should have known.
        _ => {
            metric::checked("memory_is_whole", 1, 1);
            return Err(StoreError::Missed {
                table: ORDERS,
                expected: 0,
                rows: 1,
            });
        }
    };
    let (row_version, order_version) = (
        column(row, ORDERS, "version")?,
        column(row, ORDERS, "order_version")?,
    );
    Ok((
        index,
        Order {
            row_version,
            order_version,
            state,
        },
    ))
}
