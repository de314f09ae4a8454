//! A view in memory: sums that follow the log, and are there again after a restart.
//!
//! `cargo run -p ensue --example 15_read_model`

use std::collections::BTreeMap;
use std::time::Duration;

use ensue::prelude::*;
use ensue::{Position, ReadModel};

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.created", topic = "orders", key = order_id)]
struct OrderCreated {
    order_id: String,
    customer: String,
    cents: i64,
}

#[derive(Default, Serialize, Deserialize)]
struct Customers(BTreeMap<String, i64>);

impl Customers {
    fn created(&mut self, order: OrderCreated) -> Result<(), String> {
        if order.cents < 0 {
            return Err(format!("an order of {} cents", order.cents)); // left out, and a dead letter
        }
        *self.0.entry(order.customer).or_default() += order.cents;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let engine = Engine::open("embedded:./data/read-model").await?;
    let customers = ReadModel::new("customers", Customers::default)
        .on(Customers::created)
        .snapshots(10_000) // a start reads the newest one, and what came after
        .start(&engine)
        .await?;
    println!("at position {} of the log", customers.position());

    let orders = (1..=1_000).map(|number| OrderCreated {
        order_id: format!("o-{number}"),
        customer: format!("c-{}", number % 3),
        cents: if number == 500 { -1 } else { number },
    });
    let appended = engine.publisher("/shop").publish_all(orders).await?;
    // The token to read your own write.
    let last = appended.last().map_or(Position::ZERO, |it| it.position);
    customers
        .wait_until_applied(last, Duration::from_secs(60))
        .await?;
    customers.read(|view| {
        for (customer, cents) in &view.0 {
            println!("{customer}: {cents} cents");
        }
    })?;
    engine.settled(["customers"]).await?;
    let dead = engine.group("customers").await?.dead;
    println!("{dead} orders could not be applied: `ensue dead list`");
    customers.stop().await?;
    Ok(engine.close().await?)
}
