//! All services together, on a clock that the test moves.

use std::time::Duration;

use ensue::testing::TestApp;

use super::*;
use crate::domain::CONFIRM_WITHIN;
use crate::events::{ConfirmationExpired, UserConfirmed, UserRegistered, UserRegisteredAgain};
use crate::mail::{Mailbox, Post, Subject};
use crate::secrets::{Hashing, Keys, Password};

struct Town {
    app: TestApp,
    accounts: Accounts,
    mailbox: Mailbox,
    _directory: tempfile::TempDir,
}

impl Town {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mail");
        let (keys, hashing) = (Keys::random().unwrap(), Hashing::new().unwrap());
        let post = Post::open(&path).unwrap();
        let make = {
            let (keys, hashing, post) = (keys.clone(), hashing.clone(), post.clone());
            move |app: App| {
                let engine = app.engine().clone();
                let accounts = Accounts::new(engine, keys.clone(), hashing.clone(), post.clone());
                add(app, &accounts)
            }
        };
        let app = TestApp::start(make).await.unwrap();
        let accounts = Accounts::new(app.engine(), keys, hashing, post);
        let mailbox = Mailbox::new(&path);
        Self {
            app,
            accounts,
            mailbox,
            _directory: directory,
        }
    }

    async fn request(&self, id: &str, email: &str) {
        let email = email.parse().unwrap();
        let password = self
            .accounts
            .hashing
            .hash(Password::tried("x".into()).unwrap());
        let request = RegistrationRequested {
            email_key: self.accounts.email_key(&email),
            email,
            password: password.await.unwrap(),
        };
        self.app
            .publish(Outgoing::new(request).id(id))
            .await
            .unwrap();
    }

    /// What was said of users: the saga has events of its own that bring them there.
    async fn said<E: Event>(&self) -> Vec<E> {
        let events = self.app.envelopes().await.unwrap();
        let said = events
            .iter()
            .filter(|it| it.topic() == E::TOPIC && it.event_type() == E::TYPE);
        said.map(|it| it.decode().unwrap()).collect()
    }

    fn mails(&mut self) -> Vec<Subject> {
        let mails = self.mailbox.new_mails().unwrap();
        mails.into_iter().map(|mail| mail.subject).collect()
    }
}

#[tokio::test]
async fn one_address_is_one_user_and_its_user_hears_of_others() {
    let mut town = Town::start().await;
    for (id, email) in [
        ("r-1", "ada@example.com"),
        ("r-1", "ada@example.com"),
        ("r-2", "ADA@example.com"),
    ] {
        town.request(id, email).await;
    }
    town.app.settle().await.unwrap();
    let users = town.said::<UserRegistered>().await;
    assert_eq!(users.len(), 1);
    assert_eq!(town.said::<UserRegisteredAgain>().await.len(), 1);
    let mut mails = town.mails();
    mails.sort_by_key(|subject| format!("{subject:?}"));
    assert_eq!(mails, [Subject::Welcome, Subject::Welcome]);
    town.app.assert_no_dead_letters().await.unwrap();
}

#[tokio::test]
async fn what_a_client_calls_its_request_is_its_own() {
    let mut town = Town::start().await;
    for email in ["ada@example.com", "ada@example.com", "bob@example.com"] {
        let password = Password::tried("x".into()).unwrap();
        town.accounts
            .request_registration(email.parse().unwrap(), password, Some("1"))
            .await
            .unwrap();
    }
    town.app.settle().await.unwrap();
    assert_eq!(town.said::<UserRegistered>().await.len(), 2);
    assert!(town.said::<UserRegisteredAgain>().await.is_empty());
    assert_eq!(town.mails(), [Subject::Welcome, Subject::Welcome]);
}

#[tokio::test]
async fn who_does_not_answer_is_reminded_and_loses_the_address() {
    let mut town = Town::start().await;
    town.request("r-1", "ada@example.com").await;
    town.app.settle().await.unwrap();
    assert_eq!(town.mails(), [Subject::Welcome]);
    town.app.advance(REMIND_AFTER).await.unwrap();
    assert_eq!(town.mails(), [Subject::Reminder]);
    let email_key = town.accounts.email_key(&"ada@example.com".parse().unwrap());
    assert!(town.accounts.holder(&email_key).await.unwrap().is_some());
    town.app
        .advance(CONFIRM_WITHIN - REMIND_AFTER)
        .await
        .unwrap();
    assert_eq!(town.said::<ConfirmationExpired>().await.len(), 1);
    assert_eq!(town.accounts.holder(&email_key).await.unwrap(), None);
    // Somebody else may have it.
    town.request("r-2", "ada@example.com").await;
    town.app.settle().await.unwrap();
    assert_eq!(town.said::<UserRegistered>().await.len(), 2);
    town.app.assert_no_dead_letters().await.unwrap();
}

#[tokio::test]
async fn who_has_confirmed_hears_no_more_and_keeps_the_address() {
    let mut town = Town::start().await;
    town.request("r-1", "ada@example.com").await;
    town.app.settle().await.unwrap();
    let [registered] = town.said::<UserRegistered>().await.try_into().unwrap();
    let user = registered.user;
    let secret = town.accounts.keys.confirmation(&user);
    let password = Password::tried("x".into()).unwrap();
    let confirmed = town.accounts.confirm(&user, &secret, password).await;
    confirmed.unwrap();
    town.app.settle().await.unwrap();
    town.app.advance(CONFIRM_WITHIN * 2).await.unwrap();
    assert_eq!(town.mails(), [Subject::Welcome]);
    assert_eq!(town.said::<UserConfirmed>().await.len(), 1);
    let email_key = &registered.email_key;
    assert_eq!(town.accounts.holder(email_key).await.unwrap(), Some(user));
    town.app.advance(Duration::from_secs(120)).await.unwrap();
    town.app.assert_no_dead_letters().await.unwrap();
}
