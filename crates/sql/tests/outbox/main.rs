//! Outboxes in real databases: events are relayed once, in order and whole, whatever is killed.
//!
//! `ENSUE_SERVICES` names a JSON file with the servers, as `cargo xtask services status --json` prints it.
//! Tests of one server run one after the other, and nothing else may use it meanwhile.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod kills;
mod parked;
mod relayed;
mod restored;
mod shop;
mod woken;

use servers::Running;

use self::shop::{Shop, fresh_url, sqlite_url};

/// All that holds in every database.
macro_rules! everything {
    ($database:ty, $shop:expr) => {
        relayed::while_transactions_overlap::<$database>(&$shop.await).await;
        relayed::with_other_limits::<$database>(&$shop.await).await;
        relayed::by_a_program_that_knows_sql_alone::<$database>(&$shop.await).await;
        parked::a_row_that_is_refused_holds_up_its_key_alone::<$database>(&$shop.await).await;
        parked::what_was_discarded_lets_the_others_go::<$database>(&$shop.await).await;
        restored::another_engine_gets_nothing::<$database>(&$shop.await).await;
        restored::rows_with_numbers_that_were_used_before::<$database>(&$shop.await).await;
        kills::a_relay_that_is_dropped_at_any_moment::<$database>(&$shop.await).await;
        woken::by_its_own_process::<$database>(&$shop.await).await;
    };
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite() {
    use ensue_sql::sqlx::Sqlite;
    let directory = tempfile::tempdir().unwrap();
    let shop = || async {
        let own = directory.path().join(format!("{:x}", fastrand::u64(..)));
        std::fs::create_dir(&own).unwrap();
        Shop::<Sqlite>::open(&sqlite_url(&own)).await
    };
    everything!(Sqlite, shop());
    let own = tempfile::tempdir().unwrap();
    let url = sqlite_url(own.path());
    let shop = Shop::<Sqlite>::open(&url).await;
    kills::the_relay_is_killed::<Sqlite>(&shop, &url, None).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    use ensue_sql::sqlx::Postgres;
    let Some(server) = Running::find("postgres") else {
        return;
    };
    let shop = || async { Shop::<Postgres>::open(&fresh_url::<Postgres>(&server.url).await).await };
    everything!(Postgres, shop());
    relayed::a_transaction_that_goes_on_is_not_skipped_and_holds_up_nobody::<Postgres>(
        &shop().await,
    )
    .await;
    relayed::in_turn_where_nothing_else_is_locked::<Postgres>(&shop().await).await;
    woken::by_the_database(&shop().await).await;
    let url = fresh_url::<Postgres>(&server.url).await;
    let shop = Shop::<Postgres>::open(&url).await;
    kills::the_relay_is_killed::<Postgres>(&shop, &url, Some("redis")).await;
    let shop = Shop::open(&fresh_url::<Postgres>(&server.url).await).await;
    kills::the_database_is_killed::<Postgres>(&shop, &server).await;
}

#[cfg(feature = "mysql")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb() {
    use ensue_sql::sqlx::MySql;
    let Some(server) = Running::find("mariadb") else {
        return;
    };
    let shop = || async { Shop::<MySql>::open(&fresh_url::<MySql>(&server.url).await).await };
    everything!(MySql, shop());
    relayed::a_transaction_that_goes_on_is_not_skipped_and_holds_up_nobody::<MySql>(&shop().await)
        .await;
    relayed::in_turn_where_nothing_else_is_locked::<MySql>(&shop().await).await;
    let url = fresh_url::<MySql>(&server.url).await;
    let shop = Shop::<MySql>::open(&url).await;
    kills::the_relay_is_killed::<MySql>(&shop, &url, None).await;
    kills::the_database_is_killed::<MySql>(
        &Shop::open(&fresh_url::<MySql>(&server.url).await).await,
        &server,
    )
    .await;
}
