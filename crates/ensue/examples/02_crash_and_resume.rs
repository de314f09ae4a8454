//! Kill it in the middle of its work and start it again: it goes on where it was.
//!
//! `cargo run --example 02_crash_and_resume`, then `kill -9` its pid, then the same command again.
//! The numbers go on; none is missing and none appears twice among the results.

use std::time::Duration;

use ensue::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "number.given", topic = "numbers", key = number)]
struct NumberGiven {
    number: u64,
}

#[derive(Event, Serialize, Deserialize)]
#[event(type = "number.squared", topic = "squares", key = number)]
struct NumberSquared {
    number: u64,
    square: u64,
}

struct Squares;

#[service]
impl Squares {
    /// Takes its time, so that there is a middle to be killed in.
    #[on(concurrency = 4)]
    async fn square(&self, given: NumberGiven, context: &Context) -> NumberSquared {
        context.clock().sleep(Duration::from_millis(100)).await;
        println!(
            "{} squared, at position {}",
            given.number,
            context.position()
        );
        NumberSquared {
            number: given.number,
            square: given.number * given.number,
        }
    }
}

#[tokio::main]
async fn main() -> ensue::Result<()> {
    println!("pid {}", std::process::id());
    let engine = Engine::open("embedded:./data/crash").await?;
    let publisher = engine.publisher("/numbers");
    // Their ids derive from what they are, so publishing them again after a crash adds nothing.
    let numbers =
        (1..=200).map(|number| Outgoing::new(NumberGiven { number }).id(format!("given-{number}")));
    publisher.publish_all(numbers).await?;
    App::new(engine).service(Squares).run().await
}
