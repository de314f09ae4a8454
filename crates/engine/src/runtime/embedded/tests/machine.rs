//! Random histories of one group without a log: records become durable when the test says so, or
//! fail, as on a full disk that has room again for what comes after them. What takes microseconds in the engine takes arbitrarily long
//! here, which is where the races are.

mod op;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;
use tokio::sync::Notify;

use self::op::{Op, op};
use super::*;
use crate::delivery::events_read::EventsRead;
use crate::delivery::group_session::{Beginning, GroupSession};
use crate::delivery::limits::AsideLimits;
use crate::delivery::local_member::LocalMember;
use crate::delivery::next_step::Step;
use crate::delivery::pages::Found;
use crate::delivery::taking::Ask;
use crate::ids::{Epoch, MemberId, ProcessId};
use crate::model::change::Change;
use crate::model::group::Group;
use crate::model::processes::Processes;
use crate::model::record::{Begun, Joined, Left, Redriven};
use crate::model::state::apply_to;

/// With the first of these a member takes key by key.
const IN_FLIGHT_MAX: [usize; 2] = [8, 20];

/// From what an engine has down to what is of use for nothing but finding faults.
fn bounds() -> impl Strategy<Value = AsideLimits> {
    let parked = prop_oneof![Just(0), Just(12), Just(1_000_000)];
    (parked, 1..6_usize, 1..6_usize).prop_map(|(parked_max, lane_max, queue_max)| AsideLimits {
        parked_max,
        lane_max,
        queue_max,
    })
}

/// A member as dispatch uses it.
struct Worker {
    member: MemberId,
    held: Vec<Delivery>,
    /// Keys whose failure is in a commit that is not durable.
    failing: BTreeSet<String>,
}

/// The position of the event with this index.
fn at(index: usize) -> Position {
    Position::new(index as u64)
}

/// A record on its way.
struct Coming {
    change: Change,
    epoch: Epoch,
    /// Of which member's commit, with what it held of it.
    commit: Option<(MemberId, Commit)>,
}

struct World {
    now: Timestamp,
    bounds: AsideLimits,
    in_flight_max: usize,
    boot: ProcessId,
    epoch: Epoch,
    last_member: Option<MemberId>,
    events: Vec<Envelope>,
    group: Group,
    live: Option<GroupSession>,
    workers: Vec<Worker>,
    coming: VecDeque<Coming>,
    /// What was applied, for a replay.
    applied: Vec<Change>,
    settled: BTreeMap<String, Vec<u64>>,
}

impl World {
    fn new(bounds: AsideLimits, in_flight_max: usize) -> Self {
        Self {
            now: Timestamp::EPOCH,
            bounds,
            in_flight_max,
            boot: ProcessId::new(1),
            epoch: Epoch::default(),
            last_member: None,
            events: Vec::new(),
            group: Group::new(Position::ZERO, Position::ZERO),
            live: None,
            workers: Vec::new(),
            coming: VecDeque::new(),
            applied: Vec::new(),
            settled: BTreeMap::new(),
        }
    }

    fn run(&mut self, op: &Op) {
        self.act(op);
        let settled: usize = self.settled.values().map(Vec::len).sum();
        let end = self.events.len() as u64;
        let shown = status::accounted(&self.group, self.live.as_ref(), self.end());
        let left = end - settled as u64;
        assert!(
            shown >= left,
            "the status shows {shown} of {left} events after {op:?}"
        );
    }

    fn end(&self) -> Position {
        at(self.events.len())
    }

    fn act(&mut self, op: &Op) {
        match *op {
            Op::Publish { key } => {
                let id = self.events.len().to_string();
                self.events.push(event("t", &format!("k{key}"), &id));
            }
            Op::Take { member, max } => self.take(member.into(), max.into()),
            Op::Settle { member, pick } => {
                if let Some((worker, delivery)) = self.pick(member, pick) {
                    self.commit(worker, settle(&[delivery]));
                }
            }
            Op::Retry {
                member,
                pick,
                seconds,
            } => {
                if let Some((worker, delivery)) = self.pick(member, pick) {
                    let due = self.now.plus(Duration::from_secs(seconds.into()));
                    self.block(worker, &delivery, retry(&delivery, due));
                }
            }
            Op::Die { member, pick } => {
                if let Some((worker, delivery)) = self.pick(member, pick) {
                    self.block(worker, &delivery, dead(&delivery, OnDead::Park));
                }
            }
            Op::Redrive => self.redrive(),
            Op::Advance { seconds } => {
                self.now = self.now.plus(Duration::from_secs(seconds.into()))
            }
            Op::Durable { count } => (0..count).for_each(|_| self.durable()),
            Op::Full { count } => self.full(count.into()),
            Op::Join => self.join(),
            Op::Drop { member } => self.drop(member.into()),
            Op::Crash => self.crash(),
        }
    }

