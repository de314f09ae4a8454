//! Notices: writes to users what they should know at once.

use ensue::Personal;
use ensue::prelude::*;

use crate::accounts::Accounts;
use crate::domain::Status;
use crate::events::{PasswordChanged, ResetOffered, UserRegisteredAgain};
use crate::ids::UserId;
use crate::mail::{Mail, Subject};

/// `user.registered_again`, `user.reset_offered`, `user.password_changed` → a mail.
pub(super) struct Notices(pub(super) Accounts);

#[service(attempts = 20, backoff = "20ms..5s")]
impl Notices {
    /// Who has not confirmed the address yet gets the link again.
    #[on]
    async fn known(&self, event: UserRegisteredAgain, ctx: &Context) -> Result<(), Failure> {
        let keys = &self.0.keys;
        let status = self.0.users.load(event.user.as_str()).await?.state.status();
        match status {
            Status::Pending(_) => {
                let secret = keys.confirmation(&event.user);
                self.tell(ctx, event.user, Subject::Welcome, Some(secret))
                    .await
            }
            _ => {
                self.tell(ctx, event.user, Subject::AlreadyRegistered, None)
                    .await
            }
        }
    }

    #[on]
    async fn reset(&self, event: ResetOffered, ctx: &Context) -> Result<(), Failure> {
        let secret = self.0.keys.reset(&event.user, &event.reset);
        self.tell(ctx, event.user, Subject::Reset, Some(secret))
            .await
    }

    #[on]
    async fn changed(&self, event: PasswordChanged, ctx: &Context) -> Result<(), Failure> {
        self.tell(ctx, event.user, Subject::PasswordChanged, None)
            .await
    }
}

impl Notices {
    async fn tell(
        &self,
        ctx: &Context,
        user: UserId,
        subject: Subject,
        secret: Option<String>,
    ) -> Result<(), Failure> {
        let loaded = self.0.users.load(user.as_str()).await?;
        let mut to = loaded.state.email().cloned();
        ctx.unmask(&mut to).await?;
        // Who has left meanwhile gets no mail.
        if let Some(to) = to.and_then(Personal::into_known) {
            let id = ctx.id().to_owned();
            self.0
                .post
                .send(Mail {
                    id,
                    to,
                    subject,
                    user,
                    secret,
                })
                .await?;
        }
        Ok(())
    }
}
