//! What the log says of all users: whether what must never be is nowhere.

use std::collections::{BTreeMap, HashMap, HashSet};

use ensue::Forgotten;
use ensue::engine::Query;
use ensue::prelude::*;
use serde::Serialize;

use crate::events::{
    AddressBlocked, ConfirmationExpired, PasswordChanged, ProfilePublished, UserConfirmed,
    UserForgotten, UserLoggedIn, UserLoginFailed, UserRegistered,
};
use crate::ids::UserId;

/// What a log holds, and what must be zero.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Checked {
    /// How many users have registered.
    pub users: u64,
    /// How many events of each type there are, of those that count.
    pub events: BTreeMap<&'static str, u64>,
    /// How many addresses had two users at a time, or how many users registered twice.
    pub twice: u64,
    /// How many sessions began of one who was no user then, or had not confirmed the address.
    pub sessions_without_user: u64,
    /// Of how many who were forgotten something can still be read.
    pub readable: u64,
    /// How many events could not be handled.
    pub dead_letters: u64,
}

const COUNTED: [&str; 10] = [
    UserRegistered::TYPE,
    UserConfirmed::TYPE,
    ConfirmationExpired::TYPE,
    UserLoggedIn::TYPE,
    UserLoginFailed::TYPE,
    PasswordChanged::TYPE,
    ProfilePublished::TYPE,
    UserForgotten::TYPE,
    Forgotten::TYPE,
    AddressBlocked::TYPE,
];

/// The users of a log, at some place in it.
#[derive(Default)]
struct Users {
    /// The address of each who ever registered.
    registered: HashMap<UserId, String>,
    active: HashSet<UserId>,
    /// Whose keys are destroyed.
    forgotten: HashSet<String>,
    by_address: HashMap<String, HashSet<UserId>>,
}

impl Checked {
    /// Reads a log from its beginning to its end.
    ///
    /// # Errors
    /// What the engine reports.
    pub async fn read(engine: &Engine) -> ensue::Result<Self> {
        let mut checked = Self::default();
        let mut users = Users::default();
        for topic in [
            Forgotten::TOPIC,
            UserRegistered::TOPIC,
            AddressBlocked::TOPIC,
        ] {
            let mut events = engine.read(Query {
                topics: Some(topic.parse()?),
                ..Query::default()
            });
            while let Some(event) = events.next().await {
                let event = event?.envelope;
                checked.take(&event, &mut users)?;
                checked.open(engine, &event, &users).await?;
            }
        }
        checked.users = users.registered.len() as u64;
        let status = engine.status().await?;
        checked.dead_letters = status.groups.iter().map(|group| group.dead as u64).sum();
        Ok(checked)
    }

    /// Whether nothing is what must never be.
    pub fn is_good(&self) -> bool {
        self.twice == 0
            && self.sessions_without_user == 0
            && self.readable == 0
            && self.dead_letters == 0
    }

    /// Counts what is readable of a user who was forgotten.
    async fn open(
        &mut self,
        engine: &Engine,
        event: &Envelope,
        users: &Users,
    ) -> ensue::Result<()> {
        if event.event_type() == UserRegistered::TYPE {
            let mut event: UserRegistered = event.decode()?;
            engine.unmask_event(&mut event).await?;
            let is_readable = event.email.known().is_some();
            let is_forgotten = users.forgotten.contains(event.user.as_str());
            self.readable += u64::from(is_readable && is_forgotten);
        }
        Ok(())
    }

