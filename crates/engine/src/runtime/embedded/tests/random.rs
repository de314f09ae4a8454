//! Random histories: whatever is taken, settled, retried, parked, killed, redriven, discarded and
//! restarted, in whatever order, nothing is lost, nothing is settled twice, keys keep their order,
//! and replay gives the state that was.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Publish {
        key: u8,
        count: u8,
    },
    Take {
        member: u8,
        max: u8,
    },
    Settle {
        member: u8,
        pick: u8,
    },
    /// Everything that the member holds, in one commit.
    SettleAll {
        member: u8,
    },
    Retry {
        member: u8,
        pick: u8,
        seconds: u8,
    },
    Die {
        member: u8,
        pick: u8,
    },
    /// Hands something back.
    Park {
        member: u8,
        pick: u8,
    },
    Redrive,
    Discard,
    Advance {
        seconds: u8,
    },
    Join,
    Drop {
        member: u8,
    },
    Checkpoint,
    Close,
    Crash,
}

fn op() -> impl Strategy<Value = Op> {
    let (member, pick) = (0..3_u8, any::<u8>());
    prop_oneof![
        6 => (0..4_u8, 1..6_u8).prop_map(|(key, count)| Op::Publish { key, count }),
        8 => (member.clone(), 1..9_u8).prop_map(|(member, max)| Op::Take { member, max }),
        8 => (member.clone(), pick).prop_map(|(member, pick)| Op::Settle { member, pick }),
        3 => member.clone().prop_map(|member| Op::SettleAll { member }),
        4 => (member.clone(), pick, 0..20_u8)
            .prop_map(|(member, pick, seconds)| Op::Retry { member, pick, seconds }),
        2 => (member.clone(), pick).prop_map(|(member, pick)| Op::Die { member, pick }),
        1 => (member.clone(), pick).prop_map(|(member, pick)| Op::Park { member, pick }),
        1 => Just(Op::Redrive),
        1 => Just(Op::Discard),
        3 => (1..30_u8).prop_map(|seconds| Op::Advance { seconds }),
        2 => Just(Op::Join),
        1 => member.prop_map(|member| Op::Drop { member }),
        1 => Just(Op::Checkpoint),
        1 => Just(Op::Close),
        2 => Just(Op::Crash),
    ]
}

/// A member as dispatch would use it.
struct Worker {
    member: Box<dyn Member>,
    held: Vec<Delivery>,
}

struct World {
    bed: Bed,
    engine: Option<Embedded>,
    workers: Vec<Worker>,
    published: u64,
    /// Per key, the ids in the order in which they were settled.
    settled: BTreeMap<String, Vec<u64>>,
    discarded: BTreeSet<u64>,
}

fn id_of(delivery: &Delivery) -> u64 {
    delivery.envelope.id().parse().unwrap()
}

impl World {
    async fn new(key_events_max: usize) -> Self {
        let mut bed = Bed::new();
        bed.settings.key_events_max = key_events_max;
        let engine = Some(bed.open().await);
        let (settled, discarded) = (BTreeMap::new(), BTreeSet::new());
        Self {
            bed,
            engine,
            workers: Vec::new(),
            published: 0,
            settled,
            discarded,
        }
    }

    fn engine(&self) -> &Embedded {
        self.engine.as_ref().unwrap()
    }