    /// Joins as the engine does: after everything before it is durable.
    fn join(&mut self) {
        if self.workers.len() >= 3 {
            return;
        }
        while !self.coming.is_empty() {
            self.durable();
        }
        let member = self
            .last_member
            .map_or(Some(MemberId::FIRST), MemberId::next)
            .unwrap();
        self.last_member = Some(member);
        let (boot, now) = (self.boot, self.now);
        let joined = Change::Joined(Joined {
            group: "g".into(),
            member,
            boot,
            topics: vec!["t".parse().unwrap()],
            types: None,
            start: Position::ZERO,
        });
        apply_to(
            &mut self.group,
            Position::ZERO,
            &joined,
            &Processes::default(),
        );
        self.applied.push(joined);
        let local = LocalMember::new(member, self.in_flight_max, Arc::new(Notify::new()));
        let (group, end) = (&self.group, self.end());
        let live = self.live.get_or_insert_with(|| {
            self.epoch = self.epoch.next();
            let beginning = Beginning {
                epoch: self.epoch,
                process: boot,
                end,
                now,
                limits: self.bounds,
            };
            GroupSession::new(group, &local, &Processes::default(), beginning)
        });
        live.join(local);
        self.workers.push(Worker {
            member,
            held: Vec::new(),
            failing: BTreeSet::new(),
        });
    }

    fn drop(&mut self, worker: usize) {
        if worker >= self.workers.len() {
            return;
        }
        let worker = self.workers.remove(worker);
        let left = Change::Left(Left {
            group: "g".into(),
            member: worker.member,
        });
        self.submit(left, None);
        if let Some(live) = &mut self.live
            && !live.leave(&self.group, worker.member, self.now)
        {
            self.live = None;
        }
    }

    fn crash(&mut self) {
        self.coming.clear();
        self.workers.clear();
        self.live = None;
        self.boot = ProcessId::new(self.boot.get() + 1);
        let mut replayed = Group::new(Position::ZERO, Position::ZERO);
        self.applied.iter().for_each(|change| {
            apply_to(&mut replayed, Position::ZERO, change, &Processes::default())
        });
        assert_eq!(replayed, self.group);
        let bytes = rmp_serde::to_vec_named(&self.group).unwrap();
        assert_eq!(rmp_serde::from_slice::<Group>(&bytes).unwrap(), self.group);
    }

    fn submit(&mut self, change: Change, commit: Option<(MemberId, Commit)>) {
        self.coming.push_back(Coming {
            change,
            epoch: self.epoch,
            commit,
        });
    }

    fn take(&mut self, worker: usize, max: usize) {
        let Some(member) = self.workers.get(worker).map(|worker| worker.member) else {
            return;
        };
        for _ in 0..20 {
            let ask = Ask {
                member,
                events_max: max,
                now: self.now,
                end: self.end(),
            };
            let Some(live) = &mut self.live else { return };
            let step = live.take(&self.group, ask);
            live.pass(self.group.low(), 10);
            if let Some(parked) = live.park("g", &self.group, self.now) {
                live.parking(None);
                self.submit(Change::Committed(Box::new(parked)), None);
            }
            match step {
                Step::Deliver(taken) => return self.taken(worker, taken),
                Step::Wait { .. } => return,
                other => self.serve(member, other),
            }
        }
        panic!("a member is kept busy with nothing");
    }

    /// Does what touches the log.
    fn serve(&mut self, member: MemberId, step: Step) {
        let Some(live) = &mut self.live else { return };
        match step {
            Step::Read(reading) => {
                let from = reading.cursor.get() as usize;
                let to = (from + 5).min(self.events.len());
                let hash_of = |it: &Envelope| live.hasher().hash_of(it.topic(), it.key());
                let read = (from..to).map(at).zip(&self.events[from..to]);
                let events = read.map(|(at, it)| (at, hash_of(it), it.clone())).collect();
                live.read(
                    &self.group,
                    reading.token,
                    EventsRead {
                        events,
                        cursor: at(to),
                        rest: None,
                    },
                );
            }
            Step::Fetch(positions) => {
                let fetch = |at: Position| (at, self.events[at.get() as usize].clone());
                // The engine's limit on bytes cuts it short now and then.
                live.fetched(member, positions.into_iter().map(fetch).take(3).collect());
            }
            Step::Page(paging) => {
                let (from, to) = (paging.from.get() as usize, paging.to.get() as usize);
                let wanted = |it: &Envelope| {
                    (it.topic(), it.key()) == (paging.lane.topic(), paging.lane.key())
                };
                let read = (from..to).map(at).zip(&self.events[from..to]);
                let mut found: Vec<_> = read.filter(|(_, it)| wanted(it)).collect();
                found.truncate(paging.events_max);
                let is_full = found.len() == paging.events_max;
                let next = match found.last() {
                    Some((last, _)) if is_full => last.next(),
                    _ => paging.to,
                };
                let events = found.into_iter().map(|(at, it)| (at, it.clone())).collect();
                live.page_read(&self.group, &paging, Found { events, next });
            }
            Step::Begin(begins) => {
                let boot = self.boot;
                let begun = Begun {
                    group: "g".into(),
                    begins,
                    boot,
                };
                self.submit(Change::Begun(begun), None);
                // Its member waits for it.
                while !self.coming.is_empty() {
                    self.durable();
                }
            }
            Step::Deliver(_) | Step::Wait { .. } => unreachable!(),
        }
    }

