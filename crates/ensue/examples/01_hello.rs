//! A handler returns what another handles: `cargo run -p ensue --example 01_hello`

use ensue::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.created", topic = "orders", key = 0)]
struct OrderCreated(String);

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.paid", topic = "orders", key = 0)]
struct OrderPaid(String);

async fn charge(OrderCreated(order): OrderCreated) -> OrderPaid {
    OrderPaid(order)
}

async fn thank(OrderPaid(order): OrderPaid) {
    println!("thank you for {order}");
}

#[tokio::main]
async fn main() -> ensue::Result<()> {
    let engine = Engine::open("embedded:./data/hello").await?;
    engine.publish(OrderCreated("o-1".into())).await?;
    let app = App::new(engine).on("payments", charge);
    app.on("letters", thank).run().await // until Ctrl-C
}
