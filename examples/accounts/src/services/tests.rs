//! All services together, on a clock that the test moves.

use std::time::Duration;

use ensue::testing::TestApp;

use super::*;
use crate::domain::{CONFIRM_WITHIN, QUIET_FOR, RESET_EVERY, RESET_WITHIN, RESETS_MAX, Status};
use crate::email::Email;
use crate::events::{
    ConfirmationExpired, ResetOffered, UserConfirmed, UserErased, UserForgotten, UserRegistered,
    UserRegisteredAgain,
};
use crate::ids::UserId;
use crate::mail::{Mailbox, Post, Subject};
use crate::secrets::{Hashing, Keys, Password};

/// Where users are at home.
const HOME: &str = "192.0.2.7";

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
        let email: Email = email.parse().unwrap();
        let password = self
            .accounts
            .hashing
            .hash(Password::tried("x".into()).unwrap());
        let request = RegistrationRequested {
            email_key: self.accounts.email_key(&email),
            user: UserId::of_request(id),
            email: email.into(),
            password: password.await.unwrap().into(),
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

    /// Registers a user, who confirms the address.
    async fn user(&mut self, email: &str) -> UserId {
        self.request(email, email).await;
        self.app.settle().await.unwrap();
        let user = UserId::of_request(email);
        let secret = self.accounts.keys.confirmation(&user);
        let password = Password::tried("correct horse".into()).unwrap();
        let confirmed = self.accounts.confirm(&user, &secret, password, HOME);
        confirmed.await.unwrap();
        self.app.settle().await.unwrap();
        self.mails();
        user
    }

    async fn log_in(&self, email: &str, password: &str, from: &str) -> bool {
        let password = Password::tried(password.into()).unwrap();
        let email: Email = email.parse().unwrap();
        self.accounts.log_in(&email, password, from).await.is_ok()
    }

    /// Whether anything is known of a user.
    async fn is_readable(&self, user: &UserId) -> bool {
        let registered = self.said::<UserRegistered>().await;
        let mut registered = registered.into_iter().find(|it| it.user == *user).unwrap();
        let engine = self.app.engine();
        engine.unmask_event(&mut registered).await.unwrap();
        registered.email.known().is_some()
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
    assert!(!town.is_readable(&UserId::of_request("r-1")).await);
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
    let confirmed = town.accounts.confirm(&user, &secret, password, HOME).await;
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

#[tokio::test]
async fn a_stranger_with_wrong_passwords_locks_nobody_out_but_the_stranger() {
    let mut town = Town::start().await;
    town.user("ada@example.com").await;
    for _ in 0..30 {
        assert!(
            !town
                .log_in("ada@example.com", "wrong", "198.51.100.9")
                .await
        );
    }
    let right = "correct horse";
    assert!(!town.log_in("ada@example.com", right, "198.51.100.9").await);
    assert!(town.log_in("ada@example.com", right, HOME).await);
    // From a train, where the user never was.
    assert!(town.log_in("ada@example.com", right, "203.0.113.4").await);
    // Many of them have few attempts; the user goes on.
    for place in 0..100 {
        town.log_in("ada@example.com", "wrong", &format!("10.0.0.{place}"))
            .await;
    }
    assert!(!town.log_in("ada@example.com", right, "203.0.113.99").await);
    assert!(town.log_in("ada@example.com", right, HOME).await);
}

#[tokio::test]
async fn a_link_stands_whoever_asks_for_others_and_mails_are_few() {
    let mut town = Town::start().await;
    let user = town.user("ada@example.com").await;
    let email: Email = "ada@example.com".parse().unwrap();
    for _ in 0..50 {
        town.accounts.request_reset(&email).await.unwrap();
        town.app.settle().await.unwrap();
    }
    assert_eq!(town.mails(), [Subject::Reset]);
    for _ in 0..5 {
        town.app.advance(RESET_EVERY).await.unwrap();
        town.accounts.request_reset(&email).await.unwrap();
        town.app.settle().await.unwrap();
    }
    assert_eq!(town.mails().len(), RESETS_MAX - 1);
    let offers = town.said::<ResetOffered>().await;
    let secret = town.accounts.keys.reset(&user, &offers[0].reset);
    let password = Password::tried("another horse".into()).unwrap();
    let reset = town.accounts.reset_password(&user, &secret, password, HOME);
    reset.await.unwrap();
    assert!(town.log_in("ada@example.com", "another horse", HOME).await);
    // It has ended the others.
    let secret = town.accounts.keys.reset(&user, &offers[1].reset);
    let password = Password::tried("a third horse".into()).unwrap();
    let reset = town.accounts.reset_password(&user, &secret, password, HOME);
    assert!(reset.await.is_err());
    town.app.advance(RESET_WITHIN).await.unwrap();
    town.accounts.request_reset(&email).await.unwrap();
    town.app.settle().await.unwrap();
    assert!(town.mails().contains(&Subject::Reset));
}

#[tokio::test]
async fn who_registers_an_address_again_and_again_sends_its_user_few_mails() {
    let mut town = Town::start().await;
    town.user("ada@example.com").await;
    for number in 0..20 {
        town.request(&format!("again-{number}"), "ada@example.com")
            .await;
        town.app.settle().await.unwrap();
    }
    assert_eq!(town.mails(), [Subject::AlreadyRegistered]);
    town.app.advance(QUIET_FOR).await.unwrap();
    town.request("later", "ada@example.com").await;
    town.app.settle().await.unwrap();
    assert_eq!(town.mails(), [Subject::AlreadyRegistered]);
}

#[tokio::test]
async fn of_a_user_who_left_and_of_one_whose_keys_an_operator_destroys_nothing_is_readable() {
    let mut town = Town::start().await;
    let [ada, bob] = [
        town.user("ada@example.com").await,
        town.user("bob@example.com").await,
    ];
    assert!(town.is_readable(&ada).await && town.is_readable(&bob).await);
    let caller = |user: &UserId| crate::operations::Caller {
        user: user.clone(),
        session: crate::secrets::SessionToken::random(user.clone())
            .unwrap()
            .session(),
    };
    let password = Password::tried("correct horse".into()).unwrap();
    let caller = caller(&ada);
    let leaving = town.accounts.forget(&caller, password, HOME);
    leaving.await.unwrap();
    let engine = town.app.engine();
    let receipt = engine.forget(bob.as_str(), Duration::from_secs(60));
    assert!(receipt.await.unwrap().is_complete());
    town.app.settle().await.unwrap();
    for user in [&ada, &bob] {
        assert!(!town.is_readable(user).await, "{user}");
        let loaded = town.accounts.users.load(user.as_str()).await.unwrap();
        assert_eq!(loaded.state.status(), Status::Forgotten, "{user}");
    }
    assert_eq!(town.said::<UserForgotten>().await.len(), 2);
    let erased = town.said::<UserErased>().await;
    assert!(erased.iter().all(|it| it.told == ["copies"]), "{erased:?}");
    // The addresses are free, and another user may have one.
    let again = town.user("ada+again@example.com").await;
    assert!(town.is_readable(&again).await);
    town.request("ada again", "ada@example.com").await;
    town.app.settle().await.unwrap();
    assert!(town.is_readable(&UserId::of_request("ada again")).await);
    town.app.assert_no_dead_letters().await.unwrap();
}

#[tokio::test]
async fn what_was_said_by_who_wanted_an_address_in_vain_is_forgotten() {
    let mut town = Town::start().await;
    let ada = town.user("ada@example.com").await;
    town.request("in vain", "ada@example.com").await;
    town.app.settle().await.unwrap();
    let requests = town.said::<RegistrationRequested>().await;
    let engine = town.app.engine();
    for mut request in requests {
        engine.unmask_event(&mut request).await.unwrap();
        assert_eq!(request.email.known().is_some(), request.user == ada);
    }
    assert!(town.is_readable(&ada).await);
    town.app.assert_no_dead_letters().await.unwrap();
}
