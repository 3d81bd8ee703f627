//! `pending_assignments`: what is written of orders that are announced, open or closed.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use dispatch::Request;
use sqlx::PgConnection;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use uuid::Uuid;

use super::{OfGeo, StoreError, change};
use crate::book::{Changes, OrderRow, RequestRow};
use crate::order::OpenOrder;
use crate::units::stored;

const TABLE: &str = "pending_assignments";

/// The bound columns of orders as rows, for insertion and update alike.
macro_rules! given_orders {
    () => {
        "(SELECT UNNEST($1::text[]) AS geo, UNNEST($2::uuid[]) AS order_id, UNNEST($3::int[]) AS version, \
        UNNEST($4::text[]) AS state, UNNEST($5::int[]) AS order_version, UNNEST($6::timestamptz[]) AS ready_at, \
        UNNEST($7::timestamptz[]) AS ready_said_at, UNNEST($8::uuid[]) AS request_id, UNNEST($9::int[]) AS partition, \
        UNNEST($10::text[]) AS traceparent, UNNEST($11::int[]) AS request_version, UNNEST($12::int[]) AS attempt, \
        UNNEST($13::text[]) AS restaurant_id, UNNEST($14::float8[]) AS restaurant_lat, \
        UNNEST($15::float8[]) AS restaurant_lon, UNNEST($16::float8[]) AS customer_lat, \
        UNNEST($17::float8[]) AS customer_lon, UNNEST($18::timestamptz[]) AS placed_at, \
        UNNEST($19::timestamptz[]) AS requested_at, UNNEST($20::float8[]) AS search_radius_m, \
        UNNEST($21::text[]) AS cooled) AS u"
    };
}

const INSERT: &str = concat!(
    "INSERT INTO pending_assignments (geo, order_id, version, state, order_version, changed_at, ready_at, \
        ready_said_at, request_id, partition, traceparent, request_version, attempt, restaurant_id, restaurant_lat, \
        restaurant_lon, customer_lat, customer_lon, placed_at, requested_at, search_radius_m, cooled) \
    SELECT geo, order_id, version + 1, state, order_version, $22, ready_at, ready_said_at, request_id, partition, \
        traceparent, request_version, attempt, restaurant_id, restaurant_lat, restaurant_lon, customer_lat, customer_lon, \
        placed_at, requested_at, search_radius_m, cooled::jsonb \
    FROM ",
    given_orders!(),
);

const UPDATE: &str = concat!(
    "UPDATE pending_assignments p SET version = p.version + 1, state = u.state, \
        order_version = u.order_version, changed_at = $22, ready_at = u.ready_at, ready_said_at = u.ready_said_at, \
        request_id = u.request_id, partition = u.partition, traceparent = u.traceparent, \
        request_version = u.request_version, attempt = u.attempt, restaurant_id = u.restaurant_id, \
        restaurant_lat = u.restaurant_lat, restaurant_lon = u.restaurant_lon, customer_lat = u.customer_lat, \
        customer_lon = u.customer_lon, placed_at = u.placed_at, requested_at = u.requested_at, \
        search_radius_m = u.search_radius_m, cooled = u.cooled::jsonb \
    FROM ",
    given_orders!(),
    " WHERE p.geo = u.geo AND p.order_id = u.order_id AND p.version = u.version"
);

const DELETE: &str = "DELETE FROM pending_assignments p \
    USING UNNEST($1::text[], $2::uuid[], $3::int[]) AS u(geo, order_id, version) \
    WHERE p.geo = u.geo AND p.order_id = u.order_id AND p.version = u.version";

/// Stores the rows of `pending_assignments` that changed.
pub(super) async fn save(
    tx: &mut PgConnection,
    lanes: &[OfGeo<'_, Changes>],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let (mut new, mut known, mut gone) =
        (Columns::default(), Columns::default(), Columns::default());
    for (geo, row) in lanes
        .iter()
        .flat_map(|(geo, changes)| changes.orders.iter().map(move |row| (*geo, row)))
    {
        let columns = match row.row {
            RequestRow::Gone => &mut gone,
            _ if row.version == 0 => &mut new,
            _ => &mut known,
        };
        columns.push(geo, row);
    }
    for (statement, columns) in [(INSERT, new), (UPDATE, known)] {
        let expected = columns.geos.len();
        if expected > 0 {
            change(tx, TABLE, expected, columns.bind(statement, now)).await?;
        }
    }
    let expected = gone.geos.len();
    if expected > 0 {
        let query = sqlx::query(DELETE)
            .bind(gone.geos)
            .bind(gone.orders)
            .bind(gone.versions);
        change(tx, TABLE, expected, query).await?;
    }
    Ok(())
}

/// Forgets tombstones and announcements older than `before`.
pub async fn purge(
    tx: &mut PgConnection,
    geos: &[&str],
    before: DateTime<Utc>,
) -> Result<u64, StoreError> {
    let statement = "DELETE FROM pending_assignments WHERE geo = ANY($1) AND state <> 'open' AND changed_at < $2";
    Ok(sqlx::query(statement)
        .bind(geos)
        .bind(before)
        .execute(tx)
        .await?
        .rows_affected())
}

/// The rows by column.
#[derive(Default)]
struct Columns<'a> {
    geos: Vec<&'a str>,
    orders: Vec<Uuid>,
    versions: Vec<i32>,
    states: Vec<&'static str>,
    order_versions: Vec<i32>,
    ready: Vec<Option<DateTime<Utc>>>,
    ready_said: Vec<Option<DateTime<Utc>>>,
    open: Vec<Option<(&'a OpenOrder, &'a Request)>>,
}

