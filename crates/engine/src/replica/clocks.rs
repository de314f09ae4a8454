//! Whose clock is right, where several processes share a log.
//!
//! One process whose clock is hours ahead must not make it hours later for all: schedules would
//! come early, and all later events would bear its time. So a process whose clock differs from what
//! most show goes by theirs, says so, and is seen to do so: each message carries what its writer's
//! clock shows, and the time that it goes by. Of two that differ, the elder is right: who comes later
//! goes by who was there. A server that tells its time counts as the eldest of all.
//!
//! Clocks are compared by the order of the log: what another process wrote between two messages of
//! this one, it wrote between their times, unless it came late. So nothing is made of a difference
//! that does not last. All that are there answer one that opens with a beat, and beats see to it that
//! no process is silent for long.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::frame::{Part, Stamp};
use crate::engine::Finding;
use crate::error::Result;
use crate::ids::WriterId;
use crate::model::fencing::SKEW_MAX;
use crate::shared_log::SharedLog;
use crate::time::Clock;

/// A difference counts that has lasted for so many messages of this process.
const LASTS: u64 = 2;
/// How many of the last messages an examination reads, and in which pieces.
const MESSAGES: u64 = 256;
const READ_BYTES: usize = 1024 * 1024;
const READ_WAIT: Duration = Duration::from_millis(500);

/// The clocks of the processes, as far as they were heard.
#[derive(Debug)]
pub(super) struct Clocks {
    /// What is added to this process's clock.
    correction: Arc<AtomicI64>,
    /// How far clocks that are to be equal may differ: more where processes speak rarely.
    skew_max: i64,
    /// The last message of this process that was read back, if that took no longer, and how many
    /// were.
    own: Option<Stamp>,
    read_back: u64,
    /// What each of the others said last since then.
    said: HashMap<WriterId, Stamp>,
    /// How far the clock of each, and the time that it goes by, was ahead of this process's clock.
    ahead: HashMap<WriterId, Stamp>,
    /// How far the clocks of those are ahead who go by another time.
    corrected: HashMap<WriterId, i64>,
    /// How far the server's clock is ahead of this process's, if it tells.
    server: Option<i64>,
    /// When this process looked at its clock last, and what it showed.
    looked: Option<(Instant, i64)>,
    is_sure: bool,
    /// Whether this process has decided what to go by, and since which message of its own something
    /// else seems right.
    has_judged: bool,
    differs: Option<u64>,
    /// Whether this process's clock was set, as far as it can tell, since the server was asked.
    was_set: bool,
    /// Told when this process has compared its clock with all others.
    pub(super) sure: Arc<Notify>,
}

impl Clocks {
    pub(super) fn new(correction: Arc<AtomicI64>, lease: Duration) -> Self {
        let lease = i64::try_from(lease.as_micros()).unwrap_or(i64::MAX);
        Self {
            correction,
            skew_max: SKEW_MAX.max(lease),
            own: None,
            read_back: 0,
            said: HashMap::new(),
            ahead: HashMap::new(),
            corrected: HashMap::new(),
            server: None,
            looked: None,
            is_sure: false,
            has_judged: false,
            differs: None,
            was_set: false,
            sure: Arc::default(),
        }
    }

    /// Whether this process has compared its clock with all others that live.
    pub(super) fn is_sure(&self) -> bool {
        self.is_sure
    }

    /// What a message that is written at `now`, when this process's clock shows `clock`, says. A
    /// clock that was set meanwhile counts once it was compared again, if there are others.
    pub(super) fn stamp(&mut self, clock: i64, now: Instant) -> Stamp {
        if let Some((looked, before)) = self.looked.replace((now, clock)) {
            let elapsed = i64::try_from((now - looked).as_micros()).unwrap_or(i64::MAX);
            let jump = clock.saturating_sub(before.saturating_add(elapsed));
            let has_others = !self.ahead.is_empty() || self.server.is_some();
            if jump.saturating_abs() > self.skew_max && has_others {
                self.server = self.server.map(|ahead| ahead.saturating_sub(jump));
                for ahead in self.ahead.values_mut() {
                    ahead.clock = ahead.clock.saturating_sub(jump);
                    ahead.time = ahead.time.saturating_sub(jump);
                }
                self.own = None;
                self.said.clear();
                self.was_set = true;
                self.correction.fetch_sub(jump, Ordering::AcqRel);
            }
        }
        let correction = self.correction.load(Ordering::Acquire);
        Stamp {
            time: clock.saturating_add(correction),
            clock,
        }
    }

