//! Whether a placed order is one that can be charged, cooked and delivered: all that is wrong with it, not the first thing.
//!
//! Nothing that a checkout computed is trusted: the total is computed again from the lines. Zero is a latitude.

use contracts::Geo;
use contracts::orders::{OrderItem, OrderPlaced, RejectionReason};
use contracts::value::Point;

use crate::limit;

/// Everything that is wrong with an order placed on a topic of `geo`; empty: it is valid.
pub fn validate(placed: &OrderPlaced, geo: &Geo) -> Vec<RejectionReason> {
    let mut found = Findings::default();
    if placed.geo != geo.as_str() {
        found.add("geo", &placed.geo, || {
            format!("it was placed on a topic of {geo}")
        });
    }
    let (customer, restaurant) = (&placed.customer, &placed.restaurant);
    found.id("customer.id", &customer.id);
    found.name(
        "customer.name",
        customer.name.as_deref().unwrap_or_default(),
        limit::NAME,
    );
    found.name(
        "customer.webhook_url",
        customer.webhook_url.as_deref().unwrap_or_default(),
        limit::URL,
    );
    found.point("customer.location", &customer.location);
    found.id("restaurant.id", &restaurant.id);
    found.name(
        "restaurant.name",
        restaurant.name.as_deref().unwrap_or_default(),
        limit::NAME,
    );
    found.name(
        "restaurant.webhook_url",
        restaurant.webhook_url.as_deref().unwrap_or_default(),
        limit::URL,
    );
    found.point("restaurant.location", &restaurant.location);
    found.id("payment_method", &placed.payment_method);
    found.items(&placed.items);
    found.money(placed);
    found.times(placed);
    found.into_reasons()
}

/// The sum of lines, fee and tip; `None` when it does not fit.
fn total_minor(placed: &OrderPlaced) -> Option<i64> {
    let extras = placed.delivery_fee_minor.checked_add(placed.tip_minor)?;
    placed.items.iter().try_fold(extras, |sum, item| {
        sum.checked_add(
            item.unit_price_minor
                .checked_mul(i64::from(item.quantity))?,
        )
    })
}

#[derive(Default)]
struct Findings {
    reasons: Vec<RejectionReason>,
    beyond: usize,
}

impl Findings {
    fn add(&mut self, field: &str, value: impl ToString, message: impl FnOnce() -> String) {
        if self.reasons.len() == limit::REASONS {
            self.beyond += 1;
            return;
        }
        let value = limit::cut(&value.to_string(), limit::QUOTE).into_owned();
        self.reasons.push(RejectionReason {
            field: field.to_owned(),
            value,
            message: message(),
        });
    }

    fn into_reasons(mut self) -> Vec<RejectionReason> {
        if self.beyond > 0 {
            let (field, value) = (String::new(), String::new());
            let message = format!("and {} more", self.beyond);
            self.reasons.push(RejectionReason {
                field,
                value,
                message,
            });
        }
        self.reasons
    }

    fn id(&mut self, field: &str, id: &str) {
        if id.trim().is_empty() {
            self.add(field, id, || "it is empty".to_owned());
        }
        self.name(field, id, limit::ID);
    }

    fn name(&mut self, field: &str, name: &str, longest: usize) {
        if name.len() > longest {
            self.add(field, name, || format!("it is longer than {longest} bytes"));
        }
        if name.contains('\0') {
            self.add(field, name, || "it holds a NUL".to_owned());
        }
    }

    fn point(&mut self, field: &str, point: &Point) {
        if !(-90.0..=90.0).contains(&point.lat) {
            self.add(&format!("{field}.lat"), point.lat, || {
                "not within -90 to 90".to_owned()
            });
        }
        if !(-180.0..=180.0).contains(&point.lon) {
            self.add(&format!("{field}.lon"), point.lon, || {
                "not within -180 to 180".to_owned()
            });
        }
    }

    fn items(&mut self, items: &[OrderItem]) {
        if items.is_empty() {
            self.add("items", "[]", || "there are none".to_owned());
        }
        if items.len() > limit::LINES {
            self.add("items", format!("{} lines", items.len()), || {
                format!("more than {}", limit::LINES)
            });
        }
        for (index, item) in items.iter().enumerate() {
            if !(1..=limit::QUANTITY).contains(&item.quantity) {
                let message = || format!("not within 1 to {}", limit::QUANTITY);
                self.add(&format!("items[{index}].quantity"), item.quantity, message);
            }
            if item.unit_price_minor < 0 {
                let field = format!("items[{index}].unit_price_minor");
                self.add(&field, item.unit_price_minor, || {
                    "it is negative".to_owned()
                });
            }
            // Names of fields are built for what is wrong only: nearly all lines are right.
            if item.id.trim().is_empty() || item.id.len() > limit::ID || item.id.contains('\0') {
                self.id(&format!("items[{index}].id"), &item.id);
            }
            if item.name.len() > limit::NAME || item.name.contains('\0') {
                self.name(&format!("items[{index}].name"), &item.name, limit::NAME);
            }
        }
    }

    fn money(&mut self, placed: &OrderPlaced) {
        for (field, amount) in [
            ("delivery_fee_minor", placed.delivery_fee_minor),
            ("tip_minor", placed.tip_minor),
        ] {
            if amount < 0 {
                self.add(field, amount, || "it is negative".to_owned());
            }
        }
        if let Err(error) = placed.total.check_currency() {
            self.add("total.currency", &placed.total.currency, || {
                error.to_string()
            });
        }
        let given = placed.total.amount_minor;
        if given <= 0 {
            self.add("total.amount_minor", given, || {
                "there is nothing to charge".to_owned()
            });
        }
        match total_minor(placed) {
            Some(total) if total == given => {}
            Some(total) => self.add("total.amount_minor", given, || {
                format!("items, fee and tip make {total}")
            }),
            None => self.add("total.amount_minor", given, || {
                "items, fee and tip do not fit 64 bits".to_owned()
            }),
        }
    }

    fn times(&mut self, placed: &OrderPlaced) {
        for (field, instant) in [
            ("placed_at", placed.placed_at),
            ("ready_at", placed.ready_at),
        ] {
            if !limit::is_plausible(instant) {
                self.add(field, instant, || "not within 2000 to 2200".to_owned());
            }
        }
        if placed.ready_at < placed.placed_at {
            let placed_at = placed.placed_at;
            self.add("ready_at", placed.ready_at, || {
                format!("before placed_at, {placed_at}")
            });
        }
        if !(0..=limit::PREPARATION_S).contains(&placed.prep_total_s) {
            let message = || format!("not within 0 to {}", limit::PREPARATION_S);
            self.add("prep_total_s", placed.prep_total_s, message);
        }
    }
}
