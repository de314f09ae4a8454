//! Sagas: steps in order, undone in reverse, once each whatever crashes, and stuck ones in plain sight.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod at_a_time;
mod operators;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ensue::engine::{DeadLetterFilter, Query};
use ensue::prelude::*;
use ensue::testing::{TestApp, explore};
use ensue::{Flow, HandlerOptions, Saga, SagaPhase, Step};

#[derive(Event, Serialize, Deserialize, Clone, Debug)]
#[event(type = "trip.requested", topic = "trips", key = trip)]
struct TripRequested {
    trip: String,
}

#[derive(Event, Serialize, Deserialize, Clone, Debug)]
#[event(type = "trip.paid", topic = "payments", key = payment)]
struct TripPaid {
    payment: String,
    trip: String,
}

#[derive(State, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[state(name = "trip")]
struct Trip {
    /// What the steps have noted.
    noted: Vec<String>,
    is_paid: bool,
}

/// The world outside: what was done there, by idempotency key, in order.
#[derive(Clone, Default)]
struct World(Arc<Mutex<Inside>>);

#[derive(Default)]
struct Inside {
    seen: BTreeSet<(String, String)>,
    done: Vec<String>,
    /// How often it was called, whatever came of it.
    calls: usize,
    /// What it refuses, fails at for now, or falls over.
    refuses: BTreeSet<String>,
    fails: BTreeSet<String>,
}

impl World {
    fn refuse(&self, what: &str) {
        self.0.lock().unwrap().refuses.insert(what.into());
    }

    fn fail(&self, what: &str) {
        self.0.lock().unwrap().fails.insert(what.into());
    }

    fn mend(&self) {
        self.0.lock().unwrap().fails.clear();
    }

    /// Does something once for each id.
    fn act(&self, what: &str, ctx: &Context) -> Result<(), Failure> {
        let mut inside = self.0.lock().unwrap();
        inside.calls += 1;
        if inside.refuses.contains(what) {
            return Err(Failure::reject(format!("{what} is refused")));
        }
        if inside.fails.contains(what) {
            return Err(Failure::retry(format!("{what} fails")));
        }
        let id = (what.to_owned(), ctx.id().to_owned());
        if inside.seen.insert(id) {
            let entry = format!("{} {what}", ctx.key());
            inside.done.push(entry);
        }
        Ok(())
    }

    fn calls(&self) -> usize {
        self.0.lock().unwrap().calls
    }

    fn done(&self) -> Vec<String> {
        self.0.lock().unwrap().done.clone()
    }
}

macro_rules! step {
    ($step:ident $name:literal) => {
        struct $step(World);

        impl Step<Trip> for $step {
            const NAME: &'static str = $name;

            async fn act(&self, trip: &mut Trip, ctx: &Context) -> Result<Flow, Failure> {
                trip.noted.push($name.into());
                self.0.act(concat!("+", $name), ctx)?;
                Ok(Flow::next())
            }

            async fn undo(&self, trip: &mut Trip, ctx: &Context) -> Result<Effects, Failure> {
                self.0.act(concat!("-", $name), ctx)?;
                trip.noted.pop();
                Ok(Effects::none())
            }
        }
    };
}

step!(Flight "flight");
step!(Hotel "hotel");
step!(Car "car");

struct Payment;

const PATIENCE: Duration = Duration::from_secs(900);

impl Step<Trip> for Payment {
    const NAME: &'static str = "payment";

    async fn act(&self, trip: &mut Trip, ctx: &Context) -> Result<Flow, Failure> {
        let asked = Outgoing::raw(Envelope::builder("letters", "payment.asked")).key(ctx.key());
        Ok(match trip.is_paid {
            true => Flow::next(),
            false => Flow::wait(PATIENCE).and(asked),
        })
    }
}

fn trips(world: &World) -> Saga<Trip> {
    Saga::new("trips", |_: TripRequested| Trip::default())
        .on_by(
            |paid: &TripPaid| paid.trip.clone(),
            |trip: &mut Trip, _| trip.is_paid = true,
        )
        .options(HandlerOptions::default().attempts(3))
        .step(Flight(world.clone()))
        .step(Payment)
        .step(Hotel(world.clone()))
        .step(Car(world.clone()))
}

async fn start(world: &World) -> TestApp {
    let world = world.clone();
    TestApp::start(move |app| app.saga(trips(&world)))
        .await
        .unwrap()
}

async fn request(app: &TestApp, trip: &str) {
    let request = TripRequested { trip: trip.into() };
    let request = Outgoing::new(request).id(format!("request-{trip}"));
    app.publish(request).await.unwrap();
}

