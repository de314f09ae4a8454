//! A member that a check moves by hand.

use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::flaw::{Flaw, Verdict, ensure, fails};
use super::labels::{label, labels_of};
use ensue_core::engine::OnDead;
use ensue_core::engine::{Commit, Committed, Death, DeathCause, Delivery, Member, Retry};
use ensue_core::error::{Error, GroupError};
use ensue_core::time::Timestamp;

#[derive(Debug)]
pub(super) struct Hand {
    pub(super) member: Box<dyn Member>,
    limit: Duration,
    quiet: Duration,
}

impl Hand {
    pub(super) fn new(member: Box<dyn Member>, limit: Duration, quiet: Duration) -> Self {
        Self {
            member,
            limit,
            quiet,
        }
    }

    /// Takes exactly `count` events. Of different keys: an engine may hand out one event of a key
    /// at a time.
    pub(super) async fn take(&self, count: usize) -> Verdict<Vec<Delivery>> {
        let deadline = Instant::now() + self.limit;
        let mut taken: Vec<Delivery> = Vec::new();
        while taken.len() < count {
            let wanted = count - taken.len();
            match timeout_at(deadline, self.next(wanted)).await {
                Ok(more) => taken.extend(more?),
                Err(_) => return Err(self.missing(count, &taken)),
            }
        }
        Ok(taken)
    }

    /// Takes one event.
    pub(super) async fn take_one(&self) -> Verdict<Delivery> {
        let taken = self.take(1).await?;
        taken
            .into_iter()
            .next()
            .ok_or_else(|| Flaw::new("an event", "none"))
    }

    /// Takes what comes until nothing does, at least one event, at most `count_max`.
    pub(super) async fn hold(&self, count_max: usize) -> Verdict<Vec<Delivery>> {
        let mut taken = vec![self.take_one().await?];
        while taken.len() < count_max {
            match timeout(self.quiet, self.next(count_max - taken.len())).await {
                Ok(more) => taken.extend(more?),
                Err(_) => break,
            }
        }
        Ok(taken)
    }

    /// Takes and settles `count` events.
    pub(super) async fn drain(&self, count: usize) -> Verdict<Vec<Delivery>> {
        let mut deadline = Instant::now() + self.limit;
        let mut done: Vec<Delivery> = Vec::new();
        while done.len() < count {
            match timeout_at(deadline, self.next(count - done.len())).await {
                Ok(more) => {
                    let more = more?;
                    self.settle(&more).await?;
                    done.extend(more);
                    // Progress is what counts: a large backlog may take its time.
                    deadline = Instant::now() + self.limit;
                }
                Err(_) => return Err(self.missing(count, &done)),
            }
        }
        Ok(done)
    }

    fn missing(&self, count: usize, found: &[Delivery]) -> Flaw {
        Flaw::new(
            format_args!("{count} events within {} s", self.limit.as_secs_f32()),
            format_args!(
                "{}: {:?}",
                found.len(),
                labels_of(found.iter().take(20).map(|d| &d.envelope))
            ),
        )
    }

    /// Nothing comes.
    pub(super) async fn gets_nothing(&self, why: &str) -> Verdict {
        match timeout(self.quiet, self.next(100)).await {
            Err(_) => Ok(()),
            Ok(taken) => Err(Flaw::new(
                format_args!("no event: {why}"),
                format_args!("{:?}", labels_of(taken?.iter().map(|d| &d.envelope))),
            )),
        }
    }

    /// What the member returns, held against what the contract says about one call.
    pub(super) async fn next(&self, events_max: usize) -> Verdict<Vec<Delivery>> {
        // An engine that is never at a loss must not keep the suite's own timers from running.
        tokio::task::consume_budget().await;
        let taken = self.member.next(events_max).await?;
        ensure(
            !taken.is_empty() && taken.len() <= events_max,
            format_args!("1 to {events_max} events from next({events_max})"),
            format_args!("{}", taken.len()),
        )?;
        let early = taken.iter().find(|delivery| delivery.attempt == 0);
        ensure(early.is_none(), "attempts from 1", "attempt 0")?;
        Ok(taken)
    }

