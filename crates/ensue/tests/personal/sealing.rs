//! Sealed on the way into the log, opened on the way to handlers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ensue::engine::{DeadLetterFilter, DeathCause, Query};
use ensue::error::{Error, PersonalError};
use ensue::prelude::*;
use ensue::{Codec, Disclosure, HandlerOptions, MemoryKeys, Personal, Reply};

use crate::{LetterSent, PATIENCE, Registered, known, registered, seen, stored};

async fn engine() -> Engine {
    let engine = Engine::open("memory:").await.unwrap();
    engine.with_keys(MemoryKeys::default()).unwrap()
}

#[tokio::test]
async fn what_is_personal_is_sealed_in_the_log_and_everything_else_is_as_it_was() {
    let engine = engine().await;
    let mut event = registered("u-1", "ada@example.org");
    event.note = Some("canary".to_owned().into());
    engine.publish(event.clone()).await.unwrap();
    let json: serde_json::Value =
        serde_json::from_slice(stored(&engine, "u-1").await.payload()).unwrap();
    assert_eq!(json["user"], "u-1");
    for sealed in [
        &json["email"],
        &json["phones"][0],
        &json["phones"][1],
        &json["note"],
    ] {
        assert_eq!(
            (&sealed["subject"], &sealed["key"]),
            (&"u-1".into(), &1.into()),
            "{json}"
        );
    }
    let text = json.to_string();
    assert!(
        !text.contains("ada") && !text.contains("canary") && !text.contains("4711"),
        "{text}"
    );
    let mut read: Registered = stored(&engine, "u-1").await.decode().unwrap();
    assert_eq!(read.email.disclosure(), Disclosure::Masked);
    engine.unmask_event(&mut read).await.unwrap();
    assert_eq!(read, event);
    assert_eq!(format!("{read:?}").matches("known").count(), 4, "{read:?}");
}

#[tokio::test]
async fn without_keys_nothing_personal_is_published_and_what_is_there_stays_masked() {
    let engine = Engine::open("memory:").await.unwrap();
    let error = engine
        .publish(registered("u-1", "ada@example.org"))
        .await
        .unwrap_err();
    let is_of_keys = matches!(&error, Error::Personal(PersonalError::NoKeys { .. }));
    assert!(
        is_of_keys && error.to_string().contains("with_keys"),
        "{error}"
    );
    let keyed = engine.clone().with_keys(MemoryKeys::default()).unwrap();
    keyed
        .publish(registered("u-1", "ada@example.org"))
        .await
        .unwrap();
    assert_eq!(seen(&engine, "u-1").await, Disclosure::Masked);
    assert_eq!(seen(&keyed, "u-1").await, known("ada@example.org"));
    // Keys of others do not open it either.
    let other = engine.with_keys(MemoryKeys::default()).unwrap();
    assert_eq!(seen(&other, "u-1").await, Disclosure::Masked);
    // What is masked goes on as it is.
    let masked: Registered = stored(&other, "u-1").await.decode().unwrap();
    other.publish(masked).await.unwrap();
    assert_eq!(seen(&keyed, "u-1").await, known("ada@example.org"));
}