    /// A message of this process is read back, when its clock shows `clock`.
    pub(super) fn read_back(&mut self, own: Stamp, clock: i64) {
        let before = self.own.take();
        let said = std::mem::take(&mut self.said);
        // What was read late, or written before the clock was set, compares with nothing.
        let age = clock.saturating_sub(own.clock);
        if !(0..=self.skew_max).contains(&age) {
            return;
        }
        self.own = Some(own);
        self.read_back += 1;
        let Some(before) = before else { return };
        for (writer, said) in said {
            // No further than it is known to be.
            let ahead = |said: i64| {
                let (least, most) = (
                    said.saturating_sub(own.clock),
                    said.saturating_sub(before.clock),
                );
                0.max(least).min(most)
            };
            let ahead = Stamp {
                time: ahead(said.time),
                clock: ahead(said.clock),
            };
            self.ahead.insert(writer, ahead);
        }
    }

    /// Notes what a message of another process says.
    pub(super) fn hear(&mut self, writer: WriterId, stamp: Stamp) {
        let corrected = stamp.clock.saturating_sub(stamp.time);
        if corrected.saturating_abs() > self.skew_max {
            self.corrected.insert(writer, corrected);
        } else {
            self.corrected.remove(&writer);
        }
        if let Some(own) = self.own {
            self.said.insert(writer, stamp);
            // Of one that was not heard before, so much is known at once: whether it is behind.
            self.ahead.entry(writer).or_insert_with(|| Stamp {
                time: stamp.time.saturating_sub(own.clock).min(0),
                clock: stamp.clock.saturating_sub(own.clock).min(0),
            });
        }
    }

    /// Notes how far the server's clock is ahead of this process's.
    pub(super) fn hear_server(&mut self, ahead: i64) {
        self.server = Some(ahead);
    }

    /// Whether the server is to be asked for the time now: this process's clock was set.
    pub(super) fn take_was_set(&mut self) -> bool {
        std::mem::take(&mut self.was_set)
    }

    /// Decides what this process goes by. `others` are those that live, the eldest first, of which
    /// `elders` are older than this one.
    pub(super) fn judge(&mut self, others: &[WriterId], elders: usize) {
        self.ahead.retain(|writer, _| others.contains(writer));
        self.corrected.retain(|writer, _| others.contains(writer));
        let was_sure = self.is_sure;
        self.is_sure = self.own.is_some() && self.ahead.len() == others.len();
        if self.is_sure && !was_sure {
            self.sure.notify_waiters();
        }
        // Who is alone keeps to the time that was.
        let is_alone = others.is_empty() && self.server.is_none();
        if is_alone || self.ahead.len() < others.len() {
            return;
        }
        let before = self.correction.load(Ordering::Acquire);
        let own = Stamp {
            time: before,
            clock: 0,
        };
        let mut ahead: Vec<Stamp> = others
            .iter()
            .filter_map(|writer| self.ahead.get(writer).copied())
            .collect();
        ahead.insert(elders.min(ahead.len()), own);
        if let Some(server) = self.server {
            let server = Stamp {
                time: server,
                clock: server,
            };
            ahead.insert(0, server);
        }
        let agreed = agreed(&ahead);
        let after = match agreed.saturating_abs() > self.skew_max {
            true if before.abs_diff(agreed) <= self.skew_max.unsigned_abs() => before,
            true => agreed,
            false => 0,
        };
        let is_first = !std::mem::replace(&mut self.has_judged, true);
        if after == before {
            self.differs = None;
            return;
        }
        // Its own clock may count again at once.
        let since = *self.differs.get_or_insert(self.read_back);
        if !is_first && after != 0 && self.read_back < since + LASTS {
            return;
        }
        self.differs = None;
        self.correction.store(after, Ordering::Release);
        match after {
            0 => {
                tracing::info!("this process's clock shows what the others' show, and counts again")
            }
            _ => tracing::warn!("this process's clock is {}", off(after.saturating_neg())),
        }
    }

    /// Which clock is wrong, if one is.
    pub(super) fn trouble(&self) -> Option<String> {
        match self.correction.load(Ordering::Acquire) {
            0 => {
                let (_, ahead) = self.corrected.iter().next()?;
                Some(format!("the clock of another process is {}", off(*ahead)))
            }
            own => Some(format!(
                "this process's clock is {}",
                off(own.saturating_neg())
            )),
        }
    }
}

/// How far the server's clock is ahead, in microseconds, if it tells.
pub(super) async fn server_ahead(log: &dyn SharedLog, clock: &Clock) -> Option<i64> {
    // A clock that a test moves shows another time on purpose.
    if clock.resting().is_some() {
        return None;
    }
    let before = clock.now().as_micros();
    // It is asked again later.
    let told = log.time().await.ok().flatten()?;
    let ours = before.midpoint(clock.now().as_micros());
    Some(told.as_micros().saturating_sub(ours))
}

