//! Events for later: a timer that is stopped when it is not needed any more.
//!
//! `cargo run --example 05_schedule`

use std::time::Duration;

use ensue::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.created", topic = "orders", key = order_id)]
struct OrderCreated {
    order_id: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.paid", topic = "orders", key = order_id)]
struct OrderPaid {
    order_id: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(type = "reminder.due", topic = "reminders", key = order_id)]
struct ReminderDue {
    order_id: String,
}

struct Reminders;

#[service]
impl Reminders {
    #[on]
    async fn remember(&self, order: OrderCreated) -> Outgoing {
        let timer = format!("reminder-{}", order.order_id);
        let reminder = ReminderDue {
            order_id: order.order_id,
        };
        // Setting a timer again moves it.
        Outgoing::new(reminder).timer(timer, Duration::from_secs(2))
    }

    #[on]
    async fn forget(&self, paid: OrderPaid) -> Effects {
        Effects::none().cancel(format!("reminder-{}", paid.order_id))
    }

    #[on]
    async fn remind(&self, reminder: ReminderDue) {
        println!("please pay for {}", reminder.order_id);
    }
}

#[tokio::main]
async fn main() -> ensue::Result<()> {
    let engine = Engine::open("memory:").await?;
    let mut app = App::new(engine.clone()).service(Reminders).start().await?;
    let mut reminders = engine.tail("reminders").await?;
    let shop = app.publisher("/shop");
    for order_id in ["o-1", "o-2"] {
        shop.publish(OrderCreated {
            order_id: order_id.into(),
        })
        .await?;
    }
    app.settled().await?; // both are scheduled
    shop.publish(OrderPaid {
        order_id: "o-1".into(),
    })
    .await?;
    println!("o-1 is paid: only o-2 will be reminded");
    reminders.next().await;
    app.settled().await?;
    app.stop().await?;
    engine.close().await
}
