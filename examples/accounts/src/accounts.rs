//! What services and operations share.

use ensue::prelude::*;
use ensue::{Aggregates, Personal, Reservations, Timestamp};

use crate::domain::{Credentials, Roles, User};
use crate::email::Email;
use crate::ids::UserId;
use crate::mail::Post;
use crate::secrets::{Hashing, Keys, PasswordHash};

/// The source of all events that do not follow from others.
const SOURCE: &str = "/accounts";

/// The users of an engine, and what it takes to deal with them. Cloning is cheap.
#[derive(Clone)]
pub struct Accounts {
    pub(crate) publisher: Publisher,
    pub(crate) requester: Requester,
    pub(crate) engine: Engine,
    pub(crate) users: Aggregates<User>,
    pub(crate) roles: Aggregates<Roles>,
    pub(crate) emails: Reservations,
    pub(crate) keys: Keys,
    pub(crate) hashing: Hashing,
    pub(crate) post: Post,
}

impl Accounts {
    /// The accounts in this engine, which has keys for what is personal.
    pub fn new(engine: Engine, keys: Keys, hashing: Hashing, post: Post) -> Self {
        Self {
            publisher: engine.publisher(SOURCE),
            requester: engine.requester(SOURCE),
            users: engine.aggregates(SOURCE),
            roles: engine.aggregates(SOURCE),
            emails: engine.reservations("emails", SOURCE),
            engine,
            keys,
            hashing,
            post,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.engine.clock().now()
    }

    /// Who has an address, or is about to have it.
    pub(crate) async fn holder(&self, email_key: &str) -> ensue::Result<Option<UserId>> {
        let holder = self.emails.holder(email_key).await?;
        Ok(holder.and_then(|holder| holder.parse().ok()))
    }

    /// What a password is compared with, if its user was not forgotten.
    pub(crate) async fn hash_of(
        &self,
        credentials: Option<&Credentials>,
    ) -> ensue::Result<Option<PasswordHash>> {
        let mut hash = credentials.map(|it| it.password.clone());
        self.engine.unmask(&mut hash).await?;
        Ok(hash.and_then(Personal::into_known))
    }

    pub(crate) fn email_key(&self, email: &Email) -> String {
        self.keys.email_key(email)
    }
}
