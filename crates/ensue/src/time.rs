//! Time as events carry it, and the one clock that everything reads.
//!
//! Nothing in Ensue asks the operating system for the time directly: it asks a [`Clock`], so that a
//! test can own time ([`crate::testing`]) and a year of retries passes in a millisecond.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tokio::sync::oneshot;

/// An instant with microsecond resolution, stored as microseconds since 1970-01-01T00:00:00Z.
///
/// Prints and parses as RFC 3339 in UTC, which is also its serde form.
///
/// ```
/// use ensue::Timestamp;
///
/// let purchased: Timestamp = "2017-10-02T10:56:33Z".parse()?;
/// assert_eq!(purchased.to_string(), "2017-10-02T10:56:33Z");
/// assert_eq!(purchased.as_micros(), 1_506_941_793_000_000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The Unix epoch.
    pub const EPOCH: Self = Self(0);
    /// Later than every timestamp that can be written down.
    pub const MAX: Self = Self(i64::MAX);

    /// From microseconds since the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// The operating system's time. Prefer a [`Clock`]: a test cannot move this one.
    pub fn now() -> Self {
        match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => Self(i64::try_from(since.as_micros()).unwrap_or(i64::MAX)),
            Err(before) => {
                Self(i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |m| -m))
            }
        }
    }

    /// This instant moved by `duration`; saturates at [`Timestamp::MAX`].
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)),
        )
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(
            u64::try_from(self.0.saturating_sub(earlier.0).max(0)).unwrap_or_default(),
        )
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(at) => write!(f, "{at}"),
            Err(_) => write!(f, "{} µs since the epoch", self.0),
        }
    }
}

/// A text that is not an RFC 3339 instant.
#[derive(Clone, Debug, thiserror::Error)]
#[error("`{text}` is not a time: {reason}; write it as 2026-05-17T09:30:00Z")]
pub struct InvalidTimestamp {
    text: String,
    reason: String,
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let at: jiff::Timestamp = text
            .parse()
            .map_err(|reason: jiff::Error| InvalidTimestamp {
                text: text.to_owned(),
                reason: reason.to_string(),
            })?;
        Ok(Self(at.as_microsecond()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_i64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
            text.parse().map_err(de::Error::custom)
        } else {
            i64::deserialize(deserializer).map(Self)
        }
    }
}

/// Where the time comes from.
///
/// The system's clock in production, a [`VirtualClock`] in tests. Cloning is cheap and gives the
/// same clock.
#[derive(Clone, Debug, Default)]
pub struct Clock(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    System,
    Virtual(VirtualClock),
}

impl Clock {
    /// The operating system's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => Timestamp::now(),
            Source::Virtual(clock) => clock.now(),
        }
    }

    /// Completes once `now()` is at or after `at`. Dropping the future cancels the wait.
    pub fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        match &self.0 {
            Source::System => {
                let wait = at.since(Timestamp::now());
                Box::pin(tokio::time::sleep(wait))
            }
            Source::Virtual(clock) => clock.sleep_until(at),
        }
    }

    /// Completes after `duration`. Dropping the future cancels the wait.
    pub fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.sleep_until(self.now().plus(duration))
    }
}

impl From<VirtualClock> for Clock {
    fn from(clock: VirtualClock) -> Self {
        Self(Source::Virtual(clock))
    }
}

/// A clock that stands still until it is told to move.
///
/// ```
/// use std::time::Duration;
/// use ensue::{Clock, Timestamp, VirtualClock};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let hands = VirtualClock::new(Timestamp::EPOCH);
/// let clock = Clock::from(hands.clone());
/// let sleep = clock.sleep(Duration::from_secs(86_400));
/// hands.advance(Duration::from_secs(86_400));
/// sleep.await; // a day later, at once
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct VirtualClock(Arc<Mutex<Hands>>);

#[derive(Debug)]
struct Hands {
    now: Timestamp,
    sleepers: Vec<(Timestamp, oneshot::Sender<()>)>,
}

impl VirtualClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(Hands {
            now,
            sleepers: Vec::new(),
        })))
    }

    /// What the clock shows.
    pub fn now(&self) -> Timestamp {
        self.hands().now
    }

    /// Moves the clock forward and wakes whoever slept until then.
    pub fn advance(&self, duration: Duration) {
        let to = self.now().plus(duration);
        self.advance_to(to);
    }

    /// Moves the clock to `at`, never back, and wakes whoever slept until then.
    pub fn advance_to(&self, at: Timestamp) {
        let due: Vec<_> = {
            let mut hands = self.hands();
            hands.now = hands.now.max(at);
            let now = hands.now;
            let (due, later) = std::mem::take(&mut hands.sleepers)
                .into_iter()
                .partition(|(until, _)| *until <= now);
            hands.sleepers = later;
            due
        };
        for (_, wake) in due {
            // A sleeper that gave up dropped its end: nobody is left to wake.
            let _ = wake.send(());
        }
    }

    /// When the next sleeper wants to wake, if anybody sleeps.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let mut hands = self.hands();
        hands.sleepers.retain(|(_, wake)| !wake.is_closed());
        hands.sleepers.iter().map(|(until, _)| *until).min()
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        let mut hands = self.hands();
        if hands.now >= at {
            return Box::pin(std::future::ready(()));
        }
        let (wake, woken) = oneshot::channel();
        hands.sleepers.push((at, wake));
        Box::pin(async move {
            // The sender lives in the clock; if the whole clock is gone, nobody can advance time
            // any more and sleeping on would be for ever.
            let _ = woken.await;
        })
    }

    fn hands(&self) -> std::sync::MutexGuard<'_, Hands> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_print_what_they_parse() {
        for text in ["1970-01-01T00:00:00Z", "2026-11-21T03:41:07.000123Z"] {
            assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), text);
        }
        let error = "05/17/2018".parse::<Timestamp>().unwrap_err().to_string();
        assert!(
            error.contains("05/17/2018") && error.contains("2026-05-17T09:30:00Z"),
            "{error}"
        );
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp::MAX.plus(Duration::from_secs(1)), Timestamp::MAX);
        assert_eq!(Timestamp::EPOCH.since(Timestamp::MAX), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_virtual_sleeper_wakes_when_its_time_comes_and_not_before() {
        let hands = VirtualClock::new(Timestamp::EPOCH);
        let clock = Clock::from(hands.clone());
        let mut sleep = clock.sleep(Duration::from_secs(10));
        hands.advance(Duration::from_secs(9));
        assert!(futures_util::FutureExt::now_or_never(&mut sleep).is_none());
        assert_eq!(hands.next_wake(), Some(Timestamp::from_micros(10_000_000)));
        hands.advance(Duration::from_secs(1));
        sleep.await;
        assert_eq!(hands.next_wake(), None);
    }
}
