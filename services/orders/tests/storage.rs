//! Orders in a real PostgreSQL: what is saved is what is loaded, every state fits, and nothing is placed twice.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod sample;
mod tables;

use lifecycle::{Assignment, Kitchen as Progress, Payment, Phase, State, Status};
use orders::early_store;
use orders::order::Order;
use orders::store::{self};
use orders::working_set::{Early, WorkingSet};
use runtime::ApplyError;
use sample::{
    Bench, LANE, assigned, at, cancel, captured, delivered, fact, food_ready, kitchen_rejects,
    picked_up, placed, ready_in,
};
use sqlx::{PgConnection, PgPool, Row};
use tables::{database, in_state, insert, load, save};
use uuid::Uuid;

const ID: Uuid = Uuid::from_u128(7);

async fn load_early(ids: &[Uuid], pool: &PgPool) -> Vec<Early> {
    early_store::load(ids, &mut pool.begin().await.unwrap())
        .await
        .unwrap()
}

#[tokio::test]
async fn an_order_comes_back_as_it_was_saved_after_each_of_its_steps() {
    let pool = database().await;
    let mut bench = Bench::new();
    bench.place(placed(ID));
    save(&bench.set, &pool).await.unwrap();
    let story = [
        ready_in(1_500),
        captured(),
        assigned(1, "d-1"),
        orders::fact::Said::AssignmentReleased { attempt: 1 },
        orders::fact::Said::AssignmentFailed {
            attempt: 2,
            reason: contracts::driver_assignment::FailureReason::NoAvailableDriver,
            retry_after_s: 30,
            last: false,
        },
        assigned(3, "d-2"),
        food_ready(1_450),
        picked_up("d-2"),
        delivered("d-2"),
    ];
    for (second, said) in story.into_iter().enumerate() {
        let before = load(&[ID], &pool).await;
        let mut next = Bench::with(WorkingSet::new(before, vec![]));
        let verdict = next.hear(fact(ID, 10 + second as i64, said));
        assert_eq!(verdict, runtime::Verdict::Done);
        save(&next.set, &pool).await.unwrap();
        assert_eq!(
            load(&[ID], &pool).await,
            [next.set.order(ID).unwrap().clone()]
        );
    }
    let last = &load(&[ID], &pool).await[0];
    assert_eq!((last.state.status, last.version), (Status::Delivered, 10));
}

#[tokio::test]
async fn an_invalid_order_is_stored_whatever_is_wrong_with_it() {
    let pool = database().await;
    let mut order = placed(ID);
    order.customer.id = "a\0b".repeat(1_000);
    order.customer.location.lat = 1e300;
    order.items[0].name = "\0".into();
    order.items[0].quantity = i32::MIN;
    order.total.currency = "E\0RO".into();
    order.total.amount_minor = i64::MIN;
    order.tip_minor = -1;
    order.payment_method = "\0".into();
    order.placed_at = chrono::DateTime::<chrono::Utc>::MIN_UTC;
    order.ready_at = chrono::DateTime::<chrono::Utc>::MAX_UTC;
    let mut bench = Bench::new();
    bench.place(order);
    save(&bench.set, &pool).await.unwrap();
    let stored = load(&[ID], &pool).await;
    assert_eq!(stored[0].state.status, Status::Rejected);
    assert_eq!(stored, [bench.set.order(ID).unwrap().clone()]);
    let reason: String = sqlx::query_scalar("SELECT reason FROM order_transitions")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert!(
        reason.contains("items[0].quantity = -2147483648"),
        "{reason}"
    );
}

#[tokio::test]
async fn every_state_fits_the_constraints() {
    let pool = database().await;
    let mut number = 0;
    for &status in Status::ALL {
        for &payment in Payment::ALL {
            for &kitchen in Progress::ALL {
                for &phase in Phase::ALL {
                    let undelivered = matches!(
                        status,
                        Status::PaymentFailed | Status::Cancelled | Status::Undeliverable
                    );
                    if undelivered && payment == Payment::Captured {
                        continue;
                    }
                    number += 1;
                    let state = State {
                        status,
                        payment,
                        kitchen,
                        assignment: Assignment { attempt: 3, phase },
                    };
                    let order = in_state(number, state);
                    insert(order.clone(), &pool).await.unwrap();
                    assert_eq!(load(&[order.id], &pool).await, [order]);
                }
            }
        }
    }
    assert_eq!(number, (10 * 6 - 3) * 4 * 5);
}