    pub(super) async fn settle(&self, taken: &[Delivery]) -> Verdict<Committed> {
        self.commit(settling(taken)).await
    }

    pub(super) async fn commit(&self, commit: Commit) -> Verdict<Committed> {
        Ok(self.member.commit(commit).await?)
    }

    /// The member was replaced: it gets and commits nothing more.
    pub(super) async fn is_fenced(&self, held: &[Delivery]) -> Verdict {
        let next = match timeout(self.limit, self.member.next(1)).await {
            Ok(next) => next,
            Err(_) => return Err(Flaw::new("next() to report `Fenced`", "it waits")),
        };
        fails("next() to report `Fenced`", next, is_fenced)?;
        if held.is_empty() {
            return Ok(());
        }
        let commit = self.member.commit(settling(held)).await;
        fails("commit() to report `Fenced`", commit, is_fenced)
    }

    /// Dies without a word.
    pub(super) fn die(self) {
        drop(self);
    }
}

/// Takes and settles `count` events, whichever of `hands` gets them.
pub(super) async fn drain_all(hands: &[&Hand], count: usize) -> Verdict<Vec<Delivery>> {
    const TURN: Duration = Duration::from_millis(5);
    let mut done: Vec<Delivery> = Vec::new();
    let mut progress = Instant::now();
    while done.len() < count {
        for hand in hands {
            let Ok(taken) = timeout(TURN, hand.next(100)).await else {
                continue;
            };
            let taken = taken?;
            hand.settle(&taken).await?;
            done.extend(taken);
            progress = Instant::now();
        }
        if let Some(hand) = hands.first()
            && progress.elapsed() > hand.limit
        {
            return Err(hand.missing(count, &done));
        }
    }
    Ok(done)
}

pub(super) fn is_fenced(error: &Error) -> bool {
    matches!(error, Error::Group(GroupError::Fenced { .. }))
}

pub(super) fn settling(taken: &[Delivery]) -> Commit {
    Commit {
        settled: taken.iter().map(|delivery| delivery.position).collect(),
        ..Commit::default()
    }
}

pub(super) fn retrying(failed: &Delivery, due: Timestamp) -> Retry {
    Retry {
        envelope: failed.envelope.clone(),
        position: failed.position,
        attempt: failed.attempt,
        due,
        reason: format!(
            "attempt {} of {} failed",
            failed.attempt,
            label(&failed.envelope)
        ),
    }
}

pub(super) fn dying(failed: &Delivery, on_dead: OnDead) -> Death {
    Death {
        envelope: failed.envelope.clone(),
        position: failed.position,
        attempts: failed.attempt,
        cause: DeathCause::Exhausted,
        reason: format!("no hope for {}", label(&failed.envelope)),
        on_dead,
    }
}

/// A commit that fails the first of `taken` for now and hands back what was taken after it.
pub(super) fn retrying_first(taken: &[Delivery], due: Timestamp) -> Verdict<Commit> {
    let (failed, behind) = first(taken)?;
    Ok(Commit {
        retries: vec![retrying(failed, due)],
        parked: behind.to_vec(),
        ..Commit::default()
    })
}

/// A commit that gives the first of `taken` up and hands back what was taken after it.
pub(super) fn burying_first(taken: &[Delivery]) -> Verdict<Commit> {
    let (failed, behind) = first(taken)?;
    Ok(Commit {
        dead: vec![dying(failed, OnDead::Park)],
        parked: behind.to_vec(),
        ..Commit::default()
    })
}

pub(super) fn first(taken: &[Delivery]) -> Verdict<(&Delivery, &[Delivery])> {
    taken
        .split_first()
        .ok_or_else(|| Flaw::new("an event", "none"))
}

pub(super) fn delivery_labels(taken: &[Delivery]) -> Vec<String> {
    labels_of(taken.iter().map(|delivery| &delivery.envelope))
}

/// The labels of the deliveries of one key.
pub(super) fn key_labels(taken: &[Delivery], key: &str) -> Vec<String> {
    let of_key = taken.iter().filter(|d| d.envelope.key() == key);
    labels_of(of_key.map(|d| &d.envelope))
}
