//! What is personal: sealed wherever it is written, open for who has the key, gone with it.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod forgetting;
mod keys;
mod scan;
mod sealing;
mod testing;

use std::time::Duration;

use ensue::prelude::*;
use ensue::{Disclosure, Personal};

/// Longer than anything takes; only a failing test waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Event, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[event(type = "user.registered", topic = "users", key = user)]
pub(crate) struct Registered {
    pub(crate) user: String,
    #[event(personal = user)]
    pub(crate) email: Personal<String>,
    #[event(personal = user)]
    pub(crate) phones: Vec<Personal<u64>>,
    #[event(personal = user)]
    pub(crate) note: Option<Personal<String>>,
}

#[derive(Event, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[event(type = "letter.sent", topic = "letters", key = letter)]
pub(crate) struct LetterSent {
    pub(crate) letter: String,
    pub(crate) to: String,
    #[event(personal = to)]
    pub(crate) text: Personal<String>,
}

pub(crate) fn registered(user: &str, email: &str) -> Registered {
    Registered {
        user: user.to_owned(),
        email: email.to_owned().into(),
        phones: vec![17.into(), 4711.into()],
        note: None,
    }
}

/// The last event of the user, as it is stored.
pub(crate) async fn stored(engine: &Engine, user: &str) -> Envelope {
    engine.last("users", user).await.unwrap().unwrap().envelope
}

/// How much of the e-mail address of the last event of the user an engine shows.
pub(crate) async fn seen(engine: &Engine, user: &str) -> Disclosure<String> {
    let mut event: Registered = stored(engine, user).await.decode().unwrap();
    engine.unmask_event(&mut event).await.unwrap();
    match event.email.disclosure() {
        Disclosure::Known(email) => Disclosure::Known(email.clone()),
        Disclosure::Masked => Disclosure::Masked,
        Disclosure::Forgotten => Disclosure::Forgotten,
    }
}

pub(crate) fn known(email: &str) -> Disclosure<String> {
    Disclosure::Known(email.to_owned())
}