    fn taken(&mut self, worker: usize, taken: Vec<Delivery>) {
        let worker = &mut self.workers[worker];
        worker.held.extend(taken);
        assert!(worker.held.len() <= self.in_flight_max);
        for (index, worker) in self.workers.iter().enumerate() {
            for other in &self.workers[index + 1..] {
                let key = |it: &Delivery| it.envelope.key().to_owned();
                let keys: BTreeSet<String> = worker.held.iter().map(key).collect();
                let shared = other
                    .held
                    .iter()
                    .find(|it| keys.contains(it.envelope.key()));
                assert!(shared.is_none(), "two members hold events of {shared:?}");
            }
        }
    }

    /// The first event of some key that a member holds and may handle.
    fn pick(&self, worker: u8, pick: u8) -> Option<(usize, Delivery)> {
        let worker_at = usize::from(worker);
        let worker = self.workers.get(worker_at)?;
        let mut keys: BTreeSet<&str> = worker.held.iter().map(|it| it.envelope.key()).collect();
        keys.retain(|key| !worker.failing.contains(*key));
        let key = keys.iter().nth(usize::from(pick) % keys.len().max(1))?;
        let first = worker.held.iter().find(|it| it.envelope.key() == *key)?;
        Some((worker_at, first.clone()))
    }

    /// Claims and submits a commit; what is in it is out of the worker's hands.
    fn commit(&mut self, worker: usize, commit: Commit) {
        let member = self.workers[worker].member;
        self.claim(member, commit.clone());
        let mut gone: Vec<Position> = commit.settled;
        gone.extend(commit.retries.iter().map(|it| it.position));
        gone.extend(commit.dead.iter().map(|it| it.position));
        gone.extend(commit.parked.iter().map(|it| it.position));
        self.workers[worker]
            .held
            .retain(|it| !gone.contains(&it.position));
    }

    fn claim(&mut self, member: MemberId, commit: Commit) {
        let live = self.live.as_mut().unwrap();
        let group = ("g", &self.group);
        let committed = live.claim(group, member, &commit, self.now).unwrap();
        self.submit(
            Change::Committed(Box::new(committed)),
            Some((member, commit)),
        );
    }

    fn block(&mut self, worker: usize, delivery: &Delivery, commit: Commit) {
        self.workers[worker]
            .failing
            .insert(delivery.envelope.key().to_owned());
        self.commit(worker, commit);
    }

    fn redrive(&mut self) {
        let dead = self
            .group
            .set_aside()
            .dead_letters()
            .map(|(position, ..)| position);
        let positions: Vec<Position> = dead.collect();
        let (group, at) = ("g".into(), self.now);
        self.submit(
            Change::Redriven(Redriven {
                group,
                positions,
                at,
            }),
            None,
        );
    }

    /// The next record becomes durable.
    fn durable(&mut self) {
        let Some(Coming {
            change,
            epoch,
            commit,
        }) = self.coming.pop_front()
        else {
            return;
        };
        let lanes = match &change {
            Change::Redriven(redriven) => redriven
                .positions
                .iter()
                .filter_map(|at| Some(self.group.set_aside().item(*at)?.lane.clone()))
                .collect(),
            _ => Vec::new(),
        };
        apply_to(
            &mut self.group,
            Position::ZERO,
            &change,
            &Processes::default(),
        );
        self.applied.push(change.clone());
        if let Some(live) = &mut self.live {
            match &change {
                Change::Committed(committed) if epoch == live.epoch() => {
                    live.committed(&self.group, committed, self.now);
                }
                Change::Begun(_) => live.begin_ended(),
                Change::Redriven(_) => live.changed(&self.group, lanes, self.now),
                _ => {}
            }
        }
        if let Some((member, commit)) = commit {
            self.told(member, commit);
        }
    }

