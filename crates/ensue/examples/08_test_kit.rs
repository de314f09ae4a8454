//! A test of a service in six lines, and of a whole app against everything that can go wrong.
//!
//! `cargo run --example 08_test_kit` (in a project of yours these are `#[test]`s)

use ensue::prelude::*;
use ensue::testing::{Scenario, TestApp, explore};

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

struct Payments;

#[service]
impl Payments {
    #[on]
    async fn charge(&self, order: OrderCreated) -> OrderPaid {
        OrderPaid {
            order_id: order.order_id,
        }
    }
}

fn created(id: &str) -> OrderCreated {
    OrderCreated {
        order_id: id.into(),
    }
}

#[tokio::main]
async fn main() -> ensue::Result<()> {
    // Given nothing, when an order is created, then it is paid.
    let mut payments = Scenario::of(Payments).await?;
    let outcome = payments.when(created("o-1")).await?;
    outcome.then([OrderPaid {
        order_id: "o-1".into(),
    }]);

    // A crash before and after every step, every append doubled, other orders of arrival.
    let explored = explore(
        |app| app.service(Payments),
        async |app: &TestApp| {
            for id in ["o-1", "o-2", "o-3"] {
                app.publish(Outgoing::new(created(id)).id(id)).await?;
            }
            Ok(())
        },
        async |app: &TestApp| {
            let paid = app.events::<OrderPaid>().await?.len();
            assert_eq!(paid, 3, "each order is paid once, whatever happens");
            Ok(())
        },
    )
    .await?;
    println!(
        "{} runs over {} steps: each order paid once",
        explored.runs, explored.steps
    );
    Ok(())
}
