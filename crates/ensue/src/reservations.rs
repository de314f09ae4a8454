//! Consistency over several keys: a value that only one may have.

mod reservation;

use std::time::Duration;

use uuid::Uuid;

use self::reservation::Reservation;
use crate::aggregate::{Aggregates, Receipt};
use crate::error::Result;
use crate::publisher::Publisher;

pub use self::reservation::{NotHeld, Taken};

/// Values that only one holder may have, such as the e-mail addresses of a service's users: *reserve* for a
/// while, do what needs the value, *confirm*; or let it expire.
///
/// An aggregate keeps its own rules, and no others: that no two users have one address is a rule over all
/// of them, which no version of a single user can keep. So the value becomes an aggregate of its own, whose
/// key it is, and the log decides who was first.
///
/// ```
/// use std::time::Duration;
/// use ensue::prelude::*;
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// let engine = Engine::open("memory:").await?;
/// let emails = engine.reservations("emails", "/accounts");
/// let hold = Duration::from_secs(15 * 60);
///
/// assert!(emails.reserve("ada@example.com", "u-1", hold).await?.is_ok());
/// assert!(emails.reserve("ada@example.com", "u-2", hold).await?.is_err());
/// // … make the user u-1 …
/// assert!(emails.confirm("ada@example.com", "u-1").await?.is_ok());
/// assert_eq!(emails.holder("ada@example.com").await?.as_deref(), Some("u-1"));
/// # Ok::<(), ensue::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What holds
///
/// - At any place in the log a value has at most one holder, however many programs reserve it at the same
///   time, and through crashes at any instant.
/// - Each step may be repeated: who holds a value reserves it again (which prolongs the hold) and confirms it
///   again.
/// - A hold that is not confirmed ends by itself, by an event that is scheduled in the same append as the
///   hold. What is behind what in the log decides between a confirmation and the end of the hold, no
///   clock of a program.
///
/// # What does not
///
/// - Reserving and doing what needs the value are two appends, not one. A value is the holder's for good
///   only once it is *confirmed*: do what cannot be taken back after that, and undo what came before
///   when the confirmation is refused. A service that handles the event of what was done confirms until
///   it has an answer, also after a crash.
/// - A hold ends when the log appends its end: on an embedded engine only while a process has it open.
/// - The value is the key of events in the topic `reservations`, and stays in the log. Bring it into one
///   form first (letter case, spaces), and give a keyed hash of what is personal. With the name of what it
///   is (`emails`) it has at most [`KEY_BYTES_MAX`](crate::KEY_BYTES_MAX) bytes.
///
/// The service that keeps the reservations in its own state, by [`Context::decide`](crate::Context::decide),
/// is another way to the same; this one needs no service.
#[derive(Clone, Debug)]
pub struct Reservations {
    values: Aggregates<Reservation>,
    publisher: Publisher,
    prefix: String,
}

impl Reservations {
    /// Those of what is called `of`, for instance `emails`: the same values of another name are others.
    pub fn new(publisher: Publisher, of: &str) -> Self {
        Self {
            values: Aggregates::new(publisher.clone()),
            publisher,
            // No two names and values make one key.
            prefix: of.replace('%', "%25").replace('/', "%2F"),
        }
    }

    /// Holds `value` for `holder`, who has to confirm it within `hold`. If the holder has it already, the
    /// hold begins anew, or, if it is confirmed, nothing happens.
    ///
    /// # Errors
    /// As for [`Aggregates::decide`]. Trying again is safe.
    pub async fn reserve(
        &self,
        value: &str,
        holder: &str,
        hold: Duration,
    ) -> Result<Result<Receipt, Taken>> {
        let until = self.publisher.engine().clock().now().plus(hold);
        let expiry = format!("expiry-{}", Uuid::now_v7());
        let reserve = |it: &Reservation| it.reserve(holder, until, &expiry);
        self.values.decide(&self.key(value), reserve).await
    }

    /// Makes the value the holder's for good, until it is released.
    ///
    /// # Errors
    /// As for [`Aggregates::decide`]. Trying again is safe.
    pub async fn confirm(&self, value: &str, holder: &str) -> Result<Result<Receipt, NotHeld>> {
        let mut expiry = None;
        let confirm = |it: &Reservation| {
            expiry = it.expiry().map(str::to_owned);
            it.confirm(holder)
        };
        let confirmed = self.values.decide(&self.key(value), confirm).await?;
        if let (Ok(_), Some(expiry)) = (confirmed, expiry) {
            // The end of the hold means nothing any more: that it is not appended only saves its place.
            if let Err(error) = self.publisher.cancel(expiry).await {
                tracing::debug!(%error, "the end of a reservation stays scheduled");
            }
        }
        Ok(confirmed)
    }

    /// Gives a value back that `holder` holds or has confirmed. The receipt has no events if it had not.
    ///
    /// # Errors
    /// As for [`Aggregates::decide`]. Trying again is safe.
    pub async fn release(&self, value: &str, holder: &str) -> Result<Receipt> {
        let release = |it: &Reservation| it.release(holder);
        let Ok(receipt) = self.values.decide(&self.key(value), release).await?;
        Ok(receipt)
    }

    /// Who holds the value now, or has confirmed it.
    ///
    /// # Errors
    /// As for [`Aggregates::load`].
    pub async fn holder(&self, value: &str) -> Result<Option<String>> {
        let loaded = self.values.load(&self.key(value)).await?;
        Ok(loaded.state.holder().map(str::to_owned))
    }

    fn key(&self, value: &str) -> String {
        format!("{}/{value}", self.prefix)
    }
}