async fn pay(app: &TestApp, trip: &str) {
    let (payment, trip) = (format!("p-{trip}"), trip.to_owned());
    let id = payment.clone();
    let paid = Outgoing::new(TripPaid { payment, trip }).id(id);
    app.publish(paid).await.unwrap();
}

/// What has happened to a process, as its topic tells.
async fn path(app: &TestApp, trip: &str) -> Vec<String> {
    let mut events = app.engine().read(Query {
        topics: Some("sagas.trips".parse().unwrap()),
        key: Some(trip.into()),
        ..Query::default()
    });
    let mut path = Vec::new();
    while let Some(event) = events.next().await {
        let event = event.unwrap().envelope;
        let payload: serde_json::Value = serde_json::from_slice(event.payload()).unwrap();
        path.push(match event.event_type() {
            "saga.step" if payload["undo"] == true => format!("undo {}", payload["name"]),
            "saga.step" => format!("do {}", payload["name"]),
            "saga.ended" if payload["is_done"] == true => "done".into(),
            "saga.ended" => format!("undone: {}", payload["reason"]),
            other => other.into(),
        });
    }
    path.into_iter().map(|it| it.replace('"', "")).collect()
}

async fn status(app: &TestApp, trip: &str) -> Option<(SagaPhase, String)> {
    let status = app.engine().saga::<Trip>("trips", trip).await.unwrap();
    status.map(|status| (status.phase, status.step))
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_are_done_in_order_and_a_wait_ends_with_its_event() {
    let world = World::default();
    let app = start(&world).await;
    request(&app, "t").await;
    app.settle().await.unwrap();
    assert_eq!(
        status(&app, "t").await,
        Some((SagaPhase::Waiting, "payment".into()))
    );
    assert_eq!(app.engine().status().await.unwrap().scheduled, 1);
    request(&app, "u").await;
    // Processes have no order between them.
    app.settle().await.unwrap();
    pay(&app, "t").await;
    app.settle().await.unwrap();
    assert_eq!(
        world.done(),
        ["t +flight", "u +flight", "t +hotel", "t +car"]
    );
    assert_eq!(status(&app, "t").await, None, "it has ended");
    let expected = [
        "trip.requested",
        "do flight",
        "do payment",
        "saga.waiting",
        "trip.paid",
        "do payment",
        "do hotel",
        "do car",
        "done",
    ];
    assert_eq!(path(&app, "t").await, expected);
    let scheduled = app.engine().status().await.unwrap().scheduled;
    assert_eq!(
        scheduled, 1,
        "the timeout of `u`: that of `t` has ended with its wait"
    );
    app.assert_no_dead_letters().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_step_has_all_before_it_undone_in_reverse() {
    let world = World::default();
    world.refuse("+car");
    let app = start(&world).await;
    request(&app, "t").await;
    app.settle().await.unwrap();
    pay(&app, "t").await;
    app.settle().await.unwrap();
    let done = ["t +flight", "t +hotel", "t -car", "t -hotel", "t -flight"];
    assert_eq!(world.done(), done, "the step that failed may be half done");
    let path = path(&app, "t").await;
    assert_eq!(path.last().unwrap(), "undone: +car is refused");
    assert_eq!(status(&app, "t").await, None);
    app.assert_no_dead_letters().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_fails_is_tried_again_and_undone_after_its_attempts() {
    let world = World::default();
    world.fail("+hotel");
    let app = start(&world).await;
    request(&app, "t").await;
    app.settle().await.unwrap();
    pay(&app, "t").await;
    app.settle().await.unwrap();
    assert_eq!(world.done(), ["t +flight", "t -hotel", "t -flight"]);
    assert_eq!(
        path(&app, "t").await.last().unwrap(),
        "undone: +hotel fails"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_is_over_undoes_and_an_event_that_comes_too_late_changes_nothing() {
    let world = World::default();
    let app = start(&world).await;
    request(&app, "t").await;
    app.settle().await.unwrap();
    app.advance(PATIENCE).await.unwrap();
    app.settle().await.unwrap();
    let reason = "undone: what `payment` waits for has not come in time";
    assert_eq!(path(&app, "t").await.last().unwrap(), reason);
    pay(&app, "t").await;
    app.settle().await.unwrap();
    let scheduled = app.engine().status().await.unwrap().scheduled;
    assert_eq!(scheduled, 1, "it is looked at again");
    app.advance(Duration::from_secs(120)).await.unwrap();
    assert_eq!(app.engine().status().await.unwrap().scheduled, 0);
    assert_eq!(world.done(), ["t +flight", "t -flight"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_undone_is_parked_in_plain_sight_and_goes_on_when_it_is_redriven() {
    let world = World::default();
    world.refuse("+hotel");
    world.fail("-flight");
    let app = start(&world).await;
    for trip in ["t", "u"] {
        request(&app, trip).await;
        app.settle().await.unwrap();
        pay(&app, trip).await;
        app.settle().await.unwrap();
    }
    assert_eq!(
        status(&app, "t").await,
        Some((SagaPhase::Undoing, "flight".into()))
    );
    let letters = app.dead_letters("trips").await.unwrap();
    assert_eq!(letters.len(), 2);
    assert!(
        letters.iter().all(|it| it.reason.contains("-flight fails")),
        "{letters:?}"
    );
    world.mend();
    let only = DeadLetterFilter {
        key: Some("t".into()),
        ..DeadLetterFilter::default()
    };
    app.engine().redrive("trips", only).await.unwrap();
    app.settle().await.unwrap();
    assert_eq!(
        path(&app, "t").await.last().unwrap(),
        "undone: +hotel is refused"
    );
    assert_eq!(status(&app, "t").await, None);
    assert!(status(&app, "u").await.is_some());
    // The other is given up on, and undone again by another wish.
    app.engine()
        .compensate_saga("trips", "u", "by hand")
        .await
        .unwrap();
    app.engine()
        .discard("trips", DeadLetterFilter::default())
        .await
        .unwrap();
    app.settle().await.unwrap();
    assert_eq!(
        path(&app, "u").await.last().unwrap(),
        "undone: +hotel is refused"
    );
    let undone = world
        .done()
        .iter()
        .filter(|it| it.ends_with("-flight"))
        .count();
    assert_eq!(undone, 2);
}

/// Panics for a trip of that name.
struct Trap;

impl Step<Trip> for Trap {
    const NAME: &'static str = "trap";

    async fn act(&self, _: &mut Trip, ctx: &Context) -> Result<Flow, Failure> {
        assert_ne!(ctx.key(), "trap", "a step that panics");
        Ok(Flow::abort("not today"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_whose_end_is_not_known_waits_for_an_operator_who_has_it_undone() {
    let world = World::default();
    let app = {
        let world = world.clone();
        TestApp::start(move |app| {
            let begin = |_: TripRequested| Trip::default();
            app.saga(
                Saga::new("trips", begin)
                    .step(Flight(world.clone()))
                    .step(Trap),
            )
        })
        .await
        .unwrap()
    };
    for trip in ["t", "trap"] {
        request(&app, trip).await;
    }
    app.settle().await.unwrap();
    let expected = [
        "trip.requested",
        "do flight",
        "do trap",
        "undo flight",
        "undone: not today",
    ];
    assert_eq!(
        path(&app, "t").await,
        expected,
        "a step that gives up has done nothing"
    );
    assert_eq!(
        status(&app, "trap").await,
        Some((SagaPhase::Acting, "trap".into()))
    );
    assert_eq!(app.dead_letters("trips").await.unwrap().len(), 1);
    app.engine()
        .compensate_saga("trips", "trap", "by hand")
        .await
        .unwrap();
    app.engine()
        .discard("trips", DeadLetterFilter::default())
        .await
        .unwrap();
    app.settle().await.unwrap();
    let end = [
        "do trap",
        "saga.compensate",
        "undo trap",
        "undo flight",
        "undone: by hand",
    ];
    assert!(path(&app, "trap").await.ends_with(&end.map(str::to_owned)));
    let undone = world
        .done()
        .iter()
        .filter(|it| *it == "trap -flight")
        .count();
    assert_eq!(undone, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_has_a_process_that_waits_undone_and_its_timeout_ends_with_it() {
    let world = World::default();
    let app = start(&world).await;
    request(&app, "t").await;
    app.settle().await.unwrap();
    app.engine()
        .compensate_saga("trips", "t", "by hand")
        .await
        .unwrap();
    app.engine()
        .compensate_saga("trips", "other", "by hand")
        .await
        .unwrap();
    app.settle().await.unwrap();
    assert_eq!(world.done(), ["t +flight", "t -flight"]);
    assert_eq!(app.engine().status().await.unwrap().scheduled, 0);
    app.advance(2 * PATIENCE).await.unwrap();
    assert_eq!(path(&app, "t").await.last().unwrap(), "undone: by hand");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_comes_before_its_process_begins_is_not_lost() {
    let world = World::default();
    let app = start(&world).await;
    pay(&app, "t").await;
    app.settle().await.unwrap();
    request(&app, "t").await;
    app.settle().await.unwrap();
    let waiting = Some((SagaPhase::Waiting, "payment".into()));
    assert_eq!(status(&app, "t").await, waiting);
    app.advance(Duration::from_secs(2)).await.unwrap();
    assert_eq!(path(&app, "t").await.last().unwrap(), "done");
}

/// What became of a process is its last event, of which there is one.
async fn ends_once(app: &TestApp, trip: &str) -> String {
    let path = path(app, trip).await;
    let ends = path
        .iter()
        .filter(|it| it.starts_with("done") || it.starts_with("undone"));
    assert_eq!(ends.count(), 1, "{path:?}");
    assert!(
        !path.iter().any(|it| it == "saga.timeout") || path.last().unwrap().contains("in time")
    );
    path.last().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_crashes_each_process_ends_once_and_each_step_is_done_or_undone_once() {
    // Both the app's and the test's: as the world outside is.
    let worlds = Arc::new(Mutex::new(World::default()));
    let of_app = worlds.clone();
    let explored = explore(
        move |app| {
            let world = of_app.lock().unwrap().clone();
            app.saga(trips(&world))
        },
        async |app: &TestApp| {
            for trip in ["paid", "unpaid"] {
                request(app, trip).await;
            }
            app.settle().await?;
            pay(app, "paid").await;
            app.settle().await?;
            app.advance_to(TestApp::START.plus(PATIENCE)).await?;
            Ok(())
        },
        async |app: &TestApp| {
            app.settle().await?;
            assert_eq!(ends_once(app, "paid").await, "done");
            assert!(ends_once(app, "unpaid").await.contains("in time"));
            app.assert_no_dead_letters().await?;
            assert_eq!(app.engine().status().await?.scheduled, 0);
            Ok(())
        },
    )
    .await
    .unwrap();
    assert!(explored.runs > 20, "{explored:?}");
    let done = worlds.lock().unwrap().done();
    for (what, in_each) in [
        ("paid +flight", 1),
        ("paid +hotel", 1),
        ("paid +car", 1),
        ("unpaid +flight", 1),
        ("unpaid -flight", 1),
    ] {
        let found = done.iter().filter(|it| *it == what).count();
        // Ids derive from causes alone: another run does nothing that was done in this world.
        assert!(found >= in_each, "{what}: {found}");
    }
    assert!(
        !done
            .iter()
            .any(|it| it == "unpaid +hotel" || it == "paid -flight"),
        "{done:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_that_holds_effects_back_calls_no_step() {
    use ensue::Start;
    use ensue::engine::{ReplayState, Reset};

    let world = World::default();
    let app = start(&world).await;
    for trip in ["t", "u"] {
        request(&app, trip).await;
    }
    app.settle().await.unwrap();
    pay(&app, "t").await;
    app.settle().await.unwrap();
    let calls = world.calls();
    let again = Reset::to(Start::Earliest).state(ReplayState::Keep);
    app.engine().reset("trips", again).await.unwrap();
    app.settle().await.unwrap();
    assert_eq!(world.calls(), calls);
    pay(&app, "u").await;
    app.settle().await.unwrap();
    assert_eq!(path(&app, "u").await.last().unwrap(), "done");
    let calls = world.calls();
    let afresh = Reset::to(Start::Earliest).state(ReplayState::Afresh);
    app.engine().reset("trips", afresh).await.unwrap();
    app.settle().await.unwrap();
    assert_eq!(world.calls(), calls);
    assert_eq!(
        (status(&app, "t").await, status(&app, "u").await),
        (None, None)
    );
}

#[tokio::test]
async fn a_saga_that_cannot_be_does_not_start() {
    let engine = Engine::open("memory:").await.unwrap();
    let begin = |_: TripRequested| Trip::default();
    let named = App::new(engine.clone()).saga(Saga::new("no topic", begin));
    named.start().await.unwrap_err();
    let twice = App::new(engine.clone())
        .saga(Saga::new("trips", begin))
        .saga(Saga::new("trips", begin));
    twice.start().await.unwrap_err();
    let same = Saga::new("trips", begin).on(|_: &mut Trip, _: TripRequested| {});
    let error = App::new(engine).saga(same).start().await.unwrap_err();
    assert!(error.to_string().contains("trip.requested"), "{error}");
}
