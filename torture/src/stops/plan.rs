//! What a seed says: an app, its limits, its events, and what happens meanwhile.

use std::time::Duration;

use ensue::engine::{ReplayEffects, ReplayState, Reset};
use ensue::{Start, Timestamp};
use fastrand::Rng;
use serde::{Deserialize, Serialize};

use super::act::Act;

/// How large a plan may be.
pub(super) struct Size {
    pub(super) groups: usize,
    pub(super) events: usize,
    pub(super) steps: usize,
    pub(super) acts: Vec<Act>,
    /// Whether time is real: then everything waits less, and no clock steps.
    pub(super) is_real: bool,
}

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) groups: Vec<Group>,
    pub(super) limits: Limits,
    /// At most so many apps at the same time.
    pub(super) apps: usize,
    pub(super) workers: usize,
    pub(super) in_flight_max: usize,
    pub(super) concurrency: usize,
    pub(super) layer: Option<Layer>,
    pub(super) steps: Vec<Step>,
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) attempts: u32,
    pub(super) backoff: (Duration, Duration),
    pub(super) timeout: Duration,
    pub(super) concurrency: Option<usize>,
    pub(super) skips: bool,
    pub(super) is_blocking: bool,
    /// Whether what its handler holds panics when it is dropped.
    pub(super) drop_panics: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) schedules_max: usize,
    pub(super) state_bytes_max: usize,
    pub(super) parked_max: usize,
    pub(super) key_events_max: usize,
    pub(super) segment_bytes: usize,
    /// When what is scheduled is due, after it is.
    pub(super) later: Duration,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Layer {
    /// Whether it panics when it is dropped.
    pub(super) drop_panics: bool,
}

#[derive(Debug)]
pub(super) enum Step {
    Publish(Vec<Order>),
    /// So many of those that were published last, once more.
    Again(usize),
    /// Events whose publisher waits for a reply.
    Ask(Vec<Order>),
    Advance(Duration),
    /// The wall clock is set: so many seconds ahead, or back.
    Shift(i64),
    /// The wall clock is set to this.
    Set(Timestamp),
    Wait,
    Redrive(String),
    Discard(String),
    Reset(String, Reset),
    Delete(String),
    Cancel(u8),
    /// One more app, if there may be.
    Join,
    /// One app less, if there are several.
    Leave,
    /// In order.
    Restart,
    /// As by `kill -9`.
    Crash,
}

/// One event: what each group does with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) key: String,
    pub(super) n: u64,
    /// Whether its id is that of the event before, whose source is another.
    pub(super) shares_id: bool,
    pub(super) ways: Vec<Way>,
}

impl Order {
    /// Its source and id.
    pub(super) fn id(&self) -> (&'static str, String) {
        if self.shares_id {
            ("/others", format!("e{}", self.n.saturating_sub(1)))
        } else {
            ("/stops", format!("e{}", self.n))
        }
    }

    /// What is odd about it before any group sees it.
    pub(super) fn whole(&self) -> Act {
        self.ways.first().map_or(Act::Good, |way| way.act)
    }
}

/// How one group handles an event.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Way {
    pub(super) act: Act,
    /// For so many attempts; later ones are good.
    pub(super) attempts: u32,
    /// For acts that have a size, in thousandths of the limit that they are about.
    pub(super) size: u32,
    /// Which of a few ids it uses.
    pub(super) id: u8,
}

impl Plan {
    pub(super) fn of(seed: u64, size: &Size) -> Self {
        let mut random = Rng::with_seed(seed);
        let groups = random.usize(1..=size.groups);
        let groups: Vec<_> = (0..groups)
            .map(|index| Group::of(index, &mut random, size.is_real))
            .collect();
        let limits = Limits::of(&mut random, size);
        let mut events = Events {
            keys: random.u64(1..=12),
            // A healthy key never misbehaves: whatever others do, it has to go on.
            healthy: 1,
            evil: pick(&mut random, &[5, 30, 100]),
            n: 0,
            groups: groups.len(),
            acts: &size.acts,
            left: random.usize(1..=size.events),
        };
        let mut steps = vec![Step::Publish(events.some(&mut random))];
        for _ in 0..random.usize(0..=size.steps) {
            steps.push(step(&mut random, &mut events, &groups, size.is_real));
        }
        let layer = Layer {
            drop_panics: random.u8(..6) == 0,
        };
        Self {
            limits,
            apps: random.usize(1..=2),
            workers: random.usize(1..=4),
            in_flight_max: pick(&mut random, &[1, 7, 64, 8_192]),
            concurrency: pick(&mut random, &[1, 2, 16, 256]),
            layer: random.bool().then_some(layer),
            groups,
            steps,
        }
    }

    /// How many events it publishes.
    pub(super) fn events(&self) -> usize {
        let of = |step: &Step| match step {
            Step::Publish(orders) | Step::Ask(orders) => orders.len(),
            _ => 0,
        };
        self.steps.iter().map(of).sum()
    }
}

