//! What must be true when everything has come to rest.

use std::collections::{BTreeMap, BTreeSet};

use ensue::engine::{DeadLetter, DeadLetterFilter, DeathCause, GroupStatus, Query, SharedEngine};
use ensue::error::GroupError;
use ensue::{Envelope, Error, Event};

use super::event::{DONE, Done, THINGS};
use super::plan::{ASKS, Group, HEALTHY, Order, Plan};

pub(super) struct Oracle<'a> {
    plan: &'a Plan,
    /// By key, in the order in which they were published.
    published: BTreeMap<String, Vec<u64>>,
    /// By source and id.
    numbers: BTreeMap<(String, String), u64>,
    /// Those that nothing can read, by number.
    lost: BTreeSet<u64>,
    /// Groups of which dead letters were given up.
    discarded: BTreeSet<String>,
    /// Groups that began again.
    reset: BTreeSet<String>,
    /// How often the process was killed.
    crashes: u32,
}

/// What the log says of one group.
#[derive(Default)]
struct Seen {
    /// By key, in the order in which they were handled.
    done: BTreeMap<String, Vec<u64>>,
    /// By key: the numbers of the events of dead letters.
    dead: BTreeMap<String, BTreeSet<u64>>,
    parked: usize,
    /// Whether `status` says that keys are stopped, other than by their own failures.
    has_trouble: bool,
    /// Why the first event of a healthy key died, and whether a crash was blamed on it.
    unhealthy: Option<(String, bool)>,
}

impl<'a> Oracle<'a> {
    pub(super) fn new(plan: &'a Plan) -> Self {
        Self {
            plan,
            published: BTreeMap::new(),
            numbers: BTreeMap::new(),
            lost: BTreeSet::new(),
            discarded: BTreeSet::new(),
            reset: BTreeSet::new(),
            crashes: 0,
        }
    }

    pub(super) fn published(&mut self, orders: &[Order]) {
        for order in orders {
            let numbers = self.published.entry(order.key.clone()).or_default();
            numbers.push(order.n);
            let (source, id) = order.id();
            self.numbers.insert((source.to_owned(), id), order.n);
            if order.whole().is_lost() {
                self.lost.insert(order.n);
            }
        }
    }

    pub(super) fn discarded(&mut self, group: &str) {
        self.discarded.insert(group.to_owned());
    }

    pub(super) fn reset(&mut self, group: &str) {
        self.reset.insert(group.to_owned());
    }

    pub(super) fn crashed(&mut self) {
        self.crashes += 1;
    }

    /// Whether every event is accounted for. An error is a complaint.
    pub(super) async fn judge(&self, engine: &SharedEngine) -> Result<(), String> {
        self.count(engine).await?;
        let status = engine.status().await.map_err(|error| error.to_string())?;
        let mut seen = self.done(engine).await?;
        for group in &self.plan.groups {
            let seen = seen.entry(group.name.clone()).or_default();
            let Some(status) = status.group(&group.name) else {
                return Err(format!("`status` does not show {}", group.name));
            };
            check_status(status)?;
            seen.parked = status.parked;
            seen.has_trouble = status.trouble.is_some();
            for letter in letters(engine, &group.name).await? {
                self.died(seen, &letter)
                    .map_err(|complaint| format!("{}: {complaint}", group.name))?;
            }
            self.judge_group(group, seen)
                .map_err(|complaint| format!("{}: {complaint}", group.name))?;
        }
        Ok(())
    }

    /// Whether only that is dead which nothing can read: after all misbehaviour was over, and dead
    /// letters were redriven.
    pub(super) async fn judge_the_end(&self, engine: &SharedEngine) -> Result<(), String> {
        for group in &self.plan.groups {
            for letter in letters(engine, &group.name).await? {
                let number = self.number(&letter);
                let is_crash = letter.cause == DeathCause::Crashed;
                if !self.is_no_fault(group, is_crash)
                    && number.is_none_or(|n| !self.lost.contains(&n))
                {
                    return Err(format!(
                        "{}: {number:?} of `{}` died although its handler was good: {}",
                        group.name, letter.key, letter.reason
                    ));
                }
            }
        }
        Ok(())
    }

    fn died(&self, seen: &mut Seen, letter: &DeadLetter) -> Result<(), String> {
        if letter.reason.is_empty() {
            return Err("a dead letter has no reason".to_owned());
        }
        let key = letter.key.clone();
        let Some(number) = self.number(letter) else {
            return Err(format!("a dead letter of `{key}` was never published"));
        };
        if key.starts_with(HEALTHY) && seen.unhealthy.is_none() {
            let is_crash = letter.cause == DeathCause::Crashed;
            seen.unhealthy = Some((letter.reason.clone(), is_crash));
        }
        seen.dead.entry(key).or_default().insert(number);
        Ok(())
    }

    fn number(&self, letter: &DeadLetter) -> Option<u64> {
        let event = &letter.event;
        let id = (event.source().to_owned(), event.id().to_owned());
        self.numbers.get(&id).copied()
    }

