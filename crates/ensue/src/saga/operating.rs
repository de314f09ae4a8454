//! What operators see of sagas, and what they can do with a process. Asks what every engine answers, so that it
//! works wherever the log lives.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::path::{Begun, SagaPath};
use super::progress::{Progress, SagaPhase};
use super::stuck::SagaStuck;
use super::{compensation, topic_of};
use crate::engine::{
    Cursor, DeadLetter, DeadLetterFilter, Driver, GroupStatus, Position, Query, READ_EVENTS_MAX,
};
use crate::error::{EngineError, Error, Result};
use crate::event::Codec;
use crate::publisher::complete;
use crate::state::State;
use crate::time::Timestamp;

/// The source of what operators say.
const SOURCE: &str = "/operators";
/// How many dead letters are handed back in one call.
const RETRIES_TOGETHER: usize = 1_000;

/// The sagas of an engine, for operators: which processes run, which are stuck and where, the path of each; try
/// again, or undo instead. Made by [`Engine::sagas`](crate::Engine::sagas).
///
/// It knows nothing of the types of a saga, and needs no program that runs it.
#[derive(Clone, Copy, Debug)]
pub struct Sagas<'a> {
    engine: &'a dyn Driver,
}

/// A process that runs, as of its last commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SagaProcess {
    /// The saga.
    pub saga: String,
    /// The key of the process.
    pub key: String,
    /// What it does.
    pub phase: SagaPhase,
    /// The name of the step that is due, waits, or is to be undone next; empty before there is one.
    pub step: String,
    /// Its number, from 0.
    pub number: usize,
    /// Why it is undone.
    pub reason: Option<String>,
    /// When what it waits for has to have come.
    pub until: Option<Timestamp>,
    /// Why it does not go on by itself, if it does not.
    pub stuck: Option<SagaStuck>,
}

/// What it means to have a process undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SagaUndoing {
    /// The process as it was.
    pub process: SagaProcess,
    /// The steps that are undone, in that order.
    pub steps: Vec<String>,
}

impl<'a> Sagas<'a> {
    /// Those of this engine.
    pub fn of(engine: &'a dyn Driver) -> Self {
        Self { engine }
    }

    /// The groups that are sagas, by name: those that take the topic `sagas.NAME`.
    ///
    /// # Errors
    /// What the engine reports.
    pub async fn groups(&self) -> Result<Vec<GroupStatus>> {
        let groups = self.engine.status().await?.groups.into_iter();
        Ok(groups.filter(is_saga).collect())
    }