impl Group {
    fn of(index: usize, random: &mut Rng, is_real: bool) -> Self {
        let scale = if is_real { 1 } else { 100 };
        let backoff = Duration::from_millis(random.u64(1..=20) * scale);
        Self {
            name: format!("g{index}"),
            attempts: random.u32(1..=4),
            backoff: (backoff, backoff * 4),
            timeout: Duration::from_millis(if is_real { 100 } else { 10_000 }),
            concurrency: random.bool().then(|| random.usize(1..=4)),
            skips: random.u8(..4) == 0,
            is_blocking: random.u8(..6) == 0,
            drop_panics: random.u8(..6) == 0,
        }
    }
}

impl Limits {
    fn of(random: &mut Rng, size: &Size) -> Self {
        let is_small = random.bool();
        let mut either =
            |small: &[usize], usual| if is_small { pick(random, small) } else { usual };
        Self {
            schedules_max: either(&[2, 10], 1_000),
            state_bytes_max: either(&[4_096, 65_536], 64 << 20),
            // More than there are keys: where so many wait a group pauses, and says so.
            parked_max: either(&[40, 100, 1_000_000, 1_000_000], 1_000_000),
            key_events_max: either(&[1, 3, 20], 1_024),
            segment_bytes: either(&[1 << 20], 64 << 20),
            later: Duration::from_millis(if size.is_real { 200 } else { 60_000 }),
        }
    }
}

/// Makes events until there are enough.
struct Events<'a> {
    keys: u64,
    healthy: u64,
    evil: u32,
    n: u64,
    groups: usize,
    acts: &'a [Act],
    left: usize,
}

impl Events<'_> {
    fn some(&mut self, random: &mut Rng) -> Vec<Order> {
        let count = random.usize(1..=60).min(self.left);
        self.left -= count;
        (0..count).map(|_| self.one(random)).collect()
    }

    /// Some whose publishers wait for replies: they have keys of their own, because a request that
    /// was refused is settled.
    fn asks(&mut self, random: &mut Rng) -> Vec<Order> {
        let mut asks = self.some(random);
        for order in &mut asks {
            order.key = format!("{ASKS}{}", order.key);
        }
        asks
    }

    fn one(&mut self, random: &mut Rng) -> Order {
        self.n += 1;
        let key = random.u64(0..self.keys + self.healthy);
        let is_healthy = key < self.healthy;
        let ways = (0..self.groups).map(|_| self.way(random, is_healthy));
        Order {
            ways: ways.collect(),
            key: if is_healthy {
                format!("{HEALTHY}{key}")
            } else {
                format!("k{key}")
            },
            n: self.n,
            shares_id: self.n > 1 && random.u8(..10) == 0,
        }
    }

    fn way(&self, random: &mut Rng, is_healthy: bool) -> Way {
        let is_good = is_healthy || random.u32(..100) >= self.evil || self.acts.is_empty();
        Way {
            act: if is_good {
                Act::Good
            } else {
                pick(random, self.acts)
            },
            attempts: random.u32(1..=5),
            size: pick(random, &[1, 500, 990, 1_000, 1_001, 1_100, 2_000]),
            id: random.u8(..4),
        }
    }
}

/// What the keys begin with that nothing happens to.
pub(super) const HEALTHY: &str = "healthy-";
/// What the keys of requests begin with.
pub(super) const ASKS: &str = "asks-";

fn step(random: &mut Rng, events: &mut Events<'_>, groups: &[Group], is_real: bool) -> Step {
    let group = random.choice(groups).map(|group| group.name.clone());
    let group = group.unwrap_or_default();
    match random.u8(..30) {
        0..=7 if events.left > 0 => Step::Publish(events.some(random)),
        8 => Step::Again(random.usize(1..=20)),
        9 if events.left > 0 => Step::Ask(events.asks(random)),
        10..=13 if !is_real => {
            let seconds = pick(random, &[1, 5, 60, 3_600, 86_400]);
            Step::Advance(Duration::from_secs(seconds))
        }
        14 if !is_real => Step::Shift(pick(random, &SHIFTS)),
        15 if !is_real && random.u8(..4) == 0 => Step::Set(pick(random, &ENDS)),
        16 | 17 => Step::Redrive(group),
        18 => Step::Discard(group),
        19 if random.bool() => Step::Reset(group, reset(random)),
        20 => Step::Delete(group),
        21 => Step::Cancel(random.u8(..4)),
        22 => Step::Join,
        23 => Step::Leave,
        24 | 25 => Step::Restart,
        26 | 27 => Step::Crash,
        _ => Step::Wait,
    }
}

/// What operators and time servers do to a clock: in seconds.
const SHIFTS: [i64; 8] = [-1, -5, -60, -7_200, 5, 60, 7_200, 40_000_000];
/// What a clock shows whose battery is empty, and one that was set by a slip.
const ENDS: [Timestamp; 3] = [
    Timestamp::EPOCH,
    Timestamp::from_micros(946_684_800_000_000),
    Timestamp::from_micros(7_258_118_400_000_000),
];

/// To the beginning; what becomes of effects and state differs.
fn reset(random: &mut Rng) -> Reset {
    let effects = if random.bool() {
        ReplayEffects::Publish
    } else {
        ReplayEffects::HoldBack
    };
    let state = if random.bool() {
        ReplayState::Afresh
    } else {
        ReplayState::Keep
    };
    Reset::to(Start::Earliest).effects(effects).state(state)
}

fn pick<T: Copy + Default>(random: &mut Rng, of: &[T]) -> T {
    random.choice(of).copied().unwrap_or_default()
}