#[derive(Default, Serialize, Deserialize, State)]
#[state(name = "contact")]
struct Contact {
    email: Option<Personal<String>>,
    greeting: Option<Personal<String>>,
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_get_what_is_personal_open_and_what_they_return_and_keep_is_sealed() {
    let engine = engine().await;
    let app = App::new(engine.clone())
        .on_with(
            "letters",
            HandlerOptions::default(),
            async |event: Registered, ctx| {
                let email = event.email.known().unwrap().clone();
                let greeting = ctx.seal(ctx.key(), format!("dear {email}")).await?;
                let letter = LetterSent {
                    letter: format!("l-{}", event.user),
                    to: event.user,
                    text: format!("welcome, {email}").into(),
                };
                let email = Some(event.email);
                let contact = Contact {
                    email,
                    greeting: Some(greeting),
                };
                Ok::<_, Failure>(Effects::none().publish(letter).set_state(contact))
            },
        )
        .on_with(
            "readers",
            HandlerOptions::default(),
            async |sent: LetterSent, _| {
                assert_eq!(sent.text.known().unwrap(), "welcome, ada@example.org");
            },
        );
    let mut running = app.start().await.unwrap();
    engine
        .publish(registered("u-1", "ada@example.org"))
        .await
        .unwrap();
    running.settled().await.unwrap();
    assert!(
        engine
            .dead_letters(None, DeadLetterFilter::default())
            .await
            .unwrap()
            .is_empty()
    );
    let all = engine.shared().read(Query::default()).await.unwrap().events;
    assert_eq!(all.len(), 2);
    for event in &all {
        let text = String::from_utf8_lossy(event.envelope.payload());
        assert!(!text.contains("ada"), "{text}");
    }
    let cell = engine
        .shared()
        .state("letters", "users", "u-1", "contact")
        .await
        .unwrap()
        .unwrap();
    assert!(!String::from_utf8_lossy(&cell).contains("ada"));
    let mut contact: Contact = engine
        .state("letters", "users", "u-1")
        .await
        .unwrap()
        .unwrap();
    engine.unmask(&mut contact.email).await.unwrap();
    engine.unmask(&mut contact.greeting).await.unwrap();
    assert_eq!(contact.email.unwrap().known().unwrap(), "ada@example.org");
    assert_eq!(
        contact.greeting.unwrap().known().unwrap(),
        "dear ada@example.org"
    );
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_in_state_without_being_sealed_fails_and_says_what_to_do() {
    let engine = engine().await;
    let options = HandlerOptions::default().attempts(1);
    let app = App::new(engine.clone()).on_with("bad", options, async |_: Registered, _| {
        let email = Some("ada@example.org".to_owned().into());
        Effects::none().set_state(Contact {
            email,
            greeting: None,
        })
    });
    let mut running = app.start().await.unwrap();
    engine.publish(registered("u-1", "x")).await.unwrap();
    running.settled().await.unwrap();
    let letters = engine
        .dead_letters(Some("bad"), DeadLetterFilter::default())
        .await
        .unwrap();
    let reason = &letters[0].reason;
    assert!(
        reason.contains("not sealed") && reason.contains("Context::seal"),
        "{reason}"
    );
    assert!(!reason.contains("ada"), "{reason}");
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_replies_are_sealed_and_opened() {
    #[derive(Event, Serialize, Deserialize)]
    #[event(type = "address.told", topic = "addresses", key = user)]
    struct Told {
        user: String,
        #[event(personal = user)]
        street: Personal<String>,
    }

    let engine = engine().await;
    let app = App::new(engine.clone()).on("addresses", async |asked: Registered| {
        let street = format!("of {}", asked.email.known().unwrap()).into();
        Reply(Told {
            user: asked.user,
            street,
        })
    });
    let running = app.start().await.unwrap();
    let requester = engine.requester("/web");
    let told: Told = requester
        .request(registered("u-1", "ada"), PATIENCE)
        .await
        .unwrap();
    assert_eq!(told.street.known().unwrap(), "of ada");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn what_was_sealed_for_somebody_else_is_refused_both_ways() {
    let engine = engine().await;
    engine.publish(registered("u-1", "ada")).await.unwrap();
    let mut event: Registered = stored(&engine, "u-1").await.decode().unwrap();
    event.user = "u-2".to_owned();
    let error = engine.publish(event).await.unwrap_err();
    assert!(
        matches!(error, Error::Personal(PersonalError::OtherSubject { .. })),
        "{error}"
    );
    let foreign = String::from_utf8(stored(&engine, "u-1").await.payload().to_vec()).unwrap();
    let foreign = foreign.replace(r#""user":"u-1""#, r#""user":"u-3""#);
    let raw = Envelope::builder("users", "user.registered").key("u-3");
    engine
        .publish(Outgoing::raw(
            raw.payload(Codec::Json, foreign.into_bytes()),
        ))
        .await
        .unwrap();
    let mut read: Registered = stored(&engine, "u-3").await.decode().unwrap();
    let error = engine.unmask_event(&mut read).await.unwrap_err();
    assert!(
        matches!(error, Error::Personal(PersonalError::OtherSubject { .. })),
        "{error}"
    );
    for subject in ["", &"x".repeat(ensue::KEY_BYTES_MAX + 1)] {
        let error = engine.seal(subject, 1).await.unwrap_err();
        assert!(
            matches!(error, Error::Personal(PersonalError::Subject { .. })),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_ciphertext_is_a_dead_letter_at_once_and_shows_nothing() {
    let engine = engine().await;
    let calls = Arc::new(Mutex::new(0));
    let seen_calls = calls.clone();
    let app = App::new(engine.clone()).on("readers", move |_: Registered| {
        *seen_calls.lock().unwrap() += 1;
        async {}
    });
    let mut running = app.start().await.unwrap();
    engine.publish(registered("u-1", "ada")).await.unwrap();
    let text = String::from_utf8(stored(&engine, "u-1").await.payload().to_vec()).unwrap();
    let at = text.find(r#""sealed":""#).unwrap() + 30;
    let other = if &text[at..=at] == "A" { "B" } else { "A" };
    let damaged = format!("{}{other}{}", &text[..at], &text[at + 1..]);
    let raw = Envelope::builder("users", "user.registered").key("u-1");
    engine
        .publish(Outgoing::raw(
            raw.payload(Codec::Json, damaged.into_bytes()),
        ))
        .await
        .unwrap();
    running.settled().await.unwrap();
    let letters = engine
        .dead_letters(None, DeadLetterFilter::default())
        .await
        .unwrap();
    assert_eq!(
        (letters.len(), letters[0].cause),
        (1, DeathCause::Undecodable)
    );
    assert!(
        letters[0].reason.contains("damaged"),
        "{}",
        letters[0].reason
    );
    assert_eq!(*calls.lock().unwrap(), 1);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn blocking_handlers_and_timers_are_treated_alike() {
    let engine = engine().await;
    let handler = ensue::Handler::blocking(
        "block",
        HandlerOptions::default(),
        |event: Registered, _| {
            let text = event.email.into_known().unwrap().into();
            let letter = LetterSent {
                letter: "l-1".into(),
                to: event.user,
                text,
            };
            Outgoing::new(letter).timer("t", Duration::from_secs(3600))
        },
    );
    let mut running = App::new(engine.clone())
        .handler("blocking", handler)
        .start()
        .await
        .unwrap();
    engine.publish(registered("u-1", "ada")).await.unwrap();
    running.settled().await.unwrap();
    let waits = engine.scheduled(1).await.unwrap();
    let mut letter: LetterSent = waits[0].envelope.as_ref().unwrap().decode().unwrap();
    assert_eq!(letter.text.disclosure(), Disclosure::Masked);
    engine.unmask_event(&mut letter).await.unwrap();
    assert_eq!(letter.text.known().unwrap(), "ada");
    running.stop().await.unwrap();
}