    /// The processes of the saga that run, by key: up to `limit` of those behind the key `after`; 0 and more
    /// than [`READ_EVENTS_MAX`] is that many. The last key of a page is the `after` of the next.
    ///
    /// # Errors
    /// [`GroupError::Unknown`](crate::error::GroupError::Unknown) and what the engine reports.
    pub async fn running(
        &self,
        saga: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<SagaProcess>> {
        let topic = topic_of(saga);
        let cells = self
            .engine
            .states(saga, &topic, Progress::NAME, after, limit);
        let cells = cells.await?;
        let has_dead = !cells.is_empty() && self.engine.group(saga).await?.dead > 0;
        let letters = match has_dead {
            true => self.letters(saga).await?,
            false => Vec::new(),
        };
        let stuck: HashMap<&str, &DeadLetter> = letters
            .iter()
            .map(|letter| (letter.key.as_str(), letter))
            .collect();
        let cells = cells.iter();
        cells
            .map(|(key, cell)| process(saga, key, Some(cell), stuck.get(key.as_str()).copied()))
            .collect()
    }

    /// The processes of the saga that are stuck, those that are so for longest first; 0 is no limit.
    ///
    /// # Errors
    /// As for [`running`](Self::running).
    pub async fn stuck(&self, saga: &str, limit: usize) -> Result<Vec<SagaProcess>> {
        let letters = self.letters(saga).await?;
        let limit = if limit == 0 { usize::MAX } else { limit };
        let mut processes = Vec::new();
        for letter in letters.iter().take(limit) {
            processes.push(self.at(saga, &letter.key, Some(letter)).await?);
        }
        Ok(processes.into_iter().flatten().collect())
    }

    /// The keys of the processes that are stuck, those that are so for longest first: of all, or of those with
    /// one of these keys, each once. 0 is no limit. Asks the engine once, however many there are.
    ///
    /// # Errors
    /// As for [`running`](Self::running).
    pub async fn stuck_keys(
        &self,
        saga: &str,
        of: Option<&[String]>,
        limit: usize,
    ) -> Result<Vec<String>> {
        let of: Option<HashSet<&str>> = of.map(|of| of.iter().map(String::as_str).collect());
        let is_meant = |key: &String| of.as_ref().is_none_or(|of| of.contains(key.as_str()));
        let limit = if limit == 0 { usize::MAX } else { limit };
        let keys = self
            .letters(saga)
            .await?
            .into_iter()
            .map(|letter| letter.key);
        Ok(keys.filter(is_meant).take(limit).collect())
    }

    /// The process of this key; `None` if none runs, and none is stuck before it could begin.
    ///
    /// # Errors
    /// As for [`running`](Self::running).
    pub async fn process(&self, saga: &str, key: &str) -> Result<Option<SagaProcess>> {
        let letter = self.letter(saga, key).await?;
        self.at(saga, key, letter.as_ref()).await
    }

    /// The path of the processes of this key, from `from` on: up to `limit` events; 0 means [`READ_EVENTS_MAX`],
    /// which is also the most.
    ///
    /// # Errors
    /// As for [`running`](Self::running), and as for [`Driver::read`].
    pub async fn path(
        &self,
        saga: &str,
        key: &str,
        from: Cursor,
        limit: usize,
    ) -> Result<SagaPath> {
        let stuck = self.letter(saga, key).await?;
        let stuck = stuck.as_ref().map(SagaStuck::of);
        let topics = topic_of(saga).parse()?;
        let page = self.engine.read(Query {
            topics: Some(topics),
            key: Some(key.to_owned()),
            from,
            limit: limit.min(READ_EVENTS_MAX),
            ..Query::default()
        });
        let page = page.await?;
        Ok(SagaPath {
            entries: SagaPath::of(&page.events, stuck.as_ref()),
            next: page.next,
            is_end: page.is_end,
        })
    }

    /// Has a process that is stuck go on: its dead letter is handed back, its attempts counted from one again.
    /// Returns whether it was stuck.
    ///
    /// # Errors
    /// As for [`Driver::redrive`].
    pub async fn retry(&self, saga: &str, key: &str) -> Result<bool> {
        match self.letter(saga, key).await? {
            Some(letter) => Ok(self.engine.redrive(saga, only(letter.position)).await? > 0),
            None => Ok(false),
        }
    }

    /// Has all processes with these keys go on that are stuck, as [`retry`](Self::retry) does with one; returns
    /// the keys of those that were. Two calls of the engine for each thousand of them.
    ///
    /// # Errors
    /// As for [`Driver::redrive`]; those before may go on by then.
    pub async fn retry_all(&self, saga: &str, keys: &[String]) -> Result<Vec<String>> {
        let mut retried = Vec::new();
        for keys in keys.chunks(RETRIES_TOGETHER) {
            let keys: HashSet<&str> = keys.iter().map(String::as_str).collect();
            let mut letters = self.letters(saga).await?;
            letters.retain(|letter| keys.contains(letter.key.as_str()));
            if letters.is_empty() {
                continue;
            }
            let these = DeadLetterFilter {
                positions: letters.iter().map(|letter| letter.position).collect(),
                ..DeadLetterFilter::default()
            };
            self.engine.redrive(saga, these).await?;
            retried.extend(letters.into_iter().map(|letter| letter.key));
        }
        Ok(retried)
    }

    /// What [`compensate`](Self::compensate) would do now; `None` if there is no such process. Reads the path of
    /// the key.
    ///
    /// # Errors
    /// As for [`path`](Self::path).
    pub async fn plan_compensation(&self, saga: &str, key: &str) -> Result<Option<SagaUndoing>> {
        let Some(process) = self.process(saga, key).await? else {
            return Ok(None);
        };
        let (mut begun, mut from) = (Begun::default(), Cursor::START);
        if process.phase != SagaPhase::Beginning {
            loop {
                let path = self.path(saga, key, from, 0).await?;
                path.entries.iter().for_each(|entry| begun.note(entry));
                if path.is_end {
                    break;
                }
                from = path.next;
            }
        }
        let steps = begun.undone_from(process.number);
        Ok(Some(SagaUndoing { process, steps }))
    }

    /// Has a process undone, for a reason that its path will say: what it has done, the step at hand included,
    /// in reverse. A process that is stuck goes on with that, in place of what it is stuck at. Says what it was;
    /// `None` if there is no such process, and nothing was changed. May be repeated.
    ///
    /// # Errors
    /// As for [`plan_compensation`](Self::plan_compensation), [`Driver::append`] and [`Driver::discard`].
    pub async fn compensate(
        &self,
        saga: &str,
        key: &str,
        reason: &str,
    ) -> Result<Option<SagaUndoing>> {
        let Some(plan) = self.plan_compensation(saga, key).await? else {
            return Ok(None);
        };
        let wish = compensation(saga, key, reason).into_parts();
        let wish = complete(wish, SOURCE, self.engine.clock(), None)?;
        let appended = self.engine.append(vec![wish]).await?;
        if appended.is_empty() {
            // One result for each event is the engine's contract.
            return Err(Error::Engine(EngineError::Closed));
        }
        // The wish is in the log: only now is what it waits behind given up.
        if let Some(stuck) = &plan.process.stuck {
            self.engine.discard(saga, only(stuck.position)).await?;
        }
        Ok(Some(plan))
    }

    /// The process of a key, at which `letter` is stuck.
    async fn at(
        &self,
        saga: &str,
        key: &str,
        letter: Option<&DeadLetter>,
    ) -> Result<Option<SagaProcess>> {
        let topic = topic_of(saga);
        let cell = self.engine.state(saga, &topic, key, Progress::NAME).await?;
        match (&cell, letter) {
            (None, None) => Ok(None),
            _ => process(saga, key, cell.as_deref(), letter).map(Some),
        }
    }

    /// The dead letters that block keys of the saga, those that died first before others.
    async fn letters(&self, saga: &str) -> Result<Vec<DeadLetter>> {
        let topic = topic_of(saga);
        let all = DeadLetterFilter::default();
        let mut letters = self.engine.dead_letters(Some(saga), all).await?;
        letters.retain(|letter| letter.topic == topic);
        Ok(letters)
    }

    /// The dead letter that blocks a key: there is one at the most.
    async fn letter(&self, saga: &str, key: &str) -> Result<Option<DeadLetter>> {
        let topic = topic_of(saga);
        let filter = DeadLetterFilter {
            key: Some(key.to_owned()),
            ..DeadLetterFilter::default()
        };
        let letters = self.engine.dead_letters(Some(saga), filter).await?;
        Ok(letters.into_iter().find(|letter| letter.topic == topic))
    }
}

/// Whether a group is a saga.
fn is_saga(group: &GroupStatus) -> bool {
    let topic = topic_of(&group.name);
    group.topics.contains(&topic)
}

fn only(position: Position) -> DeadLetterFilter {
    DeadLetterFilter {
        positions: vec![position],
        ..DeadLetterFilter::default()
    }
}

/// A process, from its cell.
fn process(
    saga: &str,
    key: &str,
    cell: Option<&[u8]>,
    letter: Option<&DeadLetter>,
) -> Result<SagaProcess> {
    let progress: Option<Progress> = cell.map(|it| Codec::MessagePack.decode(it)).transpose()?;
    let progress = progress.unwrap_or(Progress {
        step: 0,
        name: String::new(),
        phase: SagaPhase::Beginning,
        reason: None,
        waits: 0,
        until: None,
    });
    Ok(SagaProcess {
        saga: saga.to_owned(),
        key: key.to_owned(),
        phase: progress.phase,
        step: progress.name,
        number: progress.step,
        reason: progress.reason,
        until: progress.until,
        stuck: letter.map(SagaStuck::of),
    })
}