#[tokio::test]
async fn what_must_never_be_is_refused() {
    let pool = database().await;
    insert(
        in_state(
            7,
            State {
                status: Status::DriverAssigned,
                ..State::NEW
            },
        ),
        &pool,
    )
    .await
    .unwrap();
    let wrong = [
        ("UPDATE orders SET status = 'lost'", "orders_status_check"),
        ("UPDATE orders SET payment = 'owed'", "orders_payment_check"),
        (
            "UPDATE orders SET kitchen = 'burnt'",
            "orders_kitchen_check",
        ),
        (
            "UPDATE orders SET assignment_phase = 'x'",
            "orders_assignment_phase_check",
        ),
        ("UPDATE orders SET driver_id = NULL", "orders_driver"),
        (
            "UPDATE orders SET status = 'cancelled', payment = 'captured'",
            "orders_refund",
        ),
        ("UPDATE orders SET total_minor = 0", "orders_money"),
        ("UPDATE orders SET version = 0", "orders_version_check"),
        ("UPDATE orders SET partition = -1", "orders_partition_check"),
    ];
    for (statement, constraint) in wrong {
        let error = sqlx::query(statement).execute(&pool).await.unwrap_err();
        assert_eq!(
            error.as_database_error().unwrap().constraint(),
            Some(constraint),
            "{statement}"
        );
    }
}

