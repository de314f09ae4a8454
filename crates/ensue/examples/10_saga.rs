//! A process over time: a step and a wait. What cannot be finished is undone, in reverse.
//!
//! `cargo run --example 10_saga`

use std::time::Duration;

use ensue::prelude::*;
use ensue::{Flow, Saga, Step};

#[derive(Event, Serialize, Deserialize)]
#[event(type = "trip.requested", topic = "trips", key = 0)]
struct TripRequested(String);

#[derive(Event, Serialize, Deserialize)]
#[event(type = "trip.paid", topic = "payments", key = 0)]
struct TripPaid(String);

#[derive(State, Serialize, Deserialize)]
#[state(name = "trip")]
struct Trip(bool);

struct BookFlight;

impl Step<Trip> for BookFlight {
    const NAME: &'static str = "flight";

    async fn act(&self, _: &mut Trip, ctx: &Context) -> Result<Flow, Failure> {
        println!("{}: booked under {}", ctx.key(), ctx.id()); // the idempotency key
        Ok(Flow::next())
    }

    async fn undo(&self, _: &mut Trip, ctx: &Context) -> Result<Effects, Failure> {
        println!("{}: cancelled", ctx.key());
        Ok(Effects::none())
    }
}

struct AwaitPayment(Duration);

impl Step<Trip> for AwaitPayment {
    const NAME: &'static str = "payment";

    async fn act(&self, trip: &mut Trip, _: &Context) -> Result<Flow, Failure> {
        let wait = Flow::wait(self.0); // when it is over, what was done is undone
        Ok(if trip.0 { Flow::next() } else { wait })
    }
}

#[tokio::main]
async fn main() -> ensue::Result<()> {
    let engine = Engine::open("memory:").await?;
    let trips = Saga::new("trips", |_: TripRequested| Trip(false))
        .on(|trip: &mut Trip, _: TripPaid| trip.0 = true)
        .step(BookFlight)
        .step(AwaitPayment(Duration::from_secs(2)));
    let running = App::new(engine.clone()).saga(trips).start().await?;
    let mut path = engine.tail("sagas.trips").await?;
    engine.publish(TripRequested("paid".into())).await?;
    engine.publish(TripPaid("paid".into())).await?;
    engine.publish(TripRequested("unpaid".into())).await?;
    while let Some(event) = path.next().await {
        let event = event?.envelope;
        println!("{}: {}", event.key(), event.event_type());
        if (event.key(), event.event_type()) == ("unpaid", "saga.ended") {
            break;
        }
    }
    running.stop().await
}