    async fn run(&mut self, op: &Op) {
        match *op {
            Op::Publish { key, count } => {
                for _ in 0..count {
                    let text = format!("k{key}:{}", self.published);
                    publish(self.engine(), &[&text]).await;
                    self.published += 1;
                }
            }
            Op::Take { member, max } => self.take(member, max.into(), 3).await,
            Op::Settle { member, pick } => {
                if let Some((worker, delivery)) = self.pick(member, pick) {
                    let settled = std::slice::from_ref(&delivery);
                    self.commit(worker, settled, settle(settled)).await;
                }
            }
            Op::SettleAll { member } => self.settle_all(member).await,
            Op::Retry {
                member,
                pick,
                seconds,
            } => {
                if let Some((worker, delivery)) = self.pick(member, pick) {
                    let commit = retry(&delivery, self.bed.in_seconds(seconds.into()));
                    self.block(worker, delivery, commit).await;
                }
            }
            Op::Die { member, pick } => {
                if let Some((worker, delivery)) = self.pick(member, pick) {
                    let commit = dead(&delivery, OnDead::Park);
                    self.block(worker, delivery, commit).await;
                }
            }
            Op::Park { member, pick } => {
                // What it would handle next, and with it whatever of the key it holds.
                if let Some((worker, delivery)) = self.pick(member, pick) {
                    let all = self.of_key(worker, &delivery);
                    let commit = Commit {
                        parked: all.clone(),
                        ..Commit::default()
                    };
                    self.workers[worker].member.commit(commit).await.unwrap();
                    self.forget(worker, &all);
                }
            }
            Op::Redrive => {
                let _ = self
                    .engine()
                    .redrive("g", DeadLetterFilter::default())
                    .await;
            }
            Op::Discard => self.discard().await,
            Op::Advance { seconds } => self.bed.hands.advance(Duration::from_secs(seconds.into())),
            Op::Join => self.join().await,
            Op::Drop { member } => {
                if usize::from(member) < self.workers.len() {
                    self.workers.remove(member.into());
                }
            }
            Op::Checkpoint => self.engine().checkpoint().await.unwrap(),
            Op::Close => {
                self.engine().close().await.unwrap();
                self.workers.clear();
                self.engine = Some(self.bed.open().await);
            }
            Op::Crash => self.crash().await,
        }
    }

    async fn join(&mut self) {
        if self.workers.len() < 3 {
            let wanted = Subscription {
                in_flight_max: 12,
                ..subscription("g")
            };
            let member = self.engine().join(wanted).await.unwrap();
            self.workers.push(Worker {
                member,
                held: Vec::new(),
            });
        }
    }

    async fn take(&mut self, member: u8, max: usize, wait_ms: u64) {
        let Some(worker) = self.workers.get_mut(usize::from(member)) else {
            return;
        };
        let next = worker.member.next(max);
        let Ok(taken) = tokio::time::timeout(Duration::from_millis(wait_ms), next).await else {
            return;
        };
        let taken = taken.unwrap();
        assert!(!taken.is_empty() && taken.len() <= max);
        worker.held.extend(taken);
        assert!(worker.held.len() <= 12);
        for worker in &self.workers {
            let keys: BTreeSet<&str> = worker.held.iter().map(|it| it.envelope.key()).collect();
            for other in &self.workers {
                let is_same = std::ptr::eq(worker, other);
                let shared = other
                    .held
                    .iter()
                    .find(|it| keys.contains(it.envelope.key()));
                assert!(
                    is_same || shared.is_none(),
                    "two members hold events of {shared:?}"
                );
            }
        }
    }

    /// Some event that a member holds and may handle: the first of its key.
    fn pick(&self, member: u8, pick: u8) -> Option<(usize, Delivery)> {
        let worker = self.workers.get(usize::from(member))?;
        let keys: BTreeSet<&str> = worker.held.iter().map(|it| it.envelope.key()).collect();
        let key = keys.iter().nth(usize::from(pick) % keys.len().max(1))?;
        let first = worker.held.iter().find(|it| it.envelope.key() == *key)?;
        Some((usize::from(member), first.clone()))
    }

    fn of_key(&self, worker: usize, delivery: &Delivery) -> Vec<Delivery> {
        let key = delivery.envelope.key();
        let held = self.workers[worker].held.iter();
        held.filter(|it| it.envelope.key() == key)
            .cloned()
            .collect()
    }

    fn forget(&mut self, worker: usize, gone: &[Delivery]) {
        let is_gone = |it: &Delivery| gone.iter().any(|gone| gone.position == it.position);
        self.workers[worker].held.retain(|it| !is_gone(it));
    }

    async fn commit(&mut self, worker: usize, events: &[Delivery], commit: Commit) {
        self.workers[worker].member.commit(commit).await.unwrap();
        for delivery in events {
            let settled = self
                .settled
                .entry(delivery.envelope.key().to_owned())
                .or_default();
            let id = id_of(delivery);
            assert!(
                settled.last().is_none_or(|last| *last < id),
                "{settled:?}, then {id}"
            );
            settled.push(id);
        }
        self.forget(worker, events);
    }

    async fn settle_all(&mut self, member: u8) {
        if let Some(worker) = self.workers.get(usize::from(member)) {
            let held = worker.held.clone();
            self.commit(member.into(), &held, settle(&held)).await;
        }
    }

