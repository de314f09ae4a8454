//! The saga that is killed: steps that fail now and then, before or after they have done something, a payment that
//! comes in time, late, never, or at the very moment; and what is asked of it.

use std::time::Duration;

use ensue::prelude::*;
use ensue::{Flow, HandlerOptions, Saga, Step};

use super::world::World;

pub(super) const NAME: &str = "trips";
/// The steps that do something in the world, in order.
pub(super) const STEPS: [&str; 3] = ["flight", "hotel", "car"];
/// How long a payment is waited for.
const PAYMENT: Duration = Duration::from_millis(150);
/// How many trips each process asks for.
pub(super) const TRIPS: u64 = 12;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "trip.requested", topic = "trips", key = 0)]
pub(super) struct Requested(pub(super) String);

#[derive(Event, Serialize, Deserialize)]
#[event(type = "trip.paid", topic = "payments", key = 0)]
pub(super) struct Paid(pub(super) String);

#[derive(State, Serialize, Deserialize, Default)]
#[state(name = "trip")]
pub(super) struct Trip {
    is_paid: bool,
}

/// What becomes of a trip, by its number.
pub(super) fn is_refused(trip: &str) -> bool {
    trip.ends_with('3') || trip.ends_with('7')
}

struct Book<const STEP: usize>(World);

impl<const STEP: usize> Book<STEP> {
    fn call(&self, sign: char, ctx: &Context) -> Result<(), Failure> {
        let what = format!("{sign}{}", STEPS[STEP]);
        match fastrand::u8(..10) {
            0 => return Err(Failure::retry("not reached")),
            1 => {
                self.0.call(&what, ctx.key(), ctx.id());
                return Err(Failure::retry("reached, and not known"));
            }
            _ => self.0.call(&what, ctx.key(), ctx.id()),
        }
        Ok(())
    }
}

impl<const STEP: usize> Step<Trip> for Book<STEP> {
    const NAME: &'static str = STEPS[STEP];

    async fn act(&self, _: &mut Trip, ctx: &Context) -> Result<Flow, Failure> {
        if STEP == 2 && is_refused(ctx.key()) {
            return Ok(Flow::abort("no car"));
        }
        self.call('+', ctx)?;
        Ok(Flow::next())
    }

    async fn undo(&self, _: &mut Trip, ctx: &Context) -> Result<Effects, Failure> {
        self.call('-', ctx)?;
        Ok(Effects::none())
    }
}

struct Payment;

impl Step<Trip> for Payment {
    const NAME: &'static str = "payment";

    async fn act(&self, trip: &mut Trip, _: &Context) -> Result<Flow, Failure> {
        match trip.is_paid {
            true => Ok(Flow::next()),
            false => Ok(Flow::wait(PAYMENT)),
        }
    }
}

pub(super) fn saga(world: &World) -> Saga<Trip> {
    let pause = Duration::from_millis(2);
    // Attempts that ended their process count: no process may be parked for that here.
    let options = HandlerOptions::default()
        .attempts(1000)
        .backoff(pause, pause);
    Saga::new(NAME, |_: Requested| Trip::default())
        .on(|trip: &mut Trip, _: Paid| trip.is_paid = true)
        .options(options)
        .step(Book::<0>(world.clone()))
        .step(Payment)
        .step(Book::<1>(world.clone()))
        .step(Book::<2>(world.clone()))
}

/// The trips of a round, and of those before: those that a killed process may not have asked for.
pub(super) fn trips(rounds: u64) -> impl Iterator<Item = String> {
    (0..rounds * TRIPS).map(|number| format!("t-{number}"))
}

/// Asks for the trips of a round, and pays for four of five, about when the time is over.
pub(super) async fn travel(engine: Engine, round: u64) {
    let publisher = engine.publisher("/travellers");
    for trip in trips(round + 1).skip(usize::try_from(round * TRIPS).unwrap()) {
        let requested = Outgoing::new(Requested(trip.clone())).id(format!("request-{trip}"));
        publisher.publish(requested).await.unwrap();
        let pays = !trip.ends_with('5') && !trip.ends_with('0');
        if pays {
            let paid = Outgoing::new(Paid(trip.clone())).id(format!("payment-{trip}"));
            let after = PAYMENT.mul_f64(fastrand::f64() * 1.3);
            publisher.publish(paid.after(after)).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(fastrand::u64(..20))).await;
    }
}
