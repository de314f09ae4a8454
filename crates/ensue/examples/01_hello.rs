//! One event, two services, one directory: `cargo run -p ensue --example 01_hello`

use ensue::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(name = "order.created", topic = "orders", key = order_id)]
struct OrderCreated {
    order_id: String,
}

#[tokio::main]
async fn main() -> ensue::Result<()> {
    let engine = ensue::connect("embedded:./data/hello").await?;
    let shop = Publisher::new(engine.clone(), "/shop");
    let order_id = format!("o-{}", std::process::id());
    shop.publish(OrderCreated { order_id }).await?;
    let charge = |order: OrderCreated| async move { println!("charging {}", order.order_id) };
    let thank = |order: OrderCreated| async move { println!("thank you for {}", order.order_id) };
    App::new(engine)
        .on("payments", charge)
        .on("letters", thank)
        .run() // until Ctrl-C
        .await
}