    fn take(&mut self, event: &Envelope, users: &mut Users) -> ensue::Result<()> {
        if let Some(counted) = COUNTED.iter().find(|it| **it == event.event_type()) {
            *self.events.entry(counted).or_default() += 1;
        }
        match event.event_type() {
            Forgotten::TYPE => {
                users.forgotten.insert(event.decode::<Forgotten>()?.subject);
            }
            UserRegistered::TYPE => {
                let event: UserRegistered = event.decode()?;
                let key = event.email_key;
                let with_address = users.by_address.entry(key.clone()).or_default();
                with_address.insert(event.user.clone());
                let is_second = users.registered.insert(event.user, key).is_some();
                self.twice += u64::from(is_second || with_address.len() > 1);
            }
            UserConfirmed::TYPE => {
                users.active.insert(event.decode::<UserConfirmed>()?.user);
            }
            ConfirmationExpired::TYPE => {
                let user = event.decode::<ConfirmationExpired>()?.user;
                if !users.active.contains(&user) {
                    users.leave(&user);
                }
            }
            UserForgotten::TYPE => users.leave(&event.decode::<UserForgotten>()?.user),
            UserLoggedIn::TYPE => {
                let user = event.decode::<UserLoggedIn>()?.user;
                self.sessions_without_user += u64::from(!users.active.contains(&user));
            }
            _ => {}
        }
        Ok(())
    }
}

impl Users {
    fn leave(&mut self, user: &UserId) {
        self.active.remove(user);
        let address = self.registered.get(user);
        if let Some(users) = address.and_then(|it| self.by_address.get_mut(it)) {
            users.remove(user);
        }
    }
}

#[cfg(test)]
mod tests {
    use ensue::{MemoryKeys, Timestamp};

    use super::*;
    use crate::email::Email;
    use crate::secrets::{Hashing, Keys, Password, SessionToken};

    #[tokio::test]
    async fn what_must_never_be_is_found() {
        let engine = Engine::open("memory:").await.unwrap();
        let engine = engine.with_keys(MemoryKeys::default()).unwrap();
        let origin = |user: &UserId| Keys::random().unwrap().origin(user, "192.0.2.7");
        let hashing = Hashing::new().unwrap();
        let password = hashing.hash(Password::tried("x".into()).unwrap());
        let password = password.await.unwrap();
        let [ada, bob] = ["ada", "bob"].map(UserId::of_request);
        let registered = |user: &UserId| UserRegistered {
            user: user.clone(),
            email_key: "key".into(),
            email: "ada@example.com".parse::<Email>().unwrap().into(),
            password: password.clone().into(),
            confirm_until: Timestamp::from_micros(2_000_000_000_000_000),
        };
        let logged_in = |user: &UserId| UserLoggedIn {
            user: user.clone(),
            session: SessionToken::random(user.clone()).unwrap().session(),
            address: "192.0.2.7".to_owned().into(),
            origin: origin(user),
            until: Timestamp::from_micros(2_000_000_000_000_000),
        };
        engine.publish(registered(&ada)).await.unwrap();
        engine.publish(logged_in(&ada)).await.unwrap();
        engine
            .publish(UserConfirmed {
                user: ada.clone(),
                password: password.clone().into(),
                origin: origin(&ada),
            })
            .await
            .unwrap();
        engine.publish(logged_in(&ada)).await.unwrap();
        let checked = Checked::read(&engine).await.unwrap();
        assert_eq!(
            (checked.users, checked.twice, checked.sessions_without_user),
            (1, 0, 1)
        );
        engine.publish(registered(&bob)).await.unwrap();
        assert_eq!(Checked::read(&engine).await.unwrap().twice, 1);
        let forgotten = UserForgotten {
            user: ada.clone(),
            email_key: "key".into(),
        };
        engine.publish(forgotten).await.unwrap();
        engine.publish(logged_in(&ada)).await.unwrap();
        let checked = Checked::read(&engine).await.unwrap();
        assert_eq!((checked.twice, checked.sessions_without_user), (1, 2));
        assert_eq!(
            checked.readable, 0,
            "no one said that the keys are destroyed"
        );
        let subject = ada.to_string();
        engine.publish(Forgotten { subject }).await.unwrap();
        assert_eq!(Checked::read(&engine).await.unwrap().readable, 1);
        let within = std::time::Duration::from_secs(1);
        engine.forget(ada.as_str(), within).await.unwrap();
        assert_eq!(Checked::read(&engine).await.unwrap().readable, 0);
    }
}
