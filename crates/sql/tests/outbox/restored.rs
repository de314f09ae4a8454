//! Databases and engines that are not as old as each other.

use std::time::Duration;

use ensue::prelude::*;
use ensue_sql::{Database, Error, Value};

use super::shop::{ENGINE, Shop, Terms, integer, moves};

const AT_ONCE: Terms = Terms {
    begins_early: false,
    lingers: Duration::ZERO,
    commits: true,
};

/// What was relayed into one engine is not in another: nothing is relayed there until somebody decides.
pub(crate) async fn another_engine_gets_nothing<DB: Database>(shop: &Shop<DB>) {
    shop.accounts(1).await;
    let engine = Engine::open(ENGINE).await.unwrap();
    shop.move_on("a-0", AT_ONCE).await.unwrap();
    shop.outbox.relay(&engine).run_until_empty().await.unwrap();
    shop.move_on("a-0", AT_ONCE).await.unwrap();

    let other = Engine::open(ENGINE).await.unwrap();
    let refused = shop.outbox.relay(&other).run().await.unwrap_err();
    assert!(
        matches!(refused, Error::EngineBehind { engine: 0, .. }),
        "{refused}"
    );
    assert!(moves(&other).await.is_empty());

    shop.outbox.begin_anew().await.unwrap();
    shop.outbox.relay(&other).run_until_empty().await.unwrap();
    assert_eq!(
        moves(&other).await["a-0"],
        [2],
        "what waits, and nothing that was relayed"
    );
}

/// Keeps what the database knows of its outbox, as a backup would.
async fn keep<DB: Database>(shop: &Shop<DB>) {
    for (kept, table) in KEPT {
        shop.run(&format!("DROP TABLE IF EXISTS {kept}"), &[]).await;
        shop.run(
            &format!("CREATE TABLE {kept} AS SELECT * FROM {table}"),
            &[],
        )
        .await;
    }
}

/// Puts it back.
async fn put_back<DB: Database>(shop: &Shop<DB>) {
    for (kept, table) in KEPT {
        shop.run(&format!("DELETE FROM {table}"), &[]).await;
        shop.run(&format!("INSERT INTO {table} SELECT * FROM {kept}"), &[])
            .await;
    }
}

const KEPT: [(&str, &str); 2] = [
    ("kept_outbox", "ensue_outbox"),
    ("kept_relay", "ensue_outbox_relay"),
];

/// The database is put back from a backup: rows are there again that were relayed, and new ones may get
/// numbers that others had.
pub(crate) async fn rows_with_numbers_that_were_used_before<DB: Database>(shop: &Shop<DB>) {
    shop.accounts(4).await;
    let engine = Engine::open(ENGINE).await.unwrap();
    let relay = async || {
        shop.outbox.relay(&engine).run_until_empty().await.unwrap();
    };
    shop.move_on("a-0", AT_ONCE).await.unwrap();
    relay().await;

    // One batch behind, with its row: as after a relay that was killed.
    shop.move_on("a-1", AT_ONCE).await.unwrap();
    keep(shop).await;
    relay().await;
    put_back(shop).await;
    relay().await;
    shop.verify(&engine).await;

    // One batch behind, and another row has the number.
    keep(shop).await;
    shop.move_on("a-2", AT_ONCE).await.unwrap();
    let number = shop.rows("SELECT id FROM ensue_outbox").await;
    relay().await;
    put_back(shop).await;
    let insert =
        "INSERT INTO ensue_outbox (id, topic, type, event_key, data) VALUES (?, ?, ?, ?, ?)";
    let data = Value::Bytes(br#"{"account":"a-3","version":1}"#.to_vec());
    let number = integer(&number[0][0]);
    let values = [
        number.into(),
        "moves".into(),
        "account.moved".into(),
        "a-3".into(),
        data,
    ];
    shop.run(insert, &values).await;
    shop.run("UPDATE account SET version = 1 WHERE id = 'a-3'", &[])
        .await;
    relay().await;
    shop.verify(&engine).await;

    // Several batches behind.
    shop.move_on("a-0", AT_ONCE).await.unwrap();
    keep(shop).await;
    for _ in 0..3 {
        relay().await;
        shop.move_on("a-0", AT_ONCE).await.unwrap();
    }
    relay().await;
    put_back(shop).await;
    shop.move_on("a-1", AT_ONCE).await.unwrap();
    relay().await;
    shop.verify(&engine).await;
}
