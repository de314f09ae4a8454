//! What waits for room in the queue is decided when it gets it.

use futures_util::future::poll_immediate;

use super::slow::{Gate, Slow};
use super::*;
use crate::error::LimitError;
use crate::model::record;
use crate::runtime::engine_inner::EngineInner;

/// An engine whose queue has no room, until the gate is opened.
struct Crowded {
    engine: Embedded,
    gate: Arc<Gate>,
}

impl Crowded {
    async fn open(bed: &Bed) -> Self {
        let gate = Arc::new(Gate::default());
        gate.let_through(usize::MAX);
        let disk = Slow {
            disk: log::storage::Memory::new(),
            gate: gate.clone(),
        };
        let options = log::Options {
            queue_bytes_max: 4_096,
            ..bed.settings.log_options()
        };
        let inner = EngineInner::open_with(Arc::new(disk), bed.settings.clone(), options).unwrap();
        let engine = Embedded::of(Arc::new(inner));
        engine.inner().warm().await.unwrap();
        Self { engine, gate }
    }

    fn fill(&self) {
        self.gate.let_through(0);
        let submit = || {
            let mut batch = log::Batch::new();
            let filler = event("filler", "k", &fastrand::u64(..).to_string());
            record::push_event(&mut batch, &filler).unwrap();
            self.engine.inner().log().submit(batch)
        };
        assert!(submit().is_ok());
        // Nothing is taken out of the queue from now on.
        self.gate.until_waiting();
        let is_full = |outcome| matches!(outcome, Err(log::SubmitError::Full(_)));
        assert!((0..4_096).any(|_| is_full(submit())), "the queue has room");
    }

    /// The outcomes of two calls that both wait for room.
    async fn both<T>(&self, one: impl Future<Output = T>, two: impl Future<Output = T>) -> [T; 2] {
        self.fill();
        tokio::pin!(one, two);
        assert!(poll_immediate(&mut one).await.is_none());
        assert!(poll_immediate(&mut two).await.is_none());
        self.gate.let_through(usize::MAX);
        let both = tokio::time::timeout(HANG, async { tokio::join!(one, two) }).await;
        both.expect("they hang").into()
    }
}

fn later(bed: &Bed, id: &str) -> Append {
    Append {
        schedule: Some(Schedule::at(bed.in_seconds(10))),
        ..event("t", "k", id).into()
    }
}

#[tokio::test]
async fn of_two_publishers_who_schedule_one_id_and_wait_for_room_one_is_told_that_it_is_a_duplicate()
 {
    let bed = Bed::new();
    let crowded = Crowded::open(&bed).await;
    let engine = &crowded.engine;
    let schedule = || async { engine.append(vec![later(&bed, "1")]).await.unwrap()[0] };
    let [one, two] = crowded.both(schedule(), schedule()).await;
    assert_eq!(one.position, two.position);
    assert_ne!(one.is_duplicate, two.is_duplicate);
    assert_eq!(engine.status().await.unwrap().scheduled, 1);
}

#[tokio::test]
async fn of_two_commits_that_schedule_one_id_and_wait_for_room_one_drops_it() {
    let bed = Bed::new();
    let crowded = Crowded::open(&bed).await;
    let engine = &crowded.engine;
    let (one, two) = (
        engine.join(subscription("g")).await.unwrap(),
        engine.join(subscription("h")).await.unwrap(),
    );
    let schedule = |cause: &str| {
        let effect = later(&bed, "1");
        let envelope = effect.envelope.to_builder().causation(cause);
        let envelope = envelope.build().unwrap();
        let effects = vec![Effect::Append(Append { envelope, ..effect })];
        Commit {
            effects,
            ..Commit::default()
        }
    };
    let (first, second) = (one.commit(schedule("a")), two.commit(schedule("b")));
    let both = crowded.both(first, second).await;
    let dropped = both.map(|outcome| outcome.unwrap().dropped);
    assert_eq!(dropped.iter().sum::<usize>(), 1, "whichever had room first");
    assert_eq!(engine.status().await.unwrap().scheduled, 1);
}

#[tokio::test]
async fn what_waits_for_room_counts_against_schedules_max_when_it_gets_it() {
    let mut bed = Bed::new();
    bed.settings.schedules_max = 1;
    let crowded = Crowded::open(&bed).await;
    let engine = &crowded.engine;
    let schedule = |id| engine.append(vec![later(&bed, id)]);
    let both = crowded.both(schedule("1"), schedule("2")).await;
    let (mut scheduled, mut refused) = (Vec::new(), Vec::new());
    for outcome in both {
        match outcome {
            Ok(appended) => scheduled.push(appended),
            Err(error) => refused.push(error),
        }
    }
    assert_eq!(scheduled.len(), 1);
    let error = refused.pop().unwrap();
    let is_limit =
        matches!(&error, Error::Limit(LimitError { limit, .. }) if *limit == "schedules_max");
    assert!(is_limit, "{error}");
}