    fn judge_group(&self, group: &Group, seen: &Seen) -> Result<(), String> {
        let is_reset = self.reset.contains(&group.name);
        // What was given up, or stopped and is shown.
        let is_gone = self.discarded.contains(&group.name) || seen.has_trouble;
        let skips = group.skips;
        let mut missing = BTreeMap::new();
        for (key, published) in &self.published {
            let empty = Vec::new();
            let done = seen.done.get(key).unwrap_or(&empty);
            let once: BTreeSet<_> = done.iter().copied().collect();
            if once.len() != done.len() && !is_reset {
                return Err(format!("effects of `{key}` are there twice: {done:?}"));
            }
            if key.starts_with(ASKS) {
                // Refused requests are settled, late ones too.
                continue;
            }
            if !is_reset && !skips && !done.is_sorted() {
                return Err(format!("`{key}` was handled out of order: {done:?}"));
            }
            let nothing = BTreeSet::new();
            let dead = seen.dead.get(key).unwrap_or(&nothing);
            let left: Vec<_> = published.iter().filter(|n| !once.contains(n)).collect();
            let is_crash = matches!(seen.unhealthy, Some((_, true)));
            if key.starts_with(HEALTHY) && !left.is_empty() && !self.is_no_fault(group, is_crash) {
                return Err(format!(
                    "the healthy `{key}` was not handled: {left:?}; {:?}",
                    seen.unhealthy
                ));
            }
            let first_dead = dead.iter().next();
            let lost = left.iter().filter(|n| {
                let is_dead = dead.contains(n);
                let is_behind = !skips && first_dead.is_some_and(|first| first < *n);
                !is_dead && !is_behind
            });
            let lost: Vec<_> = lost.collect();
            if !lost.is_empty() && !is_gone && !is_reset {
                return Err(format!(
                    "`{key}`: {lost:?} are neither handled nor dead nor parked; dead {dead:?}"
                ));
            }
            let behind: Vec<_> = left.into_iter().filter(|n| !dead.contains(n)).collect();
            if !behind.is_empty() {
                missing.insert(key, behind);
            }
        }
        if missing.values().map(Vec::len).sum::<usize>() != seen.parked && !is_gone && !is_reset {
            return Err(format!(
                "neither handled nor dead are {missing:?}, `status` shows {} parked; dead are {:?}",
                seen.parked, seen.dead
            ));
        }
        Ok(())
    }

    /// Whether an event may have died through no fault of its handler. What waits for a thread may
    /// time out, however good it is. And a process may have been killed whenever the event was out
    /// alone: twice to come under suspicion, then in each of its attempts. It may have waited behind
    /// a dead letter before it could die of that.
    fn is_no_fault(&self, group: &Group, is_crash: bool) -> bool {
        group.is_blocking || (is_crash && self.crashes >= group.attempts + 2)
    }

    /// Whether what was published is there, once.
    async fn count(&self, engine: &SharedEngine) -> Result<(), String> {
        let all = read(engine, THINGS).await?;
        // Requests that were sent just before a crash may be there or not.
        let is_counted = |key: &str| !key.starts_with(ASKS);
        let there = all.iter().filter(|event| is_counted(event.key())).count();
        let published = self.published.iter().filter(|(key, _)| is_counted(key));
        let published: usize = published.map(|(_, numbers)| numbers.len()).sum();
        if there == published {
            Ok(())
        } else {
            Err(format!(
                "{published} events were published, {there} are there"
            ))
        }
    }

    async fn done(&self, engine: &SharedEngine) -> Result<BTreeMap<String, Seen>, String> {
        let mut seen: BTreeMap<String, Seen> = BTreeMap::new();
        for event in read(engine, DONE).await? {
            if event.event_type() == Done::TYPE {
                let done: Done = event.decode().map_err(|error| error.to_string())?;
                let group = seen.entry(done.group).or_default();
                group.done.entry(done.key).or_default().push(done.n);
            }
        }
        Ok(seen)
    }
}

fn check_status(status: &GroupStatus) -> Result<(), String> {
    if let Some(reason) = &status.paused {
        return Err(format!("{} is paused: {reason}", status.name));
    }
    if let Some(reason) = &status.refused {
        return Err(format!("{} waits to commit: {reason}", status.name));
    }
    Ok(())
}

async fn letters(engine: &SharedEngine, group: &str) -> Result<Vec<DeadLetter>, String> {
    let filter = DeadLetterFilter::default();
    match engine.dead_letters(Some(group), filter).await {
        // One that was deleted has none.
        Err(Error::Group(GroupError::Unknown { .. })) => Ok(Vec::new()),
        letters => letters.map_err(|error| error.to_string()),
    }
}

async fn read(engine: &SharedEngine, topic: &str) -> Result<Vec<Envelope>, String> {
    let mut query = Query {
        topics: topic.parse().ok(),
        ..Query::default()
    };
    let mut all = Vec::new();
    loop {
        let page = engine.read(query.clone()).await;
        let page = page.map_err(|error| error.to_string())?;
        all.extend(page.events.iter().map(|it| it.envelope.detached()));
        if page.is_end {
            return Ok(all);
        }
        query.from = page.next;
    }
}