/// What the last messages of a shared log say of their writers' clocks.
pub async fn examine(log: &dyn SharedLog) -> Result<Option<Finding>> {
    let end = log.end().await?;
    let mut from = end.saturating_sub(MESSAGES);
    let mut corrected: HashMap<WriterId, i64> = HashMap::new();
    while from < end {
        let messages = log.read(from, READ_BYTES, READ_WAIT).await?;
        let Some(last) = messages.last() else { break };
        from = last.sequence + 1;
        for message in &messages {
            if let Ok(Part { writer, stamp, .. }) = Part::read(message.sequence, &message.body) {
                corrected.insert(writer, stamp.clock.saturating_sub(stamp.time));
            }
        }
    }
    let worst = corrected.values().max_by_key(|ahead| ahead.unsigned_abs());
    Ok(worst.map(|ahead| {
        if ahead.unsigned_abs() <= SKEW_MAX.unsigned_abs() {
            return Finding::well("clocks", "no process's clock is far from the others'");
        }
        Finding::weak(
            "clocks",
            format!("the clock of a process is {}", off(*ahead)),
            "a process that is alone goes by its own clock: schedules come at the wrong time then",
            "set that machine's clock, and let a time server keep it right",
        )
    }))
}

fn off(ahead: i64) -> String {
    let seconds = ahead.unsigned_abs() / 1_000_000;
    let way = if ahead < 0 { "behind" } else { "ahead of" };
    format!(
        "{seconds} s {way} what the other processes and the server show, and it goes by theirs; set \
         it right, and let a time server keep it so"
    )
}

