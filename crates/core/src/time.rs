//! Time as events carry it, and the one clock that everything reads.
//!
//! Nothing in Ensue asks the operating system for the time directly: it asks a [`Clock`], so that a
//! test can own time and a year of retries passes in a millisecond.

mod backoff;
mod duration;
mod resting;
mod written;

use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::str::FromStr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tokio::sync::oneshot;

pub use self::backoff::Backoff;
pub use self::duration::{InvalidDuration, parse_duration};
#[doc(hidden)]
pub use self::resting::RestingNow;
use self::resting::Sleep;
#[doc(hidden)]
pub use self::resting::{Rest, Resting, WaitsFor, Watch, unwatched};
pub(crate) use self::written::Written;

/// An instant with microsecond resolution, stored as microseconds since 1970-01-01T00:00:00Z.
///
/// Prints and parses as RFC 3339 in UTC, which is also its serde form. A [`Duration`] is added and
/// taken away by `+` and `-`, which saturate; [`since`](Self::since) is the time between two.
///
/// ```
/// use ensue::Timestamp;
///
/// let purchased: Timestamp = "2017-10-02T10:56:33Z".parse()?;
/// assert_eq!(purchased.to_string(), "2017-10-02T10:56:33Z");
/// assert_eq!(purchased.as_micros(), 1_506_941_793_000_000);
/// let reminder = purchased + std::time::Duration::from_secs(60);
/// assert_eq!(reminder.to_string(), "2017-10-02T10:57:33Z");
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

    /// This instant moved by `duration`, as `+` does; saturates at [`Timestamp::MAX`].
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)),
        )
    }

    /// This instant or, beyond what RFC 3339 can write down, the nearest that it can: it has the
    /// years 0 to 9999.
    pub(crate) fn within_rfc_3339(self) -> Self {
        const FIRST: i64 = -62_167_219_200_000_000;
        // Of the last year what exists in every time zone.
        const LAST: i64 = 253_402_207_200_000_000;
        Self(self.0.clamp(FIRST, LAST))
    }

    /// Whether a clock that showed `before` and shows this was set back in between.
    #[doc(hidden)]
    pub fn is_set_back(self, before: Self) -> bool {
        self.plus(SET_BACK_MIN) < before
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(
            u64::try_from(self.0.saturating_sub(earlier.0).max(0)).unwrap_or_default(),
        )
    }
}

/// Saturates at [`Timestamp::MAX`], which lies beyond every time that means something: adding a
/// duration from outside never panics.
impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        self.plus(duration)
    }
}

impl AddAssign<Duration> for Timestamp {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

/// Saturates at the earliest timestamp that can be stored, some 292,000 years before the epoch.
impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(micros))
    }
}

impl SubAssign<Duration> for Timestamp {
    fn sub_assign(&mut self, duration: Duration) {
        *self = *self - duration;
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(written) = Written::of(*self) {
            return f.write_str(std::str::from_utf8(written.as_bytes()).unwrap_or_default());
        }
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
/// There are two kinds of time. The *wall clock* says when something is due; it is set by operators
/// and time servers, forward and back, and goes on while the machine sleeps. *Elapsed* time only
/// ever runs on, and stands still while the machine sleeps. What waits for a point in time goes by
/// the wall clock ([`Clock::sleep_until`]); what waits for a while goes by elapsed time
/// ([`Clock::sleep`]).
///
/// The system's clock in production, a [`VirtualClock`] in tests. Cloning is cheap and gives the
/// same clock.
#[derive(Clone, Debug, Default)]
pub struct Clock(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    System,
    Virtual(VirtualClock, Resting),
    /// Another clock, and what is added to what it shows, in microseconds.
    Corrected(Arc<Clock>, Arc<AtomicI64>),
}

/// Nothing says when the wall clock is set: what waits for it looks at it this often.
const LOOK_WAIT: Duration = Duration::from_secs(1);
/// A clock that goes back by less than this was not set: time servers correct it all the time.
const SET_BACK_MIN: Duration = Duration::from_secs(1);

impl Clock {
    /// The operating system's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// This clock, and what is added to what it shows, in microseconds.
    #[doc(hidden)]
    pub fn corrected(&self, by: Arc<AtomicI64>) -> Self {
        Self(Source::Corrected(Arc::new(self.clone()), by))
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => Timestamp::now(),
            Source::Virtual(clock, _) => clock.now(),
            Source::Corrected(clock, by) => {
                let shown = clock.now().as_micros();
                Timestamp::from_micros(shown.saturating_add(by.load(Ordering::Acquire)))
            }
        }
    }

    /// Completes once `now()` is at or after `at`, within a second also when the wall clock is set
    /// or the machine sleeps meanwhile. Dropping the future cancels the wait.
    pub fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        match &self.0 {
            Source::System => Box::pin(wait_for(at, false, Timestamp::now, tokio::time::sleep)),
            Source::Virtual(clock, _) => clock.sleep(Wake::At(at)),
            Source::Corrected(clock, _) => self.clone().look(clock.clone(), at, false),
        }
    }

