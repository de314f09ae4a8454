//! Once, in order, and whole.

use std::time::Duration;

use ensue::prelude::*;
use ensue_sql::{Database, Value};

use super::shop::{ENGINE, Moved, Shop, Terms, moves};

/// Writers whose transactions overlap and end in another order than they began, and two relays that race.
pub(crate) async fn while_transactions_overlap<DB: Database>(shop: &Shop<DB>) {
    shop.accounts(5).await;
    let engine = Engine::open(ENGINE).await.unwrap();
    let quick = Duration::from_millis(1);
    let relays: Vec<_> = (0..2)
        .map(|_| tokio::spawn(shop.outbox.relay(&engine).poll(quick, quick).run()))
        .collect();
    shop.work(6, 5, 25).await;
    shop.outbox.relay(&engine).run_until_empty().await.unwrap();
    for relay in relays {
        assert!(!relay.is_finished(), "it runs until it is dropped");
        relay.abort();
        let _ = relay.await;
    }
    shop.outbox.relay(&engine).run_until_empty().await.unwrap();
    shop.verify(&engine).await;
}

/// A row with a lower number that is committed later is relayed later; until then nobody waits for it.
pub(crate) async fn a_transaction_that_goes_on_is_not_skipped_and_holds_up_nobody<DB: Database>(
    shop: &Shop<DB>,
) {
    shop.accounts(2).await;
    let engine = Engine::open(ENGINE).await.unwrap();
    let mut relay = shop.outbox.relay(&engine);
    let mut long = shop.pool.begin_with(DB::BEGIN).await.unwrap();
    let moved = |account: &str| Moved {
        account: account.to_owned(),
        version: 1,
    };
    shop.outbox.publish(&mut long, moved("a-0")).await.unwrap();
    let at_once = Terms {
        begins_early: false,
        lingers: Duration::ZERO,
        commits: true,
    };
    shop.move_on("a-1", at_once).await.unwrap();
    assert_eq!(
        relay.run_until_empty().await.unwrap(),
        1,
        "the one that has committed"
    );
    assert!(moves(&engine).await.contains_key("a-1"));

    long.commit().await.unwrap();
    assert_eq!(
        relay.run_until_empty().await.unwrap(),
        1,
        "and then the other"
    );
    assert!(moves(&engine).await.contains_key("a-0"));
}

/// An engine that takes less at once than a batch has gets it in pieces.
pub(crate) async fn with_other_limits<DB: Database>(shop: &Shop<DB>) {
    let engine = Engine::open(ENGINE).await.unwrap();
    let mut transaction = shop.pool.begin_with(DB::BEGIN).await.unwrap();
    let large = "x".repeat(1 << 20);
    for number in 0..24 {
        let event = Envelope::builder("large", "large.thing").key(format!("{number}"));
        let event = event.payload(ensue::Codec::Json, format!("\"{large}\"").into_bytes());
        shop.outbox
            .publish(&mut transaction, Outgoing::raw(event))
            .await
            .unwrap();
    }
    transaction.commit().await.unwrap();
    assert_eq!(
        shop.outbox.relay(&engine).run_until_empty().await.unwrap(),
        24
    );
    let status = shop.outbox.status().await.unwrap();
    assert_eq!((status.waiting, status.refused), (0, 0));
}

/// Rows that are written by hand are events: with an id, a source and a time, the same after a crash.
pub(crate) async fn by_a_program_that_knows_sql_alone<DB: Database>(shop: &Shop<DB>) {
    let insert = "INSERT INTO ensue_outbox (topic, type, event_key, data) VALUES (?, ?, ?, ?)";
    let data = Value::Bytes(br#"{"account": "a-7", "version": 1}"#.to_vec());
    let values = ["moves".into(), "account.moved".into(), "a-7".into(), data];
    shop.run(insert, &values).await;
    let status = shop.outbox.status().await.unwrap();
    assert_eq!(status.waiting, 1);
    let lag = status.lag.expect("it waits");
    assert!(
        lag < Duration::from_secs(3_600),
        "by the database's clock: {lag:?}"
    );

    let engine = Engine::open(ENGINE).await.unwrap();
    let mut tail = engine.tail("moves").await.unwrap();
    assert_eq!(
        shop.outbox.relay(&engine).run_until_empty().await.unwrap(),
        1
    );
    let event = tail.next().await.unwrap().unwrap().envelope;
    assert_eq!((event.key(), event.source()), ("a-7", "/outbox"));
    assert!(event.id().len() >= 32, "{}", event.id());
    assert_eq!(event.decode::<Moved>().unwrap().version, 1);
    let hour = Duration::from_secs(3_600);
    let now = ensue::Timestamp::now();
    assert!(now.plus(hour) > event.time() && event.time().plus(hour) > now);
}

/// Transactions that lock nothing but their turn: those that publish later have committed later.
pub(crate) async fn in_turn_where_nothing_else_is_locked<DB: Database>(shop: &Shop<DB>) {
    let moved = |version| Moved {
        account: "a-0".to_owned(),
        version,
    };
    let mut first = shop.pool.begin_with(DB::BEGIN).await.unwrap();
    shop.outbox
        .publish_in_turn(&mut first, moved(1))
        .await
        .unwrap();
    let second = async {
        let mut second = shop.pool.begin_with(DB::BEGIN).await.unwrap();
        shop.outbox
            .publish_in_turn(&mut second, moved(2))
            .await
            .unwrap();
        second.commit().await.unwrap();
    };
    let mut second = std::pin::pin!(second);
    let moment = tokio::time::timeout(Duration::from_millis(300), &mut second).await;
    assert!(moment.is_err(), "it waits for the first");
    let mut other = shop.pool.begin_with(DB::BEGIN).await.unwrap();
    let elsewhere = Moved {
        account: "a-1".to_owned(),
        version: 1,
    };
    shop.outbox
        .publish_in_turn(&mut other, elsewhere)
        .await
        .unwrap();
    other.commit().await.unwrap();
    first.commit().await.unwrap();
    second.await;

    let engine = Engine::open(ENGINE).await.unwrap();
    shop.outbox.relay(&engine).run_until_empty().await.unwrap();
    assert_eq!(moves(&engine).await["a-0"], [1, 2]);
}