/// What most clocks show, of which the eldest process's is the first: the middle one. Between two
/// it is the one that is closer to the time that the eldest goes by.
fn agreed(shown: &[Stamp]) -> i64 {
    let mut sorted: Vec<i64> = shown.iter().map(|stamp| stamp.clock).collect();
    sorted.sort_unstable();
    let middle = |index: usize| sorted.get(index).copied().unwrap_or_default();
    let low = middle(sorted.len().saturating_sub(1) / 2);
    let high = middle(sorted.len() / 2);
    let eldest = shown.first().map_or(0, |stamp| stamp.time);
    if eldest.abs_diff(low) <= eldest.abs_diff(high) {
        low
    } else {
        high
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;
    const HOUR: i64 = 3_600 * SECOND;
    const LEASE: Duration = Duration::from_secs(1);

    fn writer(number: u64) -> WriterId {
        WriterId::new(number, 0)
    }

    fn says(clock: i64) -> Stamp {
        Stamp { time: clock, clock }
    }

    /// The clocks of a process that has just written when its own showed `clock`.
    fn clocks(clock: i64, now: Instant) -> (Clocks, Arc<AtomicI64>) {
        let correction = Arc::new(AtomicI64::new(0));
        let mut clocks = Clocks::new(correction.clone(), LEASE);
        let own = clocks.stamp(clock, now);
        clocks.read_back(own, clock);
        (clocks, correction)
    }

    /// All write once, and this process before and after; its clock shows `own` all the while.
    fn round(clocks: &mut Clocks, own: i64, others: &[(WriterId, i64)], elders: usize) {
        clocks.read_back(says(own), own);
        for (writer, shown) in others {
            clocks.hear(*writer, says(*shown));
        }
        clocks.read_back(says(own), own);
        let writers: Vec<WriterId> = others.iter().map(|(writer, _)| *writer).collect();
        clocks.judge(&writers, elders);
    }

    #[test]
    fn most_clocks_are_right_and_of_two_the_elder() {
        for (shown, expected) in [
            (&[7][..], 7),
            (&[0, 7_200], 0),
            (&[7_200, 0], 7_200),
            (&[7_200, 0, 1], 1),
            (&[0, 7_200, 1], 1),
            (&[0, -7_200, 7_200], 0),
            (&[7_200, 7_201, 0, 1], 7_200),
            (&[0, 7_200, 1, 7_201], 1),
        ] {
            let stamps: Vec<Stamp> = shown.iter().copied().map(says).collect();
            assert_eq!(agreed(&stamps), expected, "{shown:?}");
        }
    }

    #[test]
    fn a_clock_that_is_ahead_goes_by_the_others_until_it_is_set_right() {
        let now = Instant::now();
        let (mut clocks, correction) = clocks(2 * HOUR, now);
        let corrected = || correction.load(Ordering::Acquire);
        let (one, two, three) = (writer(1), writer(2), writer(3));
        // Nothing was heard of one of them: it may be dead.
        clocks.hear(one, says(0));
        clocks.judge(&[one, two], 2);
        assert_eq!((corrected(), clocks.is_sure()), (0, false));
        assert!(clocks.trouble().is_none());

        clocks.hear(two, says(0));
        clocks.judge(&[one, two], 2);
        assert_eq!((corrected(), clocks.is_sure()), (-2 * HOUR, true));
        assert!(clocks.trouble().unwrap().contains("7200 s ahead"));
        let own = clocks.stamp(2 * HOUR + SECOND, now + Duration::from_secs(1));
        assert_eq!(own.time, SECOND);

        // The others leave: there is no other time to go by.
        clocks.judge(&[], 0);
        assert_eq!(corrected(), -2 * HOUR);
        // Another one comes: the time that the elder goes by is as it was.
        for _ in 0..5 {
            round(&mut clocks, 2 * HOUR + SECOND, &[(three, SECOND)], 0);
            assert_eq!(corrected(), -2 * HOUR);
        }

        // It is set right, and what it goes by does not jump meanwhile.
        let own = clocks.stamp(2 * SECOND, now + Duration::from_secs(2));
        assert_eq!(own.time, 2 * SECOND);
        round(&mut clocks, 2 * SECOND, &[(three, 2 * SECOND)], 0);
        assert_eq!(corrected(), 0);
        assert!(clocks.trouble().is_none());
    }

    #[test]
    fn what_comes_late_is_no_clock_that_is_wrong() {
        let (mut clocks, correction) = clocks(0, Instant::now());
        let one = writer(1);
        round(&mut clocks, 0, &[(one, 0)], 1);
        // Written a minute ago, when the server was away.
        round(&mut clocks, 60 * SECOND, &[(one, 0)], 1);
        assert_eq!(correction.load(Ordering::Acquire), 0);
        // This process wrote nothing for a minute.
        clocks.hear(one, says(120 * SECOND));
        clocks.read_back(says(120 * SECOND), 120 * SECOND);
        clocks.judge(&[one], 1);
        assert_eq!(correction.load(Ordering::Acquire), 0);
        // What lasts is one.
        round(&mut clocks, 120 * SECOND, &[(one, 0)], 1);
        round(&mut clocks, 120 * SECOND, &[(one, 0)], 1);
        assert_eq!(correction.load(Ordering::Acquire), -120 * SECOND);
    }

    #[test]
    fn a_clock_that_is_behind_is_known_after_two_messages() {
        let (mut clocks, correction) = clocks(0, Instant::now());
        let one = writer(1);
        clocks.hear(one, says(HOUR));
        clocks.judge(&[one], 1);
        assert_eq!(
            (correction.load(Ordering::Acquire), clocks.is_sure()),
            (0, true)
        );
        for _ in 0..3 {
            round(&mut clocks, SECOND, &[(one, HOUR + SECOND)], 1);
        }
        assert_eq!(correction.load(Ordering::Acquire), HOUR);
    }

    #[test]
    fn a_clock_that_is_set_counts_only_when_the_others_were_too() {
        let now = Instant::now();
        let (mut clocks, correction) = clocks(0, now);
        let one = writer(1);
        round(&mut clocks, 0, &[(one, 0)], 1);
        let own = clocks.stamp(HOUR, now + Duration::from_secs(1));
        assert_eq!(own.time, SECOND);
        assert!(clocks.take_was_set());
        // What it wrote before is no measure.
        clocks.read_back(says(0), HOUR);
        clocks.hear(one, says(SECOND));
        clocks.judge(&[one], 1);
        assert_eq!(
            clocks.stamp(HOUR, now + Duration::from_secs(1)).time,
            SECOND
        );
        // All machines had slept.
        round(&mut clocks, HOUR, &[(one, HOUR)], 1);
        assert_eq!(correction.load(Ordering::Acquire), 0);
    }

    #[test]
    fn a_process_that_is_alone_goes_by_the_servers_clock() {
        let now = Instant::now();
        let (mut clocks, correction) = clocks(2 * HOUR, now);
        clocks.hear_server(-2 * HOUR);
        clocks.judge(&[], 0);
        assert_eq!(correction.load(Ordering::Acquire), -2 * HOUR);
        // Set while the server is not asked.
        assert_eq!(clocks.stamp(0, now).time, 0);
        clocks.judge(&[], 0);
        assert_eq!(correction.load(Ordering::Acquire), 0);
        // It is the server's that is wrong.
        clocks.hear_server(2 * HOUR);
        for _ in 0..5 {
            round(&mut clocks, 0, &[(writer(1), 0), (writer(2), 0)], 1);
        }
        assert_eq!(correction.load(Ordering::Acquire), 0);
    }

    #[test]
    fn another_process_that_goes_by_other_clocks_is_named() {
        let (mut clocks, _) = clocks(0, Instant::now());
        let fast = Stamp {
            time: 0,
            clock: 2 * HOUR,
        };
        clocks.hear(writer(1), fast);
        let trouble = clocks.trouble().unwrap();
        assert!(
            trouble.contains("another process is 7200 s ahead"),
            "{trouble}"
        );
        clocks.judge(&[], 0);
        assert!(clocks.trouble().is_none(), "it is gone");
    }
}
