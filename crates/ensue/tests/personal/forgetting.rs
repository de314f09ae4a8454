//! Forgetting a person: the key, the copies, the receipt; and everything goes on.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ensue::engine::{DeadLetterFilter, ReplayState, Reset};
use ensue::error::{Error, PersonalError};
use ensue::prelude::*;
use ensue::{Disclosure, Forgotten, HandlerOptions, MemoryKeys, Personal, Start};

use crate::{LetterSent, PATIENCE, Registered, known, registered, seen};

async fn engine() -> (Engine, MemoryKeys) {
    let keys = MemoryKeys::default();
    let engine = Engine::open("memory:").await.unwrap();
    (engine.with_keys(keys.clone()).unwrap(), keys)
}

type Seen = Arc<Mutex<Vec<String>>>;

/// Notes what it sees of each registration; with copies it forgets too.
fn index(app: App, group: &'static str, seen: &Seen, forgets: bool) -> App {
    let noted = seen.clone();
    let app = app.on(group, move |event: Registered| {
        let text = match event.email.disclosure() {
            Disclosure::Known(email) => email.clone(),
            other => format!("{other:?}"),
        };
        noted.lock().unwrap().push(format!("{} {text}", event.user));
        async {}
    });
    let noted = seen.clone();
    match forgets {
        false => app,
        true => app.on(group, move |Forgotten { subject }: Forgotten| {
            let prefix = format!("{subject} ");
            noted.lock().unwrap().retain(|it| !it.starts_with(&prefix));
            async {}
        }),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_forgotten_is_gone_everywhere_and_nobody_else_is() {
    let (engine, _) = engine().await;
    let copies = Seen::default();
    let app = index(App::new(engine.clone()), "index", &copies, true);
    let mut running = app.start().await.unwrap();
    for (user, email) in [("u-1", "ada"), ("u-2", "ben")] {
        engine.publish(registered(user, email)).await.unwrap();
    }
    running.settled().await.unwrap();
    assert_eq!(copies.lock().unwrap().len(), 2);
    let receipt = engine.forget("u-1", PATIENCE).await.unwrap();
    assert_eq!(
        (receipt.subject.as_str(), receipt.keys_destroyed),
        ("u-1", 1)
    );
    let holders: Vec<_> = receipt
        .holders
        .iter()
        .map(|it| (it.group.as_str(), it.has_forgotten))
        .collect();
    assert_eq!(holders, [("index", true)]);
    assert!(receipt.is_complete() && receipt.cached_until > receipt.destroyed);
    assert_eq!(
        *copies.lock().unwrap(),
        ["u-2 ben"],
        "it has waited for the copies"
    );
    assert_eq!(seen(&engine, "u-1").await, Disclosure::Forgotten);
    assert_eq!(seen(&engine, "u-2").await, known("ben"));

    // Handled again from the beginning, nothing breaks.
    let again = Reset::to(Start::Earliest).state(ReplayState::Keep);
    engine.reset("index", again).await.unwrap();
    running.settled().await.unwrap();
    let letters = engine
        .dead_letters(None, DeadLetterFilter::default())
        .await
        .unwrap();
    assert!(letters.is_empty(), "{letters:?}");
    let mut after = copies.lock().unwrap().clone();
    after.sort();
    // Of two topics, whose events have no order between them.
    after.retain(|it| it != "u-1 Forgotten");
    assert_eq!(
        after,
        ["u-2 ben", "u-2 ben"],
        "there is nothing any more of which a copy could be made"
    );

    // Once more does no harm.
    let receipt = engine.forget("u-1", PATIENCE).await.unwrap();
    assert_eq!((receipt.keys_destroyed, receipt.is_complete()), (0, true));
    let error = engine.publish(registered("u-1", "ada")).await.unwrap_err();
    assert!(
        matches!(error, Error::Personal(PersonalError::Forgotten { .. })),
        "{error}"
    );
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_names_who_has_not_forgotten_yet_and_a_later_one_is_complete() {
    let (engine, _) = engine().await;
    let copies = Seen::default();
    let app = index(App::new(engine.clone()), "index", &copies, true);
    let running = app.start().await.unwrap();
    engine.publish(registered("u-1", "ada")).await.unwrap();
    running.stop().await.unwrap();
    let receipt = engine
        .forget("u-1", Duration::from_millis(10))
        .await
        .unwrap();
    assert!(!receipt.is_complete());
    let problem = receipt.holders[0].problem.as_deref().unwrap();
    assert!(
        problem.contains("`index`") && problem.contains("behind"),
        "{problem}"
    );
    let app = index(App::new(engine.clone()), "index", &copies, true);
    let running = app.start().await.unwrap();
    assert!(engine.forget("u-1", PATIENCE).await.unwrap().is_complete());
    let copies = copies.lock().unwrap().clone();
    assert!(copies.iter().all(|it| !it.contains("ada")), "{copies:?}");
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_handler_returns_of_a_person_who_was_forgotten_meanwhile_is_written_without() {
    let (engine, _) = engine().await;
    let forgets = engine.clone();
    let app = App::new(engine.clone()).on_with(
        "letters",
        HandlerOptions::default(),
        move |event: Registered, _| {
            let engine = forgets.clone();
            async move {
                let text: Personal<String> = event.email.into_known().unwrap().into();
                engine.forget(&event.user, PATIENCE).await?;
                Ok::<_, Failure>(LetterSent {
                    letter: "l-1".into(),
                    to: event.user,
                    text,
                })
            }
        },
    );
    let mut running = app.start().await.unwrap();
    engine.publish(registered("u-1", "ada")).await.unwrap();
    running.settled().await.unwrap();
    assert!(
        engine
            .dead_letters(None, DeadLetterFilter::default())
            .await
            .unwrap()
            .is_empty()
    );
    let letter = engine
        .last("letters", "l-1")
        .await
        .unwrap()
        .unwrap()
        .envelope;
    assert!(!String::from_utf8_lossy(letter.payload()).contains("ada"));
    let mut letter: LetterSent = letter.decode().unwrap();
    engine.unmask_event(&mut letter).await.unwrap();
    assert!(letter.text.is_forgotten());
    running.stop().await.unwrap();
}

#[tokio::test]
async fn without_keys_nobody_is_forgotten() {
    let engine = Engine::open("memory:").await.unwrap();
    let error = engine.forget("u-1", PATIENCE).await.unwrap_err();
    assert!(
        matches!(error, Error::Personal(PersonalError::NoKeys { .. })),
        "{error}"
    );
    assert!(engine.last("personal", "u-1").await.unwrap().is_none());
}
