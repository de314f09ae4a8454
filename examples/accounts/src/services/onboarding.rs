//! Onboarding: a welcome, a reminder, and an end, if there is no answer.

use std::time::Duration;

use ensue::prelude::*;
use ensue::{Flow, Personal, Saga, Step};

use crate::accounts::Accounts;
use crate::domain::CONFIRM_WITHIN;
use crate::email::Email;
use crate::events::{ConfirmationExpired, ReminderDue, UserConfirmed, UserRegistered};
use crate::ids::UserId;
use crate::mail::{Mail, Subject};

/// How long a user may take to confirm an address before a reminder.
pub const REMIND_AFTER: Duration = Duration::from_secs(12 * 3_600);
/// How long an address is held for a user who has not confirmed it: longer than that takes.
pub const HOLD: Duration = Duration::from_secs(CONFIRM_WITHIN.as_secs() + 3_600);

/// What is known of a user who is new.
#[derive(State, Serialize, Deserialize)]
#[state(name = "onboarding")]
pub(super) struct Onboarding {
    user: UserId,
    /// Sealed, as all of it is written.
    email: Personal<Email>,
    email_key: String,
    is_confirmed: bool,
    is_expired: bool,
    is_reminder_due: bool,
    is_reminded: bool,
}

/// From `user.registered` to `user.confirmed`; or to `user.confirmation_expired`, when the address
/// is given back.
pub(super) fn saga(accounts: &Accounts) -> Saga<Onboarding> {
    let begin = |event: UserRegistered| Onboarding {
        user: event.user,
        email: event.email,
        email_key: event.email_key,
        is_confirmed: false,
        is_expired: false,
        is_reminder_due: false,
        is_reminded: false,
    };
    Saga::new("onboarding", begin)
        .on(|it: &mut Onboarding, _: UserConfirmed| it.is_confirmed = true)
        .on(|it: &mut Onboarding, _: ConfirmationExpired| it.is_expired = true)
        .on(|it: &mut Onboarding, _: ReminderDue| it.is_reminder_due = true)
        .step(Welcome(accounts.clone()))
        .step(Confirmation(accounts.clone()))
}

/// Writes to the user; undone, the address is free again.
struct Welcome(Accounts);

impl Step<Onboarding> for Welcome {
    const NAME: &'static str = "welcome";

    async fn act(&self, it: &mut Onboarding, ctx: &Context) -> Result<Flow, Failure> {
        it.write(&self.0, ctx, Subject::Welcome).await?;
        let reminder = ReminderDue {
            user: it.user.clone(),
        };
        Ok(Flow::next().and(Outgoing::new(reminder).after(REMIND_AFTER)))
    }

    async fn undo(&self, it: &mut Onboarding, _: &Context) -> Result<Effects, Failure> {
        self.0
            .emails
            .release(&it.email_key, it.user.as_str())
            .await?;
        Ok(Effects::none())
    }
}

/// Waits until the user has confirmed the address.
struct Confirmation(Accounts);

impl Step<Onboarding> for Confirmation {
    const NAME: &'static str = "confirmation";

    async fn act(&self, it: &mut Onboarding, ctx: &Context) -> Result<Flow, Failure> {
        if it.is_confirmed {
            return Ok(Flow::next());
        }
        if it.is_expired {
            return Ok(Flow::abort("the address was not confirmed in time"));
        }
        if it.is_reminder_due && !it.is_reminded {
            it.write(&self.0, ctx, Subject::Reminder).await?;
            it.is_reminded = true;
        }
        // The end of the time is an event of the user; this is for one that never comes.
        Ok(Flow::wait(HOLD))
    }
}

impl Onboarding {
    /// Writes to the user, unless the user was forgotten meanwhile.
    async fn write(
        &self,
        accounts: &Accounts,
        ctx: &Context,
        subject: Subject,
    ) -> Result<(), Failure> {
        let mut email = self.email.clone();
        ctx.unmask(&mut email).await?;
        let Some(to) = email.into_known() else {
            return Ok(());
        };
        let mail = Mail {
            id: ctx.id().to_owned(),
            to,
            subject,
            user: self.user.clone(),
            secret: Some(accounts.keys.confirmation(&self.user)),
        };
        Ok(accounts.post.send(mail).await?)
    }
}