    /// A commit is durable: its settlements count, and what is stale goes back.
    fn told(&mut self, member: MemberId, commit: Commit) {
        for position in &commit.settled {
            let envelope = &self.events[position.get() as usize];
            let settled = self.settled.entry(envelope.key().to_owned()).or_default();
            let id = position.get();
            assert!(
                settled.last().is_none_or(|last| *last < id),
                "{settled:?}, then {id}"
            );
            settled.push(id);
        }
        let generation = self.group.generation();
        let blocked = (commit.retries.iter().map(|it| &it.envelope))
            .chain(commit.dead.iter().map(|it| &it.envelope));
        for envelope in blocked {
            let Some(worker) = self.workers.iter().position(|it| it.member == member) else {
                return;
            };
            self.workers[worker].failing.remove(envelope.key());
            let is_stale =
                |it: &&Delivery| it.envelope.key() == envelope.key() && it.generation < generation;
            let parked: Vec<Delivery> = self.workers[worker]
                .held
                .iter()
                .filter(is_stale)
                .cloned()
                .collect();
            if !parked.is_empty() {
                self.commit(
                    worker,
                    Commit {
                        parked,
                        ..Commit::default()
                    },
                );
            }
        }
    }

    /// The disk is full: the first `count` records on their way fail, and dispatch commits again. A
    /// member commits once at a time: what it would have committed later is not on its way.
    fn full(&mut self, count: usize) {
        let mut members = BTreeSet::new();
        let (failed, left): (Vec<_>, Vec<_>) =
            self.coming.drain(..).enumerate().partition(|(n, it)| {
                let member = it.commit.as_ref().map(|(member, _)| *member);
                let fails = *n < count || member.is_some_and(|it| members.contains(&it));
                members.extend(member.filter(|_| fails));
                fails
            });
        self.coming = left.into_iter().map(|(_, coming)| coming).collect();
        for (_, Coming { change, epoch, .. }) in &failed {
            if let (Some(live), Change::Committed(committed)) = (&mut self.live, change)
                && live.epoch() == *epoch
            {
                live.failed(&self.group, committed, self.now);
            }
        }
        // Of what is no commit, operators are told; a leave is only missed.
        for (member, commit) in failed.into_iter().filter_map(|(_, it)| it.commit) {
            if self.workers.iter().any(|worker| worker.member == member) {
                self.claim(member, commit);
            }
        }
    }

    fn finish(&mut self) {
        self.join();
        for _ in 0..500 {
            self.redrive();
            self.now = self.now.plus(Duration::from_secs(60));
            for worker in 0..self.workers.len() {
                self.take(worker, self.in_flight_max);
                while let Some((at, delivery)) = self.pick(worker as u8, 0) {
                    self.commit(at, settle(&[delivery]));
                }
            }
            while !self.coming.is_empty() {
                self.durable();
            }
        }
        let mut all: Vec<u64> = self.settled.values().flatten().copied().collect();
        all.sort_unstable();
        assert_eq!(all, (0..self.events.len() as u64).collect::<Vec<_>>());
        assert!(self.group.set_aside().is_empty() && self.group.settled().is_empty());
        let live = self.live.as_mut().unwrap();
        assert_eq!((live.held(), live.ready()), (0, 0));
        assert!(live.is_empty());
    }
}

proptest! {
    #![proptest_config(super::random::config(256))]
    #[test]
    fn however_long_records_take_nothing_is_lost_or_overtaken(
        ops in proptest::collection::vec(op(), 1..200),
        bounds in bounds(),
        in_flight_max in proptest::sample::select(IN_FLIGHT_MAX.as_slice()),
    ) {
        let mut world = World::new(bounds, in_flight_max);
        world.join();
        for op in &ops {
            world.run(op);
        }
        world.finish();
    }
}

#[test]
fn what_comes_back_from_a_member_that_is_gone_is_not_overtaken_by_what_was_parked_meanwhile() {
    let ops = [
        Op::Publish { key: 0 },
        Op::Publish { key: 0 },
        Op::Take { member: 0, max: 3 },
        Op::Join,
        Op::Publish { key: 0 },
        Op::Retry {
            member: 0,
            pick: 0,
            seconds: 3,
        },
        // The first event is to be retried; that the second one goes behind it is on its way.
        Op::Durable { count: 1 },
        // The third one is met.
        Op::Take { member: 0, max: 3 },
        Op::Drop { member: 0 },
        Op::Full { count: u8::MAX },
    ];
    // Which slots change hands is a matter of luck.
    for _ in 0..50 {
        let mut world = World::new(AsideLimits::default(), IN_FLIGHT_MAX[0]);
        world.join();
        ops.iter().for_each(|op| world.run(op));
        world.finish();
    }
}
