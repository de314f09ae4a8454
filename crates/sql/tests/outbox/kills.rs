//! What is killed at any instant: relays, and the database.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ensue::prelude::*;
use ensue_sql::Database;
use servers::Running;

use super::shop::{ENGINE, Shop};

/// How often something is killed in one test.
const KILLS: usize = 8;
const CHILD: &str = "ENSUE_TEST_OUTBOX";

/// A relay whose future is dropped somewhere, again and again.
pub(crate) async fn a_relay_that_is_dropped_at_any_moment<DB: Database>(shop: &Shop<DB>) {
    shop.accounts(3).await;
    let engine = Engine::open(ENGINE).await.unwrap();
    let relaying = async {
        loop {
            let relay = shop.outbox.relay(&engine).run();
            let moment = Duration::from_micros(fastrand::u64(100..12_000));
            if let Ok(ended) = tokio::time::timeout(moment, relay).await {
                ended.unwrap();
            }
        }
    };
    tokio::select! {
        () = shop.work(4, 3, 30) => {}
        () = relaying => {}
    }
    shop.outbox.relay(&engine).run_until_empty().await.unwrap();
    shop.verify(&engine).await;
}

/// A relay in a process of its own, which is killed with -9 while others write: into an embedded engine, or
/// into one on a server.
pub(crate) async fn the_relay_is_killed<DB: Database>(
    shop: &Shop<DB>,
    url: &str,
    server: Option<&str>,
) {
    let directory = tempfile::tempdir().unwrap();
    let engine_url = |name: &str| {
        let replica = directory.path().join(name);
        match server.and_then(Running::find) {
            Some(server) => {
                let namespace = directory.path().file_name().unwrap().to_string_lossy();
                let namespace: String = namespace.chars().filter(|c| c.is_alphanumeric()).collect();
                let url = server.namespace(&format!("outbox_{namespace}"));
                format!("{url}&lease=2s&replica={}", replica.display())
            }
            None => format!(
                "embedded:{}?dedup_window=0",
                directory.path().join("log").display()
            ),
        }
    };
    shop.accounts(3).await;
    let theirs = engine_url("theirs");
    let is_over = AtomicBool::new(false);
    let kills = async {
        for _ in 0..KILLS {
            let mut child = child::<DB>(url, &theirs);
            // From when it works, which is when a progress was followed.
            let begun = batch(shop).await;
            while batch(shop).await == begun {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            tokio::time::sleep(Duration::from_micros(fastrand::u64(..20_000))).await;
            child.kill().unwrap();
            child.wait().unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
    };
    let work = async {
        while !is_over.load(Ordering::Relaxed) {
            shop.work(3, 3, 5).await;
        }
    };
    tokio::join!(kills, work);
    let engine = Engine::open(&engine_url("ours")).await.unwrap();
    shop.outbox.relay(&engine).run_until_empty().await.unwrap();
    shop.verify(&engine).await;
    engine.close().await.unwrap();
}

async fn batch<DB: Database>(shop: &Shop<DB>) -> i64 {
    let rows = shop.rows("SELECT batch FROM ensue_outbox_relay").await;
    super::shop::integer(&rows[0][0])
}

fn child<DB: Database>(url: &str, engine: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "kills::a_relay"]);
    command.env(CHILD, format!("{}\n{url}\n{engine}", DB::KIND));
    command.stdout(Stdio::null()).spawn().unwrap()
}

/// What a child does: other tests start this one as a process of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay() {
    let Ok(told) = std::env::var(CHILD) else {
        return;
    };
    let told: Vec<&str> = told.lines().collect();
    match told[0] {
        #[cfg(feature = "postgres")]
        "postgres" => relay::<ensue_sql::sqlx::Postgres>(told[1], told[2]).await,
        #[cfg(feature = "mysql")]
        "mysql" => relay::<ensue_sql::sqlx::MySql>(told[1], told[2]).await,
        #[cfg(feature = "sqlite")]
        "sqlite" => relay::<ensue_sql::sqlx::Sqlite>(told[1], told[2]).await,
        other => panic!("{other}"),
    }
}

async fn relay<DB: Database>(url: &str, engine: &str) {
    let shop = Shop::<DB>::open(url).await;
    let engine = Engine::open(engine).await.unwrap();
    shop.outbox.relay(&engine).run().await.unwrap();
}

/// The database is killed and comes back while writers and two relays work.
pub(crate) async fn the_database_is_killed<DB: Database>(shop: &Shop<DB>, server: &Running) {
    shop.accounts(3).await;
    let engine = Engine::open(ENGINE).await.unwrap();
    let relays: Vec<_> = (0..2)
        .map(|_| tokio::spawn(shop.outbox.relay(&engine).run()))
        .collect();
    let server = Arc::new(server.clone());
    let kills = async {
        for _ in 0..KILLS / 2 {
            tokio::time::sleep(Duration::from_millis(fastrand::u64(50..400))).await;
            let server = server.clone();
            let restart = tokio::task::spawn_blocking(move || {
                server.kill();
                server.start();
            });
            restart.await.unwrap();
        }
    };
    tokio::join!(kills, shop.work(4, 3, 40));
    for relay in relays {
        assert!(!relay.is_finished(), "it waits for the database");
        relay.abort();
        let _ = relay.await;
    }
    shop.outbox.relay(&engine).run_until_empty().await.unwrap();
    // Where a commit was cut off, the writer does not know whether it was made, and neither has to: what the
    // database says is what the log says.
    shop.verify(&engine).await;
}
