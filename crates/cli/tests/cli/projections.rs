//! `ensue projection`, on a file of SQLite, beside a program that runs the projection.

use ensue::prelude::*;
use ensue_sql::sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use ensue_sql::sqlx::{self, Sqlite};
use ensue_sql::{Projection, Sql};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::shop::{BINARY, PATIENCE};

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.created", topic = "orders", key = 0)]
struct OrderCreated(String);

struct Orders;

impl Orders {
    async fn created(
        &self,
        sql: &mut Sql<Sqlite>,
        OrderCreated(id): OrderCreated,
    ) -> sqlx::Result<()> {
        let insert = sql.query("INSERT INTO {orders} VALUES (?)");
        insert.bind(id).execute(&mut **sql).await.map(|_| ())
    }
}

/// What the command says; its errors, if it fails.
async fn ensue(directory: &TempDir, words: &[&str]) -> (bool, String) {
    let url = format!("sqlite:{}/shop.db", directory.path().display());
    let mut command = std::process::Command::new(BINARY);
    command.args(words).env("ENSUE_DATABASE", url);
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.unwrap().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projection_is_rebuilt_compared_and_switched_while_its_program_runs() {
    let directory = TempDir::new().unwrap();
    let engine = Engine::open("memory:").await.unwrap();
    let file = SqliteConnectOptions::new().filename(directory.path().join("shop.db"));
    let pool = SqlitePoolOptions::new().connect_with(file.create_if_missing(true));
    let pool = pool.await.unwrap();
    let running = Projection::new("orders", pool.clone(), Orders)
        .table(
            "orders",
            "CREATE TABLE IF NOT EXISTS {orders} (id TEXT PRIMARY KEY)",
        )
        .on(Orders::created);
    let running = running.start(&engine).await.unwrap();
    let orders = (0..300).map(|number| OrderCreated(format!("o-{number}")));
    let appended = engine.publisher("/shop").publish_all(orders).await.unwrap();
    let last = appended.last().unwrap().position;
    running.wait_until_applied(last, PATIENCE).await.unwrap();

    let (is_done, said) = ensue(&directory, &["projection", "rebuild", "orders", "--follow"]).await;
    assert!(
        is_done && said.contains("version 2 of `orders` has caught up"),
        "{said}"
    );
    let (is_done, said) = ensue(&directory, &["--json", "projection", "list"]).await;
    let listed: Value = serde_json::from_str(&said).unwrap();
    assert!(is_done);
    assert_eq!(listed[1]["group"], "orders-v2");
    assert_eq!(
        (&listed[0]["is_active"], &listed[1]["is_active"]),
        (&json!(true), &json!(false))
    );
    let (_, said) = ensue(&directory, &["projection", "list", "orders"]).await;
    assert!(
        said.contains("is read") && said.contains("beside") && said.contains("100 %"),
        "{said}"
    );

    let compare = ["projection", "compare", "orders", "1", "2"];
    let (is_equal, said) = ensue(&directory, &compare).await;
    assert!(is_equal && said.contains("the same"), "{said}");
    let remove = "DELETE FROM orders_v1 WHERE id = 'o-7'";
    sqlx::query(remove).execute(&pool).await.unwrap();
    let (is_equal, said) = ensue(&directory, &compare).await;
    assert!(
        !is_equal && said.contains("different") && said.contains("299"),
        "{said}"
    );

    let count = async || {
        let count = sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM orders");
        count.fetch_one(&pool).await.unwrap()
    };
    assert_eq!(count().await, 299);
    let (is_done, said) = ensue(&directory, &["projection", "switch", "orders", "2"]).await;
    assert!(
        is_done && said.contains("version 2 of `orders` is read"),
        "{said}"
    );
    assert_eq!(count().await, 300);
    let (is_done, said) = ensue(
        &directory,
        &["projection", "retire", "orders", "1", "--yes"],
    )
    .await;
    assert!(is_done, "{said}");
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_said_with_what_is() {
    let directory = TempDir::new().unwrap();
    let (is_done, said) = ensue(&directory, &["--json", "projection", "list"]).await;
    assert!(!is_done && said.contains("\"database\""), "{said}");
    let (is_done, said) = ensue(
        &directory,
        &["projection", "list", "--database", "oracle://x"],
    )
    .await;
    assert!(!is_done && said.contains("postgres://"), "{said}");
    std::fs::write(directory.path().join("shop.db"), "").unwrap();
    let (is_done, said) = ensue(&directory, &["projection", "list"]).await;
    assert!(is_done && said.contains("no projections yet"), "{said}");
    let (is_done, said) = ensue(&directory, &["projection", "rebuild", "orders"]).await;
    assert!(
        !is_done && said.contains("no projection `orders`"),
        "{said}"
    );
}
