//! Events as rows of a database, each once: run it again, or `kill -9` it in the middle, and the sum is right.
//!
//! `cargo run -p ensue-sql --features sqlite --example 11_projection`

use ensue::Position;
use ensue::prelude::*;
use ensue_sql::sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use ensue_sql::sqlx::{self, Sqlite};
use ensue_sql::{Projection, Sql};
use std::time::Duration;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.created", topic = "orders", key = order_id)]
struct OrderCreated {
    order_id: String,
    customer: String,
    cents: i64,
}

struct Customers;

impl Customers {
    /// What it writes and the projection's position are one transaction.
    async fn created(&self, sql: &mut Sql<Sqlite>, order: OrderCreated) -> sqlx::Result<()> {
        let add = sql.query(
            "INSERT INTO {customers} VALUES (?, 1, ?) ON CONFLICT (name) \
             DO UPDATE SET orders = orders + 1, cents = cents + excluded.cents",
        );
        let add = add.bind(order.customer).bind(order.cents);
        add.execute(&mut **sql).await.map(|_| ())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let engine = Engine::open("embedded:./data/projection").await?;
    let file = SqliteConnectOptions::new().filename("./data/customers.db");
    let pool = SqlitePoolOptions::new()
        .connect_with(file.create_if_missing(true))
        .await?;
    let create = "CREATE TABLE IF NOT EXISTS {customers} \
                  (name TEXT PRIMARY KEY, orders BIGINT NOT NULL, cents BIGINT NOT NULL)";
    let running = Projection::new("customers", pool.clone(), Customers)
        .table("customers", create) // `customers_v1`, and a view `customers`
        .on(Customers::created)
        .start(&engine)
        .await?;

    let orders = (1..=1_000).map(|number: i64| OrderCreated {
        order_id: format!("o-{number}"),
        customer: format!("c-{}", number % 3),
        cents: number,
    });
    let appended = engine.publisher("/shop").publish_all(orders).await?;
    // The token to read your own write.
    let last = appended.last().map_or(Position::ZERO, |it| it.position);
    running
        .wait_until_applied(last, Duration::from_secs(60))
        .await?;
    let select = "SELECT name, orders, cents FROM customers ORDER BY name";
    for (name, orders, cents) in sqlx::query_as::<_, (String, i64, i64)>(select)
        .fetch_all(&pool)
        .await?
    {
        println!("{name}: {orders} orders, {cents} cents");
    }
    running.stop().await?;
    Ok(engine.close().await?)
}
