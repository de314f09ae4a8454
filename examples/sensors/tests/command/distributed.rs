//! On engines with servers, which are killed, too; on PostgreSQL the readings are there as well.
//!
//! `ENSUE_SERVICES` names a JSON file with the servers, as `cargo xtask services status --json` prints it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use ensue_sql::sqlx::{self, AssertSqlSafe};
use servers::Running;

use crate::kill::{drill, hall};

macro_rules! on {
    ($server:ident) => {
        mod $server {
            #[test]
            fn killed_now_and_then_every_reading_is_stored_once() {
                super::on(stringify!($server));
            }
        }
    };
}

on!(nats);
on!(postgres);
on!(redis);

/// One drill at a time.
static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());

fn on(name: &str) {
    let Some(server) = Running::find(name) else {
        return;
    };
    let _turn = TURN
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let namespace = format!("sensors_{:016x}", fastrand::u64(..));
    let mut hall = hall();
    let (url, copy) = (&server.url, hall.path().join("copy"));
    let copy = copy.display();
    let engine = format!("{url}?lease=2s&connect_timeout=10m&namespace={namespace}&replica={copy}");
    hall.places = vec!["--engine".into(), engine];
    if name == "postgres" {
        let database = database(url, &namespace);
        hall.places.extend(["--database".into(), database]);
    }
    drill(
        &hall,
        Some(&|| {
            server.kill();
            server.start();
        }),
    );
}

/// A database of its own.
fn database(url: &str, name: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let pool = sqlx::PgPool::connect(url).await.unwrap();
        let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::query(create).execute(&pool).await.unwrap();
        pool.close().await;
    });
    let (server, _) = url.rsplit_once('/').unwrap();
    format!("{server}/{name}")
}