    /// [`sleep_until`](Self::sleep_until) that also completes when the wall clock was set back: for
    /// those who then have to look again at what they wait for.
    #[doc(hidden)]
    pub fn sleep_until_or_set_back(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        match &self.0 {
            Source::System => Box::pin(wait_for(at, true, Timestamp::now, tokio::time::sleep)),
            Source::Virtual(clock, _) => clock.sleep(Wake::AtOrSetBack(at)),
            Source::Corrected(clock, _) => self.clone().look(clock.clone(), at, true),
        }
    }

    /// Completes after `duration`, however the wall clock is set meanwhile. Dropping the future
    /// cancels the wait.
    pub fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        match &self.0 {
            Source::System => Box::pin(tokio::time::sleep(duration)),
            Source::Virtual(clock, _) => clock.sleep(Wake::After(duration)),
            Source::Corrected(clock, _) => clock.sleep(duration),
        }
    }

    /// A pause before something is tried again that a disk or a server refused. They go by real time,
    /// which passes also where a test owns this clock; moving that ends the pause early.
    #[doc(hidden)]
    pub async fn pause(&self, duration: Duration) {
        tokio::select! {
            () = self.sleep(duration) => {}
            () = tokio::time::sleep(duration) => {}
        }
    }

    /// Which events wait until a test moves this clock; `None` on a clock that moves by itself.
    /// Clones of a clock count together, other clocks on the same hands do not.
    #[doc(hidden)]
    pub fn resting(&self) -> Option<&Resting> {
        match &self.0 {
            Source::System => None,
            Source::Virtual(_, resting) => Some(resting),
            Source::Corrected(clock, _) => clock.resting(),
        }
    }

    /// Waits for what this clock shows, as time elapses on the one that it corrects.
    fn look(self, clock: Arc<Self>, at: Timestamp, or_set_back: bool) -> BoxFuture<'static, ()> {
        let rest = move |wait| clock.sleep(wait);
        Box::pin(wait_for(at, or_set_back, move || self.now(), rest))
    }
}

/// Waits for the wall clock, in bounded steps.
async fn wait_for<F: Future<Output = ()>>(
    at: Timestamp,
    or_set_back: bool,
    now: impl Fn() -> Timestamp,
    rest: impl Fn(Duration) -> F,
) {
    let mut last = now();
    loop {
        let now = now();
        if now >= at || (or_set_back && now.is_set_back(last)) {
            return;
        }
        last = now;
        rest(at.since(now).min(LOOK_WAIT)).await;
    }
}