impl<'a> Columns<'a> {
    fn push(&mut self, geo: &'a str, row: &'a OrderRow) {
        let (state, ready, open) = match &row.row {
            RequestRow::Announced { ready_at, said_at } => {
                ("announced", Some((*ready_at, *said_at)), None)
            }
            RequestRow::Open { order, request } => (
                "open",
                Some((request.ready_at, request.ready_said_at)),
                Some((order, request)),
            ),
            RequestRow::Closed | RequestRow::Gone => ("closed", None, None),
        };
        self.geos.push(geo);
        self.orders.push(row.order_id.0);
        self.versions.push(row.version);
        self.states.push(state);
        self.order_versions.push(row.order_version);
        self.ready.push(ready.map(|(at, _)| stored(at)));
        self.ready_said.push(ready.map(|(_, at)| stored(at)));
        self.open.push(open);
    }

    fn bind(
        self,
        statement: &'static str,
        now: DateTime<Utc>,
    ) -> Query<'a, sqlx::Postgres, PgArguments> {
        let order = |of: fn(&OpenOrder) -> i32| {
            self.open
                .iter()
                .map(|open| open.map(|(o, _)| of(o)))
                .collect::<Vec<_>>()
        };
        let number = |of: fn(&Request) -> i32| {
            self.open
                .iter()
                .map(|open| open.map(|(_, r)| of(r)))
                .collect::<Vec<_>>()
        };
        let degrees = |of: fn(&Request) -> f64| {
            self.open
                .iter()
                .map(|open| open.map(|(_, r)| of(r)))
                .collect::<Vec<_>>()
        };
        let instant = |of: fn(&Request) -> dispatch::At| {
            self.open
                .iter()
                .map(|open| open.map(|(_, r)| stored(of(r))))
                .collect::<Vec<_>>()
        };
        let (partitions, versions) = (order(|o| o.partition), number(|r| r.version));
        let (attempts, radii) = (number(|r| r.attempt as i32), degrees(|r| r.search_radius_m));
        let (placed, requested) = (instant(|r| r.placed_at), instant(|r| r.requested_at));
        let restaurants = (
            degrees(|r| r.restaurant.lat()),
            degrees(|r| r.restaurant.lon()),
        );
        let customers = (degrees(|r| r.customer.lat()), degrees(|r| r.customer.lon()));
        let requests: Vec<_> = self
            .open
            .iter()
            .map(|open| open.map(|(order, _)| order.request_id))
            .collect();
        let traces: Vec<_> = self
            .open
            .iter()
            .map(|open| open.map(|(order, _)| &*order.traceparent))
            .collect();
        let names: Vec<_> = self
            .open
            .iter()
            .map(|open| open.map(|(_, r)| r.restaurant_id.as_str()))
            .collect();
        let cooled: Vec<_> = self
            .open
            .iter()
            .map(|open| open.map(|(_, request)| cooled_text(request)))
            .collect();
        let query = sqlx::query(statement)
            .bind(self.geos)
            .bind(self.orders)
            .bind(self.versions)
            .bind(self.states);
        let query = query
            .bind(self.order_versions)
            .bind(self.ready)
            .bind(self.ready_said)
            .bind(requests);
        let query = query
            .bind(partitions)
            .bind(traces)
            .bind(versions)
            .bind(attempts)
            .bind(names);
        let query = query
            .bind(restaurants.0)
            .bind(restaurants.1)
            .bind(customers.0)
            .bind(customers.1);
        query
            .bind(placed)
            .bind(requested)
            .bind(radii)
            .bind(cooled)
            .bind(now)
    }
}

/// JSON: the driver's name to microseconds since the epoch.
fn cooled_text(request: &Request) -> String {
    if request.cooled.is_empty() {
        return "{}".to_owned();
    }
    let cooled: BTreeMap<&str, i64> = request
        .cooled
        .iter()
        .map(|(driver, until)| (driver.as_str(), until.0))
        .collect();
    serde_json::to_string(&cooled).expect("strings and integers are JSON")
}