#[tokio::test]
async fn the_audit_says_who_moved_an_order_when_and_by_which_event() {
    let pool = database().await;
    let mut bench = Bench::new();
    bench.order(ID, [captured(), cancel()]);
    save(&bench.set, &pool).await.unwrap();
    let rows = sqlx::query(
        "SELECT version, event, event_id, actor, from_status, to_status, payment, reason, occurred_at, recorded_at \
         FROM order_transitions WHERE geo = $1 AND order_id = $2 ORDER BY version",
    )
    .bind(sample::GEO)
    .bind(ID)
    .fetch_all(&pool)
    .await
    .unwrap();
    let text = |row: &sqlx::postgres::PgRow, column: &str| {
        row.get::<Option<String>, _>(column)
            .unwrap_or_else(|| "-".to_owned())
    };
    let columns = [
        "event",
        "actor",
        "from_status",
        "to_status",
        "payment",
        "reason",
    ];
    let audit: Vec<String> = rows
        .iter()
        .map(|row| columns.map(|column| text(row, column)).join(" "))
        .collect();
    assert_eq!(
        audit,
        [
            "OrderPlaced checkout placed payment_pending requested -",
            "PaymentCaptured payments payment_pending confirmed captured -",
            "OrderCancelRequested CUSTOMER confirmed cancelled refund_requested not hungry",
        ]
    );
    assert_eq!(
        rows[2].get::<Option<Uuid>, _>("event_id"),
        Some(fact(ID, 11, cancel()).event_id)
    );
    assert_eq!(
        (rows[2].get("occurred_at"), rows[2].get("recorded_at")),
        (at(11), at(5))
    );
    // The row of the order says where to look for what moved it last: nothing else finds it among millions.
    let last: String = sqlx::query_scalar(
        "SELECT t.event FROM orders o JOIN order_transitions t \
             ON t.recorded_at = o.updated_at AND t.order_id = o.order_id AND t.version = o.version",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(last, "OrderCancelRequested");
}

#[tokio::test]
async fn an_order_that_another_instance_placed_first_fails_the_cycle_as_transient() {
    let pool = database().await;
    let mut bench = Bench::new();
    bench.order(ID, [captured()]);
    let mut late = Bench::new();
    late.place(placed(ID));
    save(&bench.set, &pool).await.unwrap();
    let error = save(&late.set, &pool).await.unwrap_err();
    assert!(matches!(ApplyError::from(error), ApplyError::Transient(_)));
    assert_eq!(
        load(&[ID], &pool).await,
        [bench.set.order(ID).unwrap().clone()]
    );
    let mut again = Bench::with(WorkingSet::new(load(&[ID], &pool).await, vec![]));
    assert_eq!(again.place(placed(ID)), runtime::Verdict::Skip("duplicate"));
}

#[tokio::test]
async fn orders_are_locked_while_a_cycle_works_on_them() {
    let pool = database().await;
    insert(in_state(7, State::NEW), &pool).await.unwrap();
    let mut first = pool.begin().await.unwrap();
    assert_eq!(store::load(&[ID], &mut first).await.unwrap().len(), 1);
    let mut second = pool.begin().await.unwrap();
    sqlx::query("SET LOCAL lock_timeout = '10ms'")
        .execute(&mut *second)
        .await
        .unwrap();
    let error = store::load(&[ID], &mut second).await.unwrap_err();
    assert!(matches!(ApplyError::from(error), ApplyError::Transient(_)));
}

#[tokio::test]
async fn a_set_of_orders_is_inserted_and_updated_by_one_statement_each() {
    let pool = database().await;
    let mut bench = Bench::new();
    let ids: Vec<Uuid> = (0..300).map(Uuid::from_u128).collect();
    for id in &ids {
        bench.place(placed(*id));
    }
    let mut tx = pool.begin().await.unwrap();
    store::save(&bench.set, at(5), &mut tx).await.unwrap();
    // Commands count from 0 within a transaction: the insert of orders, then that of the audit.
    assert_eq!(commands(&mut tx).await, (0, 1));
    tx.commit().await.unwrap();
    let mut next = Bench::with(WorkingSet::new(load(&ids, &pool).await, vec![]));
    for id in &ids {
        assert_eq!(next.hear(fact(*id, 1, captured())), runtime::Verdict::Done);
    }
    save(&next.set, &pool).await.unwrap();
    let stored = load(&ids, &pool).await;
    assert_eq!(stored.len(), 300);
    assert!(
        stored
            .iter()
            .all(|order| order.state.status == Status::Confirmed && order.version == 2)
    );
}

/// The numbers of the commands that inserted all orders and all audit rows: equal for all rows of one statement.
async fn commands(tx: &mut PgConnection) -> (i64, i64) {
    sqlx::query_as(
        "SELECT (SELECT cmin::text::bigint FROM orders GROUP BY 1), \
         (SELECT cmin::text::bigint FROM order_transitions GROUP BY 1)",
    )
    .fetch_one(tx)
    .await
    .unwrap()
}

#[tokio::test]
async fn searches_to_be_repeated_are_found_by_the_lane_of_their_partition() {
    let pool = database().await;
    let waiting = Assignment {
        attempt: 2,
        phase: Phase::Waiting,
    };
    for (id, partition, due_at) in [(1, 0, Some(at(60))), (2, 1, Some(at(70))), (3, 1, None)] {
        let state = State {
            status: Status::Confirmed,
            assignment: waiting,
            ..State::NEW
        };
        insert(
            Order {
                partition,
                assignment_due_at: due_at,
                ..in_state(id, state)
            },
            &pool,
        )
        .await
        .unwrap();
    }
    let mut tx = pool.begin().await.unwrap();
    let due = store::assignments_due(
        &[sample::GEO, "elsewhere", sample::GEO],
        &[5, 1, 1],
        &mut tx,
    )
    .await
    .unwrap();
    assert_eq!(due, [(2, Uuid::from_u128(2), at(70))]);
}

#[tokio::test]
async fn what_was_heard_early_survives_and_is_gone_once_applied() {
    let pool = database().await;
    let mut bench = Bench::new();
    let said = [
        ready_in(1_500),
        food_ready(1_450),
        cancel(),
        kitchen_rejects("r-1"),
    ];
    for (second, said) in said.into_iter().enumerate() {
        bench.hear(fact(ID, second as i64, said));
    }
    let kept: Vec<Early> = bench.set.newly_kept().into_iter().cloned().collect();
    save(&bench.set, &pool).await.unwrap();
    let stored = load_early(&[ID], &pool).await;
    assert!(stored.iter().all(|early| early.id.is_some()));
    let without_id: Vec<Early> = stored
        .iter()
        .cloned()
        .map(|early| Early { id: None, ..early })
        .collect();
    assert_eq!((without_id.len(), &without_id), (4, &kept));
    let mut tx = pool.begin().await.unwrap();
    let waiting = early_store::waiting(&[LANE, "another/0"], &mut tx)
        .await
        .unwrap();
    assert_eq!(waiting, [(LANE.to_owned(), ID)]);
    drop(tx);
    let mut next = Bench::with(WorkingSet::new(vec![], stored));
    next.place(placed(ID));
    save(&next.set, &pool).await.unwrap();
    assert_eq!(load(&[ID], &pool).await[0].state.status, Status::Cancelled);
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM early_events")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn what_is_given_up_stays_for_a_person_and_is_not_loaded_again() {
    let pool = database().await;
    let mut bench = Bench::new();
    bench.hear(fact(ID, 1, kitchen_rejects("r-2")));
    save(&bench.set, &pool).await.unwrap();
    let mut next = Bench::with(WorkingSet::new(vec![], load_early(&[ID], &pool).await));
    next.place(placed(ID));
    save(&next.set, &pool).await.unwrap();
    assert_eq!(load_early(&[ID], &pool).await, []);
    let why: String = sqlx::query_scalar("SELECT given_up FROM early_events")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert!(why.contains("restaurant_id = r-2"), "{why}");
}
