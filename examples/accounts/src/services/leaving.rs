//! Leaving: gives back what a user had.

use ensue::prelude::*;

use crate::accounts::Accounts;
use crate::domain::REALM;
use crate::events::{HolderLeft, UserForgotten};

/// `user.forgotten` → the address is free, and `role.holder_left`.
pub(super) struct Leaving(pub(super) Accounts);

#[service(attempts = 20, backoff = "20ms..5s")]
impl Leaving {
    #[on]
    async fn give_back(&self, event: UserForgotten) -> Result<HolderLeft, Failure> {
        let emails = &self.0.emails;
        emails
            .release(&event.email_key, event.user.as_str())
            .await?;
        Ok(HolderLeft {
            realm: REALM.to_owned(),
            user: event.user,
        })
    }
}
