//! An outbox: a shop that keeps its orders in a database of its own, and says so, or does neither.
//!
//! The order and its event are one transaction; a ledger books what it hears of, once, too.
//!
//! `cargo run -p ensue-sql --features sqlite --example 12_outbox`

use ensue::prelude::*;
use ensue_sql::inbox::Inbox;
use ensue_sql::outbox::Outbox;
use ensue_sql::sqlx::{Sqlite, SqlitePool, query, raw_sql};

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.placed", topic = "orders", key = order)]
struct OrderPlaced {
    order: String,
    cents: i64,
}

struct Ledger {
    pool: SqlitePool,
    inbox: Inbox<Sqlite>,
}

#[service]
impl Ledger {
    #[on]
    async fn book(&self, placed: OrderPlaced, context: &Context) -> Result<(), Failure> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        if self.inbox.once(&mut transaction, context).await? {
            let book = query("INSERT INTO bookings (cents) VALUES (?)").bind(placed.cents);
            book.execute(&mut *transaction).await?;
            transaction.commit().await?;
            println!("booked {} of {}", placed.cents, placed.order);
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    std::fs::create_dir_all("./data/outbox")?;
    let pool = SqlitePool::connect("sqlite:./data/outbox/shop.db?mode=rwc").await?;
    let tables = "CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY);
                  CREATE TABLE IF NOT EXISTS bookings (cents INTEGER)";
    raw_sql(tables).execute(&pool).await?;
    let outbox = Outbox::open(&pool).await?.source("/shop");

    for number in 1..=10 {
        let mut transaction = pool.begin().await?;
        let order = query("INSERT INTO orders DEFAULT VALUES").execute(&mut *transaction);
        let order = format!("o-{}", order.await?.last_insert_rowid());
        let cents = number * 100;
        let placed = OrderPlaced { order, cents };
        outbox.publish(&mut transaction, placed).await?;
        // The third is thought better of.
        if number != 3 {
            transaction.commit().await?;
        }
    }

    let engine = Engine::open("embedded:./data/outbox/log").await?;
    let inbox = Inbox::open(&pool).await?;
    let app = App::new(engine.clone()).service(Ledger { pool, inbox });
    let mut running = app.start().await?;
    outbox.relay(&engine).run_until_empty().await?; // a server spawns `run()`
    running.settled().await?;
    Ok(running.stop().await?)
}
