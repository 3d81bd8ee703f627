//! Which orders are done with, and which stand still, on a real PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod sample;
mod tables;

use lifecycle::{Payment, State, Status};
use orders::fact::Said;
use orders::order::Order;
use orders::stuck;
use orders::working_set::WorkingSet;
use sample::{Bench, at, cancel, captured, fact, placed};
use tables::{database, in_state, insert, load, save};
use uuid::Uuid;

const ID: Uuid = Uuid::from_u128(7);

#[tokio::test]
async fn stuck_orders_are_those_that_nothing_has_moved_since_their_food_was_ready() {
    let pool = database().await;
    let under_way = |status| State {
        status,
        payment: Payment::Captured,
        ..State::NEW
    };
    let refunding = State {
        payment: Payment::RefundRequested,
        ..under_way(Status::Cancelled)
    };
    let orders = [
        (1, under_way(Status::Confirmed), at(0)),
        (2, under_way(Status::PickedUp), at(0)),
        (3, refunding, at(0)),
        // Its food is not ready yet.
        (4, under_way(Status::Confirmed), at(3_000)),
        (5, under_way(Status::Delivered), at(0)),
    ];
    for (id, state, ready_at) in orders {
        let order = Order {
            partition: 1,
            ready_at,
            ..in_state(id, state)
        };
        insert(order, &pool).await.unwrap();
    }
    let mut tx = pool.begin().await.unwrap();
    let patience = std::time::Duration::from_secs(1_800);
    // Saved at 5.
    for (now, count) in [(at(1_800), 0), (at(1_806), 3), (at(4_801), 4)] {
        let found = stuck::stuck(&[sample::GEO; 2], &[0, 1], patience, now, &mut tx)
            .await
            .unwrap();
        assert_eq!(found[0], stuck::Stuck::default());
        assert_eq!(
            (found[1].orders, found[1].since),
            (count, (count > 0).then_some(at(5)))
        );
    }
}

#[tokio::test]
async fn an_order_is_settled_when_it_and_its_money_have_come_to_rest() {
    let pool = database().await;
    let mut bench = Bench::new();
    bench.place(placed(ID));
    save(&bench.set, &pool).await.unwrap();
    for (said, settled) in [
        (captured(), false),
        (cancel(), false),
        (
            Said::PaymentRefunded {
                amount: sample::total(),
            },
            true,
        ),
    ] {
        let mut next = Bench::with(WorkingSet::new(load(&[ID], &pool).await, vec![]));
        assert_eq!(
            next.hear(fact(ID, 60, said.clone())),
            runtime::Verdict::Done
        );
        save(&next.set, &pool).await.unwrap();
        let found: bool = sqlx::query_scalar("SELECT settled_at IS NOT NULL FROM orders")
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(found, settled, "{said:?}");
    }
}
