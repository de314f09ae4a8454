//! A value that only one may have.

use std::collections::BTreeMap;
use std::time::Duration;

use ensue::engine::{Expect, Query};
use ensue::prelude::*;
use ensue::testing::{Fault, TestApp};
use ensue::{Error, NotHeld, Reservations, Taken};
use tokio::task::JoinSet;

const HOLD: Duration = Duration::from_secs(900);

/// Who has a value after each event of its history: fails if two have it.
async fn holders(engine: &Engine) -> BTreeMap<String, Option<String>> {
    let mut now: BTreeMap<String, Option<(String, String)>> = BTreeMap::new();
    let mut events = engine.read(Query {
        topics: Some("reservations".parse().unwrap()),
        ..Query::default()
    });
    while let Some(event) = events.next().await {
        let event = event.unwrap().envelope;
        let payload: serde_json::Value = serde_json::from_slice(event.payload()).unwrap();
        let text = |name: &str| payload[name].as_str().unwrap_or_default().to_owned();
        let before = now.entry(event.key().to_owned()).or_default();
        let holder = before.as_ref().map(|(holder, _)| holder.clone());
        match event.event_type() {
            "reservation.held" => {
                assert!(holder.is_none_or(|it| it == text("holder")), "held twice");
                *before = Some((text("holder"), text("expiry")));
            }
            "reservation.confirmed" => {
                assert_eq!(holder, Some(text("holder")), "confirmed by another");
                *before = Some((text("holder"), String::new()));
            }
            "reservation.released" => {
                assert_eq!(holder, Some(text("holder")), "released by another");
                *before = None;
            }
            _ => {
                if before
                    .as_ref()
                    .is_some_and(|(_, expiry)| *expiry == text("expiry"))
                {
                    *before = None;
                }
            }
        }
    }
    let holder = |(key, held): (String, Option<(String, String)>)| (key, held.map(|it| it.0));
    now.into_iter().map(holder).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_reserve_a_value_one_gets_it() {
    let engine = Engine::open("memory:").await.unwrap();
    for round in 0..20 {
        let mut racers = JoinSet::new();
        for racer in 0..8 {
            // Each a program of its own.
            let emails = engine.reservations("emails", "/accounts");
            racers.spawn(async move {
                let (value, holder) = (format!("v{round}"), format!("u{racer}"));
                match emails.reserve(&value, &holder, HOLD).await.unwrap() {
                    Ok(_) => emails.confirm(&value, &holder).await.unwrap().is_ok(),
                    Err(_) => false,
                }
            });
        }
        let won = racers
            .join_all()
            .await
            .into_iter()
            .filter(|won| *won)
            .count();
        assert_eq!(won, 1);
    }
    assert!(holders(&engine).await.values().all(Option::is_some));
}

async fn app(fault: Fault) -> TestApp {
    TestApp::start_with(fault, |app| app.on("nothing", async |_: Nothing| {}))
        .await
        .unwrap()
}

#[derive(Event, Serialize, Deserialize)]
#[event(type = "nothing.happened", topic = "nothing")]
struct Nothing;

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_ends_by_itself_and_what_is_confirmed_does_not() {
    let app = app(Fault::None).await;
    let emails = app.engine().reservations("emails", "/accounts");
    let others = app.engine().reservations("names", "/accounts");
    emails.reserve("a", "u1", HOLD).await.unwrap().unwrap();
    let taken: Taken = emails.reserve("a", "u2", HOLD).await.unwrap().unwrap_err();
    assert_eq!(taken.until, Some(TestApp::START.plus(HOLD)));
    others.reserve("a", "u2", HOLD).await.unwrap().unwrap();
    others.confirm("a", "u2").await.unwrap().unwrap();
    assert_eq!(
        app.engine().status().await.unwrap().scheduled,
        1,
        "one end is cancelled"
    );

    app.advance(HOLD).await.unwrap();
    assert_eq!(emails.holder("a").await.unwrap(), None);
    assert_eq!(
        emails.confirm("a", "u1").await.unwrap().unwrap_err(),
        NotHeld
    );
    emails.reserve("a", "u2", HOLD).await.unwrap().unwrap();
    assert_eq!(others.holder("a").await.unwrap().as_deref(), Some("u2"));
    // Given back, and free again.
    assert_eq!(others.release("a", "u1").await.unwrap().events, 0);
    assert_eq!(others.release("a", "u2").await.unwrap().events, 1);
    assert_eq!(others.holder("a").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_values_do_not_run_into_each_other() {
    let app = app(Fault::None).await;
    let one = app.engine().reservations("a/b", "/x");
    let two = app.engine().reservations("a", "/x");
    one.reserve("c", "u1", HOLD).await.unwrap().unwrap();
    two.reserve("b/c", "u2", HOLD).await.unwrap().unwrap();
}

/// Users who reserve, confirm, release and give up, one step at a time, each as a program that is started
/// again after a crash and goes on where it was.
async fn step(emails: &Reservations, random: &mut fastrand::Rng) -> Result<(), Error> {
    let value = format!("v{}", random.u8(0..3));
    let holder = format!("u{}", random.u8(0..3));
    match random.u8(0..10) {
        0..4 => drop(emails.reserve(&value, &holder, HOLD).await?),
        4..7 => {
            if emails.confirm(&value, &holder).await?.is_ok() {
                // What was confirmed is the holder's: no one else can have released it.
                assert_eq!(emails.holder(&value).await?.as_deref(), Some(&*holder));
            }
        }
        _ => drop(emails.release(&value, &holder).await?),
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_crashes_a_value_has_one_holder_and_no_hold_stays_for_ever() {
    for seed in 0..25 {
        let mut random = fastrand::Rng::with_seed(seed);
        let crash = random.u64(1..12);
        let fault = match random.bool() {
            true => Fault::CrashBefore(crash),
            false => Fault::CrashAfter(crash),
        };
        let mut app = app(fault).await;
        let mut crashes = 0;
        for _ in 0..60 {
            let emails = app.engine().reservations("emails", "/accounts");
            if step(&emails, &mut random).await.is_err() {
                assert!(
                    app.chaos().is_dead(),
                    "seed {seed}: an error without a crash"
                );
                app.crash().await.unwrap();
                crashes += 1;
            }
            if random.u8(0..10) == 0 {
                app.advance(HOLD / 2).await.unwrap();
            }
        }
        assert_eq!(crashes, 1, "seed {seed}");
        holders(&app.engine()).await;
        // No one goes on: what is not confirmed becomes free.
        app.advance(2 * HOLD).await.unwrap();
        let emails = app.engine().reservations("emails", "/accounts");
        let folded = holders(&app.engine()).await;
        for value in ["v0", "v1", "v2"] {
            let holder = emails.holder(value).await.unwrap();
            assert_eq!(
                folded.get(&format!("emails/{value}")).cloned().flatten(),
                holder
            );
            if let Some(holder) = holder {
                let confirmed = emails.confirm(value, &holder).await.unwrap().unwrap();
                assert_eq!(
                    confirmed.events, 0,
                    "seed {seed}: `{value}` is held for ever"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_and_its_end_are_appended_on_one_condition() {
    let app = app(Fault::None).await;
    let end = || {
        let end = Outgoing::new(Nothing)
            .key("k")
            .at(TestApp::START.plus(HOLD));
        end.expect(Expect::At(ensue::Position::new(0)))
    };
    app.publish(end()).await.unwrap_err();
    assert_eq!(app.engine().status().await.unwrap().scheduled, 0);
}
