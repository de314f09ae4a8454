//! A publisher: appends one batch after the other, and some of them again.

use std::sync::Arc;
use std::time::Duration;

use ensue::SharedEngine;
use ensue::engine::Append;
use futures_util::future::BoxFuture;

use super::{Outcome, Shared};
use crate::kill::orders::{Mark, hash, keys_of};
use crate::kill::report::{Published, Report};

const BATCH_EVENTS_MAX: usize = 12;
/// How many of the events that were acknowledged before are published once more at the start.
const REPEATED: u64 = 2;

/// The work of a publisher that goes on at `next`.
pub(super) fn publish(
    engine: SharedEngine,
    shared: Arc<Shared>,
    publisher: usize,
    next: Vec<u64>,
) -> impl FnOnce(fastrand::Rng) -> BoxFuture<'static, Outcome> {
    move |random| {
        let publisher = Publisher {
            engine,
            shared,
            publisher,
            next,
            random,
        };
        Box::pin(publisher.work())
    }
}

struct Publisher {
    engine: SharedEngine,
    shared: Arc<Shared>,
    publisher: usize,
    /// The number that each key goes on at.
    next: Vec<u64>,
    random: fastrand::Rng,
}

impl Publisher {
    async fn work(mut self) -> Outcome {
        // A publisher that is not sure publishes again: nothing may come of what is there already.
        let mut marks = Vec::new();
        for key in keys_of(self.publisher) {
            let next = self.next.get(key).copied().unwrap_or(1);
            let first = next.saturating_sub(REPEATED).max(1);
            marks.extend((first..=next).map(|number| Mark(key, number)));
            if let Some(next) = self.next.get_mut(key) {
                *next += 1;
            }
        }
        loop {
            self.append(marks.clone()).await?;
            if self.random.u8(..) < 20 {
                self.append(marks).await?;
            }
            tokio::time::sleep(Duration::from_micros(self.random.u64(..8_000))).await;
            marks = self.batch();
        }
    }

    /// The next batch.
    fn batch(&mut self) -> Vec<Mark> {
        let mut marks = Vec::new();
        for _ in 0..self.random.usize(1..=BATCH_EVENTS_MAX) {
            let key = self.random.usize(keys_of(self.publisher));
            if let Some(next) = self.next.get_mut(key) {
                marks.push(Mark(key, *next));
                *next += 1;
            }
        }
        marks
    }

    async fn append(&self, marks: Vec<Mark>) -> Outcome {
        let Shared { orders, voice, .. } = &*self.shared;
        let publisher = self.publisher;
        let events: Result<Vec<_>, _> = marks.iter().map(|mark| orders.order(*mark)).collect();
        let events = events?;
        let hashes: Vec<u64> = events.iter().map(hash).collect();
        voice.say(&Report::Publishing {
            publisher,
            marks: marks.clone(),
        });
        let batch = events.into_iter().map(Append::from).collect();
        let appended = self.engine.append(batch).await?;
        if appended.len() != marks.len() {
            return Err("an append does not have one result for each event".into());
        }
        let events = marks.into_iter().zip(hashes).zip(appended);
        let events = events.map(|((mark, hash), appended)| Published {
            mark,
            position: appended.position.get(),
            hash,
            is_duplicate: appended.is_duplicate,
        });
        voice.say(&Report::Published {
            publisher,
            events: events.collect(),
        });
        Ok(())
    }
}
