//! A test of what happens later: the test owns the clock, so that two days take no time.
//!
//! `cargo run --example 14_test_time` (in a project of yours these are `#[test]`s)

use std::time::Duration;

use ensue::Timestamp;
use ensue::prelude::*;
use ensue::testing::TestApp;

#[derive(Event, Serialize, Deserialize, Debug, PartialEq)]
#[event(type = "order.created", topic = "orders", key = order_id)]
struct OrderCreated {
    order_id: String,
}

#[derive(Event, Serialize, Deserialize, Debug, PartialEq)]
#[event(type = "order.paid", topic = "orders", key = order_id)]
struct OrderPaid {
    order_id: String,
}

#[derive(Event, Serialize, Deserialize, Debug, PartialEq)]
#[event(type = "reminder.due", topic = "reminders", key = order_id)]
struct ReminderDue {
    order_id: String,
}

const PATIENCE: Duration = Duration::from_secs(24 * 3600);

struct Reminders;

#[service]
impl Reminders {
    #[on]
    async fn remember(&self, order: OrderCreated) -> Outgoing {
        let timer = format!("reminder-{}", order.order_id);
        let reminder = ReminderDue {
            order_id: order.order_id,
        };
        Outgoing::new(reminder).timer(timer, PATIENCE)
    }

    #[on]
    async fn forget(&self, paid: OrderPaid) -> Effects {
        Effects::none().cancel(format!("reminder-{}", paid.order_id))
    }
}

/// Who has been reminded so far. Events of different keys have no order between them: sorted.
async fn reminded(app: &TestApp) -> ensue::Result<Vec<String>> {
    let reminders = app.events::<ReminderDue>().await?.into_iter();
    let mut orders: Vec<String> = reminders.map(|it| it.order_id).collect();
    orders.sort_unstable();
    Ok(orders)
}

#[tokio::main]
async fn main() -> ensue::Result<()> {
    let mut app = TestApp::start(|app| app.service(Reminders)).await?;
    for order in ["o-1", "o-2", "o-3"] {
        let order_id = order.to_owned();
        app.publish(OrderCreated { order_id }).await?;
    }
    let order_id = "o-1".to_owned();
    app.publish(OrderPaid { order_id }).await?;

    // Everything that follows now has followed; what is scheduled waits for the clock.
    app.settle().await?;
    let scheduled = app.engine().scheduled(10).await?;
    let due: Vec<Timestamp> = scheduled.iter().map(|it| it.at).collect();
    assert_eq!(due, [app.clock().now() + PATIENCE; 2], "o-1 is paid");

    app.advance(PATIENCE - Duration::from_secs(1)).await?;
    assert!(reminded(&app).await?.is_empty(), "a second too early");

    // What is scheduled survives the death of the process.
    app.crash().await?;
    app.advance(Duration::from_secs(1)).await?;
    assert_eq!(reminded(&app).await?, ["o-2", "o-3"]);

    app.assert_no_dead_letters().await?;
    println!(
        "a day has passed, and {:?} were reminded",
        reminded(&app).await?
    );
    Ok(())
}
