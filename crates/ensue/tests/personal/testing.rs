//! The test kit has keys: services with personal data are tested as others are.

use ensue::prelude::*;
use ensue::testing::{Scenario, TestApp, explore, given};
use ensue::{Disclosure, Personal};

use crate::{LetterSent, Registered, registered};

struct Letters;

#[service]
impl Letters {
    #[on]
    async fn welcome(&self, event: Registered) -> LetterSent {
        letter(
            &event.user,
            event.email.known().map_or("nobody", String::as_str),
        )
    }
}

fn letter(user: &str, email: &str) -> LetterSent {
    LetterSent {
        letter: format!("l-{user}"),
        to: user.to_owned(),
        text: format!("welcome, {email}").into(),
    }
}

#[tokio::test]
async fn given_when_then_compares_what_is_personal_as_it_is_read() {
    let mut letters = Scenario::of(Letters).await.unwrap();
    let outcome = letters.when(registered("u-1", "ada")).await.unwrap();
    for envelope in outcome.envelopes() {
        assert!(!String::from_utf8_lossy(envelope.payload()).contains("ada"));
    }
    outcome.then([letter("u-1", "ada")]);
}

#[tokio::test]
#[should_panic(expected = "LetterSent")]
async fn another_text_is_another_event() {
    let mut letters = Scenario::of(Letters).await.unwrap();
    let outcome = letters.when(registered("u-1", "ada")).await.unwrap();
    outcome.then([letter("u-1", "ben")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_crashes_what_is_personal_is_sealed_and_opened() {
    let explored = explore(
        |app| app.service(Letters),
        async |app: &TestApp| {
            app.publish(Outgoing::new(registered("u-1", "ada")).id("r-1"))
                .await?;
            Ok(())
        },
        async |app: &TestApp| {
            app.settle().await?;
            app.assert_no_dead_letters().await?;
            let engine = app.engine();
            let sent = engine.last("letters", "l-u-1").await?.expect("it was sent");
            let mut sent: LetterSent = sent.envelope.decode()?;
            engine.unmask_event(&mut sent).await?;
            assert_eq!(sent, letter("u-1", "ada"));
            Ok(())
        },
    );
    assert!(explored.await.unwrap().runs > 3);
}

#[derive(Default, Serialize, Deserialize)]
struct Addressee(Option<Personal<String>>);

#[aggregate]
impl Addressee {
    #[apply]
    fn sent(&mut self, event: LetterSent) {
        self.0 = Some(event.text);
    }
}

#[test]
fn given_events_and_decisions_with_something_personal_are_compared_by_their_values() {
    let user = given::<Addressee>(letter("u-1", "ada"));
    let text = user.state().0.as_ref().map(Personal::disclosure);
    assert_eq!(
        text,
        Some(Disclosure::Masked),
        "as it is where it is loaded"
    );
    user.when(|_| letter("u-1", "ben"))
        .then(letter("u-1", "ben"));
}

#[test]
#[should_panic(expected = "not what was expected")]
fn a_decision_with_another_personal_value_is_another() {
    let user = given::<Addressee>(letter("u-1", "ada"));
    user.when(|_| letter("u-1", "ben"))
        .then(letter("u-1", "bob"));
}
