//! A member of a group, moved by hand: it takes the next events while its last commit is under way,
//! as the framework's own dispatch does, and says what it takes, commits and has committed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ensue::engine::{Commit, Committed, Death, DeathCause, Delivery, Member, Retry, StateWrite};
use ensue::{OnDead, Timestamp};
use futures_util::future::join;
use tokio::time::timeout;

use super::{Outcome, Shared};
use crate::kill::orders::{Fate, Mark, cell, hash, mark_of};
use crate::kill::report::{CELL, Decided, Group, Report, Taken};

/// How often `trials` tries an order that is doomed.
pub(in crate::kill) const ATTEMPTS: u32 = 3;
const EVENTS_MAX: usize = 30;
const PATIENCE: Duration = Duration::from_millis(20);

pub(super) struct Worker {
    shared: Arc<Shared>,
    group: Group,
    number: usize,
    random: fastrand::Rng,
    /// The generations of the failures of keys.
    blocked: HashMap<usize, u64>,
}

/// A commit that is not made yet.
#[derive(Default)]
struct Draft {
    commit: Commit,
    decided: Decided,
    /// Keys that it blocks.
    blocks: HashSet<usize>,
}

impl Worker {
    pub(super) fn new(
        shared: Arc<Shared>,
        group: Group,
        number: usize,
        random: fastrand::Rng,
    ) -> Self {
        Self {
            shared,
            group,
            number,
            random,
            blocked: HashMap::new(),
        }
    }

    pub(super) async fn work(mut self, member: Box<dyn Member>) -> Outcome {
        let mut draft = Draft::default();
        loop {
            if self.shared.is_over() && draft.commit.is_empty() {
                return Ok(member.leave().await?);
            }
            let events_max = self.random.usize(1..EVENTS_MAX);
            let next = timeout(PATIENCE, member.next(events_max));
            let (taken, committed) = join(next, self.commit(&*member, &draft)).await;
            if let Some(Committed { generation, .. }) = committed? {
                let keys = draft.blocks.drain();
                self.blocked.extend(keys.map(|key| (key, generation)));
            }
            draft = match taken {
                Ok(taken) => self.decide(taken?)?,
                Err(_) => Draft::default(),
            };
        }
    }

    async fn commit(&self, member: &dyn Member, draft: &Draft) -> Outcome<Option<Committed>> {
        if draft.commit.is_empty() {
            return Ok(None);
        }
        let (group, number) = (self.group, self.number);
        self.shared.voice.say(&Report::Committing {
            group,
            member: number,
            decided: draft.decided.clone(),
        });
        let committed = member.commit(draft.commit.clone()).await?;
        self.shared.voice.say(&Report::Committed {
            group,
            member: number,
        });
        Ok(Some(committed))
    }

    /// Handles what was taken.
    fn decide(&mut self, deliveries: Vec<Delivery>) -> Outcome<Draft> {
        let mut draft = Draft::default();
        let mut events = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            let mark = mark_of(&delivery.envelope)
                .ok_or_else(|| format!("an unknown event: {}", delivery.envelope.id()))?;
            let blocked = self.blocked.get(&mark.0);
            let is_stale = blocked.is_some_and(|generation| delivery.generation < *generation)
                || draft.blocks.contains(&mark.0);
            events.push(Taken {
                mark,
                position: delivery.position.get(),
                hash: hash(&delivery.envelope),
                attempt: delivery.attempt,
                is_stale,
            });
            if is_stale {
                draft.commit.parked.push(delivery);
            } else {
                self.handle(mark, delivery, &mut draft)?;
            }
        }
        self.shared.voice.say(&Report::Taken {
            group: self.group,
            member: self.number,
            events,
        });
        Ok(draft)
    }

    fn handle(&mut self, mark: Mark, delivery: Delivery, draft: &mut Draft) -> Outcome {
        match self.group {
            Group::Bills => {
                let bill = self.shared.orders.bill(&delivery.envelope, mark)?;
                draft.commit.effects.push(bill.into());
            }
            Group::Tally => draft.commit.state.push(StateWrite {
                topic: delivery.envelope.topic().to_owned(),
                key: delivery.envelope.key().to_owned(),
                name: CELL.to_owned(),
                value: Some(Bytes::from(cell(mark.1, hash(&delivery.envelope)))),
            }),
            Group::Trials => {
                let fate = self.shared.orders.fate(mark);
                if fate.is_doomed() && delivery.attempt >= ATTEMPTS {
                    draft.bury(mark, delivery, fate);
                    return Ok(());
                }
                let fails = fate.is_doomed()
                    || (fate == Fate::Stumbles && delivery.attempt == 1)
                    || (self.random.u8(..) < 5 && delivery.attempt < ATTEMPTS);
                if fails {
                    // Some are due at once, before what was taken behind them has come back.
                    let wait = self.random.u64(..30).saturating_sub(10);
                    draft.try_again(mark, delivery, Duration::from_millis(wait));
                    return Ok(());
                }
            }
        }
        draft.decided.settled.push(mark);
        draft.commit.settled.push(delivery.position);
        Ok(())
    }
}

impl Draft {
    fn try_again(&mut self, mark: Mark, delivery: Delivery, wait: Duration) {
        self.blocks.insert(mark.0);
        self.decided.retried.push((mark, delivery.attempt));
        self.commit.retries.push(Retry {
            envelope: delivery.envelope,
            position: delivery.position,
            attempt: delivery.attempt,
            due: Timestamp::now().plus(wait),
            reason: "it fails".to_owned(),
        });
    }

    fn bury(&mut self, mark: Mark, delivery: Delivery, fate: Fate) {
        let on_dead = match fate {
            Fate::Parked => OnDead::Park,
            _ => OnDead::Skip,
        };
        if on_dead == OnDead::Park {
            self.blocks.insert(mark.0);
        }
        self.decided.dead.push(mark);
        self.commit.dead.push(Death {
            envelope: delivery.envelope,
            position: delivery.position,
            attempts: delivery.attempt,
            cause: DeathCause::Exhausted,
            reason: "it never succeeds".to_owned(),
            on_dead,
        });
    }
}
