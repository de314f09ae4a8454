//! A member of a group whose events are the server's.

use std::sync::Arc;

use ensue_core::BoxFuture;
use ensue_core::engine::{Commit, Committed, Delivery, Effect, Member, OnDead};
use ensue_core::error::{EngineError, Error, LimitError, Result};
use ensue_proto::{MESSAGE_BYTES_MAX, v1};
use prost::Message as _;
use tokio::sync::watch;

use crate::seat::Seat;

/// A member, carried by a task of its own.
#[derive(Debug)]
pub(crate) struct RemoteMember {
    seat: Arc<Seat>,
    /// Completes when the task has ended.
    over: watch::Receiver<()>,
}

impl RemoteMember {
    pub(crate) fn new(seat: Arc<Seat>, over: watch::Receiver<()>) -> Self {
        Self { seat, over }
    }

    async fn take(&self, events_max: usize) -> Result<Vec<Delivery>> {
        /// What is not waited for any more is not asked for any more.
        struct Asking<'a>(&'a Seat);
        impl Drop for Asking<'_> {
            fn drop(&mut self) {
                self.0.give_up();
            }
        }
        let _asking = Asking(&self.seat);
        loop {
            if let Some(taken) = self.seat.take(events_max.max(1))? {
                return Ok(taken);
            }
            self.seat.came().await;
        }
    }

    async fn send(&self, commit: Commit) -> Result<Committed> {
        let message = message(&commit);
        check_size(message.encoded_len())?;
        let failed = commit.retries.iter().map(|it| &it.envelope);
        let parking = commit.dead.iter().filter(|it| it.on_dead == OnDead::Park);
        let blocked: Vec<_> = failed.chain(parking.map(|it| &it.envelope)).collect();
        let blocks = |delivery: &Delivery| {
            let stream = delivery.envelope.stream();
            blocked
                .iter()
                .any(|it| it.stream() == stream && it.topic() == delivery.envelope.topic())
        };
        let answer = self.seat.commit(message, blocks)?;
        // The task answers everything before it ends.
        answer
            .await
            .unwrap_or(Err(Error::Engine(EngineError::Closed)))
    }
}

/// Names events by their position: the server has them.
fn message(commit: &Commit) -> v1::Commit {
    let retries = commit.retries.iter().map(|retry| v1::Retry {
        position: retry.position.get(),
        attempt: retry.attempt,
        due_us: retry.due.as_micros(),
        reason: retry.reason.clone(),
    });
    let dead = commit.dead.iter().map(|death| v1::Death {
        position: death.position.get(),
        attempts: death.attempts,
        cause: v1::DeathCause::from(death.cause).into(),
        reason: death.reason.clone(),
        on_dead: v1::OnDead::from(death.on_dead).into(),
    });
    v1::Commit {
        settled: commit.settled.iter().map(|it| it.get()).collect(),
        retries: retries.collect(),
        parked: commit.parked.iter().map(|it| it.position.get()).collect(),
        dead: dead.collect(),
        effects: commit
            .effects
            .iter()
            .map(|effect: &Effect| effect.into())
            .collect(),
        state: commit.state.iter().map(Into::into).collect(),
    }
}

/// Refuses what does not fit into a message.
pub(crate) fn check_size(bytes: usize) -> Result<()> {
    // What the stream adds to it is a few bytes.
    let max = MESSAGE_BYTES_MAX - 1024;
    if bytes <= max {
        return Ok(());
    }
    Err(Error::Limit(LimitError {
        what: "the size of what is sent in one piece in bytes".to_owned(),
        value: bytes as u64,
        limit: "MESSAGE_BYTES_MAX",
        max: max as u64,
        advice: "send it in several pieces",
    }))
}

impl Member for RemoteMember {
    fn next(&self, events_max: usize) -> BoxFuture<'_, Result<Vec<Delivery>>> {
        Box::pin(self.take(events_max))
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed>> {
        Box::pin(self.send(commit))
    }

    fn leave(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            self.seat.leave();
            // The task holds the other end until it has ended.
            let _ = self.over.clone().changed().await;
            Ok(())
        })
    }
}

impl Drop for RemoteMember {
    fn drop(&mut self) {
        self.seat.leave();
    }
}