impl From<VirtualClock> for Clock {
    fn from(clock: VirtualClock) -> Self {
        Self(Source::Virtual(clock, Resting::default()))
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
    /// How far the clock was moved; setting it is not a move.
    elapsed: Duration,
    sleepers: Vec<Sleeper>,
    /// How many were woken and have neither noticed nor given up.
    waking: usize,
}

#[derive(Debug)]
struct Sleeper {
    until: Wake,
    begun: Timestamp,
    wake: oneshot::Sender<()>,
}

/// What a sleeper waits for; `After` is in elapsed time, since the clock was made once it sleeps.
#[derive(Clone, Copy, Debug)]
enum Wake {
    At(Timestamp),
    AtOrSetBack(Timestamp),
    After(Duration),
}

impl VirtualClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(Hands {
            now,
            elapsed: Duration::ZERO,
            sleepers: Vec::new(),
            waking: 0,
        })))
    }

    /// What the clock shows.
    pub fn now(&self) -> Timestamp {
        self.hands().now
    }

    /// Moves the clock forward and wakes what slept until then.
    pub fn advance(&self, duration: Duration) {
        let mut hands = self.hands();
        hands.now = hands.now.plus(duration);
        hands.elapsed = hands.elapsed.saturating_add(duration);
        hands.wake();
    }

    /// Moves the clock to `at`, never back, and wakes what slept until then.
    pub fn advance_to(&self, at: Timestamp) {
        let duration = at.since(self.now());
        self.advance(duration);
    }

    /// Sets the clock to `at`, forward or back, as an operator, a time server or a machine that
    /// slept does: no time has elapsed, and nothing is woken before the clock moves on.
    pub fn set(&self, at: Timestamp) {
        self.hands().now = at;
    }

    /// How many sleepers were woken and have neither noticed nor given up.
    #[doc(hidden)]
    pub fn waking(&self) -> usize {
        self.hands().waking
    }

    /// When the next sleeper wants to wake, if any sleeps.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let mut hands = self.hands();
        hands.sleepers.retain(|sleeper| !sleeper.wake.is_closed());
        let at = |sleeper: &Sleeper| match sleeper.until {
            Wake::At(at) | Wake::AtOrSetBack(at) => at,
            Wake::After(elapsed) => hands.now.plus(elapsed.saturating_sub(hands.elapsed)),
        };
        hands.sleepers.iter().map(at).min()
    }

    fn sleep(&self, until: Wake) -> BoxFuture<'static, ()> {
        let mut hands = self.hands();
        let until = match until {
            Wake::After(duration) => Wake::After(hands.elapsed.saturating_add(duration)),
            at => at,
        };
        let begun = hands.now;
        if hands.is_over(until, begun) {
            return Box::pin(std::future::ready(()));
        }
        let (wake, woken) = oneshot::channel();
        hands.sleepers.push(Sleeper { until, begun, wake });
        Box::pin(Sleep::new(Arc::downgrade(&self.0), woken))
    }

    fn hands(&self) -> std::sync::MutexGuard<'_, Hands> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hands {
    fn is_over(&self, until: Wake, begun: Timestamp) -> bool {
        match until {
            Wake::At(at) => at <= self.now,
            Wake::AtOrSetBack(at) => at <= self.now || self.now.is_set_back(begun),
            Wake::After(elapsed) => elapsed <= self.elapsed,
        }
    }

    fn wake(&mut self) {
        let sleepers = std::mem::take(&mut self.sleepers);
        for sleeper in sleepers {
            if self.is_over(sleeper.until, sleeper.begun) {
                // One that gave up dropped its end: there is nothing left to wake.
                self.waking += usize::from(sleeper.wake.send(()).is_ok());
            } else {
                self.sleepers.push(sleeper);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn durations_are_added_and_taken_away_and_saturate() {
        let (second, forever) = (Duration::from_secs(1), Duration::MAX);
        let mut at = Timestamp::EPOCH;
        at += second + second;
        at -= second;
        assert_eq!(at, Timestamp::from_micros(1_000_000));
        assert_eq!(at - second, Timestamp::EPOCH);
        assert_eq!(
            Timestamp::EPOCH - second,
            Timestamp::from_micros(-1_000_000)
        );
        assert_eq!(at + forever, Timestamp::MAX);
        assert_eq!(
            Timestamp::from_micros(-2) - forever,
            Timestamp::from_micros(i64::MIN)
        );
    }

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

    /// A wall clock that is set while something rests.
    async fn rests(at: i64, or_set_back: bool, set: impl Fn(u32, i64) -> i64) -> (u32, i64) {
        let (wall, rests) = (Cell::new(0), Cell::new(0));
        let seconds = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        wait_for(
            seconds(at),
            or_set_back,
            || seconds(wall.get()),
            |rest| {
                assert!(rest <= LOOK_WAIT && !rest.is_zero(), "{rest:?}");
                rests.set(rests.get() + 1);
                wall.set(set(rests.get(), wall.get() + 1));
                std::future::ready(())
            },
        )
        .await;
        (rests.get(), wall.get())
    }

    #[tokio::test]
    async fn a_waiter_on_the_wall_clock_sees_that_it_was_set() {
        // It runs evenly.
        assert_eq!(rests(10, false, |_, now| now).await, (10, 10));
        // It goes two hours ahead, or the machine sleeps.
        let ahead = |rest, now| if rest == 3 { now + 7_200 } else { now };
        assert_eq!(rests(3_600, false, ahead).await, (3, 7_203));
        // It is set back by a minute.
        let back = |rest, now| if rest == 3 { now - 60 } else { now };
        assert_eq!(rests(10, false, back).await, (70, 10));
        assert_eq!(rests(10, true, back).await, (3, -57));
    }

    #[tokio::test]
    async fn setting_the_clock_is_no_time_that_elapses() {
        let hands = VirtualClock::new(Timestamp::from_micros(3_600_000_000));
        let clock = Clock::from(hands.clone());
        let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3_600));
        let mut after = clock.sleep(2 * second);
        let mut at = clock.sleep_until(hands.now().plus(hour));
        hands.set(hands.now().plus(hour));
        assert!((&mut after).now_or_never().is_none());
        hands.advance(second);
        at.as_mut().now_or_never().expect("its time has come");
        assert!((&mut after).now_or_never().is_none());
        hands.set(Timestamp::EPOCH);
        hands.advance(second);
        after.now_or_never().expect("two seconds have elapsed");
    }
}