    /// Commits a blocking outcome, then hands back what is stale, as dispatch does.
    async fn block(&mut self, worker: usize, delivery: Delivery, commit: Commit) {
        let committed = self.workers[worker].member.commit(commit).await.unwrap();
        self.forget(worker, std::slice::from_ref(&delivery));
        let mut stale = self.of_key(worker, &delivery);
        stale.retain(|it| it.generation < committed.generation);
        self.forget(worker, &stale);
        let parked = Commit {
            parked: stale,
            ..Commit::default()
        };
        self.workers[worker].member.commit(parked).await.unwrap();
    }

    async fn discard(&mut self) {
        let letters = self
            .engine()
            .dead_letters(Some("g"), DeadLetterFilter::default())
            .await;
        let Some(letter) = letters.unwrap().into_iter().next() else {
            return;
        };
        let ids = vec![letter.event.id().to_owned()];
        self.discarded.insert(letter.event.id().parse().unwrap());
        let filter = DeadLetterFilter {
            ids,
            ..DeadLetterFilter::default()
        };
        assert_eq!(self.engine().discard("g", filter).await.unwrap(), 1);
    }

    async fn crash(&mut self) {
        let engine = self.engine.take().unwrap();
        let settled = || {
            let locked = engine.inner().advanced();
            locked.is_settled().then(|| locked.state().clone())
        };
        let mut state = loop {
            match settled() {
                Some(state) => break state,
                None => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        };
        let members = std::mem::take(&mut self.workers)
            .into_iter()
            .map(|worker| worker.member);
        engine.crash(members.collect());
        let engine = self.bed.open().await;
        let mut replayed = engine.inner().locked().state().clone();
        // Whether those who left were still saying so when it ended is a matter of luck.
        for state in [&mut state, &mut replayed] {
            let names: Vec<String> = state.groups().keys().cloned().collect();
            for name in names {
                state.group_mut(&name).set_members(Vec::new());
            }
        }
        assert_eq!(replayed, state);
        self.engine = Some(engine);
    }

    /// With nothing failing any more, everything gets done.
    async fn finish(&mut self) {
        self.join().await;
        for _ in 0..2_000 {
            let _ = self
                .engine()
                .redrive("g", DeadLetterFilter::default())
                .await;
            self.bed.hands.advance(Duration::from_secs(60));
            for member in 0..3 {
                self.take(member, 12, 20).await;
                self.settle_all(member).await;
            }
            let settled: usize = self.settled.values().map(Vec::len).sum();
            let is_all = settled + self.discarded.len() == self.published as usize;
            // What the group records of itself follows the outcome of its last event.
            if is_all && self.left_in_group().is_empty() {
                break;
            }
        }
        let mut all: Vec<u64> = self.settled.values().flatten().copied().collect();
        all.extend(&self.discarded);
        all.sort_unstable();
        assert_eq!(
            all,
            (0..self.published).collect::<Vec<_>>(),
            "nothing lost, nothing twice"
        );
        let group = group_of(self.engine()).await;
        assert_eq!(
            (group.lag, group.in_flight, group.parked, group.dead),
            (0, 0, 0, 0)
        );
        assert_eq!(self.left_in_group(), Vec::<&str>::new());
    }

    /// What the group still holds of events.
    fn left_in_group(&self) -> Vec<&'static str> {
        let locked = self.engine().inner().locked();
        let group = &locked.state().groups()["g"];
        let held = [
            ("settled", !group.settled().is_empty()),
            ("begun", group.has_begun()),
            ("set aside", !group.set_aside().is_empty()),
        ];
        held.into_iter().filter(|it| it.1).map(|it| it.0).collect()
    }
}

/// `PROPTEST_CASES` asks for more than a test run does.
pub(super) fn config(cases: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: asked.unwrap_or(cases),
        max_shrink_iters: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(32))]
    #[test]
    fn whatever_happens_nothing_is_lost_or_overtaken(
        ops in proptest::collection::vec(op(), 1..120),
        // From what has hardly any room for what waits to what has enough.
        key_events_max in 1..9_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new(key_events_max).await;
            world.join().await;
            for op in &ops {
                world.run(op).await;
            }
            world.finish().await;
        });
    }
}
