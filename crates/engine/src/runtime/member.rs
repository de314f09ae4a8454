//! A member of a group: takes events, commits what became of them, leaves.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ensue_log as log;
use futures_util::future::{BoxFuture, OptionFuture};
use tokio::sync::Notify;

use crate::delivery::events_read;
use crate::delivery::events_read::EventsRead;
use crate::delivery::filter::{Filter, Memo};
use crate::delivery::local_member::LocalMember;
use crate::delivery::next_step::Step;
use crate::delivery::pages::Paging;
use crate::delivery::read_ahead::{ReadToken, Reading};
use crate::delivery::taking::Ask;
use crate::delivery::wake::Wake;
use crate::engine::{Commit, Committed, Delivery, Member, Position, Subscription};
use crate::error::{EngineError, Error, GroupError, LimitError, Result};
use crate::ids::MemberId;
use crate::log_error;
use crate::log_position::{from_log, to_log};
use crate::model::change::Change;
use crate::model::record;
use crate::model::record::{Begin, Begun, Joined, Left};
use crate::pending_write::PendingWrite;
use crate::runtime::backlog_reader;
use crate::runtime::commit::MemberCommit;
use crate::runtime::engine_handle::EngineHandle;
use crate::runtime::engine_inner::EngineInner;
use crate::runtime::group_progress;
use crate::runtime::lookup;
use crate::runtime::lookup::blocking;
use crate::runtime::reset;
use crate::time::Timestamp;

/// How long to wait before something is recorded again that the disk refused.
const REFUSED_WAIT: Duration = Duration::from_secs(1);
/// The longest name of a group, in bytes.
pub(crate) const GROUP_BYTES_MAX: usize = 255;
/// How much a read that goes to the disk asks for.
const READ_BYTES: usize = 1024 * 1024;
/// A group that wants fewer than one in so many records reads through the index, and copies what
/// it wants.
const SPARSE: usize = 8;
/// After so many records that are nothing for a group, a record says that they are.
const PASSED_RECORDS_MIN: u64 = 65_536;

impl Wake for Notify {
    fn wake(&self) {
        self.notify_one();
    }
}

/// A member of a group of an embedded engine.
#[derive(Debug)]
pub(crate) struct EmbeddedMember {
    inner: EngineHandle,
    group: String,
    id: MemberId,
    notify: Arc<Notify>,
    memo: Mutex<Memo>,
    /// Whether little of what was read last is for this group.
    is_sparse: AtomicBool,
    has_left: AtomicBool,
}

impl EmbeddedMember {
    /// Joins: durable when it returns.
    pub(crate) async fn join(inner: &Arc<EngineInner>, wanted: Subscription) -> Result<Self> {
        check(&wanted)?;
        inner.check_open()?;
        let _turn = inner.admin_turn().await;
        let start = reset::start_of(inner, &wanted.group, wanted.start).await?;
        let (group, notify) = (wanted.group, Arc::new(Notify::new()));
        let filter = Arc::new(Filter::new(wanted.topics.clone(), wanted.types.clone()));
        let member = loop {
            let (id, boot) = {
                let mut locked = inner.locked();
                (locked.next_member(&group)?, locked.boot())
            };
            let joined = Joined {
                group: group.clone(),
                member: id,
                boot,
                topics: wanted.topics.clone(),
                types: wanted.types.clone(),
                start,
            };
            // From here on, dropping this future is leaving.
            let member = Self {
                inner: EngineHandle::new(inner.clone()),
                group: group.clone(),
                id,
                notify: notify.clone(),
                memo: Mutex::new(Memo::new(filter.clone())),
                is_sparse: AtomicBool::new(false),
                has_left: AtomicBool::new(false),
            };
            match inner.record(vec![Change::Joined(joined)]).await {
                Ok(()) => break member,
                // A member of another process has this number, or this process was taken for dead
                // meanwhile and has another name now.
                Err(
                    Error::Engine(EngineError::Overtaken { .. })
                    | Error::Group(GroupError::Fenced { .. }),
                ) => {
                    member.has_left.store(true, Ordering::Release);
                    inner.check_open()?;
                }
                Err(error) => return Err(error),
            }
        };
        let local = LocalMember::new(member.id, wanted.in_flight_max, notify);
        let is_seated = loop {
            let coming = {
                let mut locked = inner.advanced();
                match locked.left_behind(&member.group) {
                    Some(coming) => coming,
                    None => {
                        break locked.join(&member.group, local, inner.end());
                    }
                }
            };
            // Whether it came to anything is looked up above.
            let _ = coming.await;
        };
        if !is_seated {
            return Err(member.fenced());
        }
        tracing::debug!(group = member.group, member = %member.id, "joined");
        Ok(member)
    }

    fn fenced(&self) -> Error {
        match self.inner.check_open() {
            Err(closed) => closed,
            Ok(()) => Error::Group(GroupError::Fenced {
                group: self.group.clone(),
            }),
        }
    }

    async fn take(&self, events_max: usize) -> Result<Vec<Delivery>> {
        loop {
            // Reading in memory never waits: others must have their turn even so.
            tokio::task::coop::consume_budget().await;
            let (step, own) = self.step(events_max.max(1))?;
            match step {
                Step::Deliver(deliveries) => return Ok(deliveries),
                Step::Read(reading) => self.read(reading).await?,
                Step::Page(paging) => self.page(paging).await?,
                Step::Fetch(positions) => self.fetch(positions).await?,
                Step::Begin(begins) => self.begin(begins).await?,
                Step::Wait { due, records } => self.wait(due, records, own).await?,
            }
        }
    }

    /// What to do next, and what is on its way that nothing else waits for.
    fn step(&self, events_max: usize) -> Result<(Step, Own)> {
        let inner = &self.inner;
        inner.check_open()?;
        let mut locked = inner.advanced();
        let ask = Ask {
            member: self.id,
            events_max,
            now: inner.now(),
            end: inner.end(),
        };
        let (session, group) = locked
            .session_of(&self.group, self.id)
            .ok_or_else(|| self.fenced())?;
        let step = session.take(group, ask);
        session.pass(group.low(), PASSED_RECORDS_MIN);
        group_progress::record(inner, &mut locked, &self.group)?;
        let own = match locked.session_of(&self.group, self.id) {
            Some((session, _)) if session.has_to_park() => Own::Refused,
            Some((session, _)) => session.last_parking().map_or(Own::None, Own::Coming),
            None => Own::None,
        };
        Ok((step, own))
    }

    /// Waits until there may be something: at a time, at a position, when events are parked, when
    /// something wakes it.
    async fn wait(
        &self,
        due: Option<Timestamp>,
        records: Option<Position>,
        own: Own,
    ) -> Result<()> {
        let (log, clock) = (self.inner.log(), &self.inner.settings().clock);
        let records = records.map(|at| log.changed(to_log(at)));
        let due = due.map(|due| clock.sleep_until_or_set_back(due));
        let (room, coming) = match own {
            Own::None => (None, None),
            Own::Refused => (Some(self.inner.room().wait()), None),
            Own::Coming(submitted) => (None, Some(submitted)),
        };
        tokio::select! {
            Some(changed) = OptionFuture::from(records) => {
                changed.map_err(log_error::of_log)?;
            }
            Some(()) = OptionFuture::from(due) => {}
            Some(outcome) = OptionFuture::from(coming) => match outcome {
                Ok(_) => {}
                Err(Error::Engine(EngineError::DiskFull(_))) => clock.pause(REFUSED_WAIT).await,
                Err(error) => return Err(error),
            },
            Some(()) = OptionFuture::from(room) => {}
            () = self.notify.notified() => {}
        }
        Ok(())
    }

    /// Reads on: from memory here, from disk elsewhere.
    async fn read(&self, reading: Reading) -> Result<()> {
        let Reading {
            token,
            cursor,
            rest,
        } = reading;
        let mut task = GroupTask {
            member: self,
            work: GroupWork::Read(token),
            is_over: false,
        };
        let from = to_log(cursor);
        let (chunk, place, cursor) = match rest {
            Some((chunk, place)) => (chunk, Some(place), cursor),
            None => match self.inner.view().tail(from) {
                Some(chunk) => (chunk, None, cursor),
                None => {
                    let (chunk, cursor) = self.read_disk(from).await?;
                    (chunk, None, cursor)
                }
            },
        };
        let staged = self.stage(chunk, place, cursor)?;
        task.is_over = true;
        let mut locked = self.inner.advanced();
        if let Some((session, group)) = locked.session_at(&self.group, token.epoch) {
            session.read(group, token, staged);
        }
        Ok(())
    }

    /// Reads from disk; also gives where the chunk starts, or the next one when it is empty.
    async fn read_disk(&self, from: log::Position) -> Result<(log::Chunk, Position)> {
        let view = self.inner.view().clone();
        let filter = self.memo().filter();
        let is_sparse = self.is_sparse.load(Ordering::Relaxed);
        let group = self.group.clone();
        blocking(move || {
            let first = view.first();
            if from < first {
                // Only a group that was created at this very moment can be behind retention.
                tracing::warn!(group, %from, %first, "what was to be read is gone");
            }
            let from = from.max(first);
            if !is_sparse {
                let chunk = view.read(from, READ_BYTES).map_err(log_error::of_log)?;
                return Ok((chunk, from_log(from)));
            }
            let to = view.durable();
            let mut scan = view.scan(log::Query {
                from,
                to: Some(to),
                topics: Some(Arc::new(move |topic| filter.wants_topic(topic))),
                kinds: Some(vec![record::EVENT]),
                ..log::Query::default()
            });
            let found = scan.next_chunk().map_err(log_error::of_log)?;
            Ok(
                found.map_or((log::Chunk::default(), from_log(to)), |chunk| {
                    (chunk, from_log(from))
                }),
            )
        })
        .await
    }

    fn stage(
        &self,
        chunk: log::Chunk,
        place: Option<log::Place>,
        from: Position,
    ) -> Result<EventsRead> {
        let mut memo = self.memo();
        let hasher = {
            let mut locked = self.inner.locked();
            let (session, _) = locked
                .session_of(&self.group, self.id)
                .ok_or_else(|| self.fenced())?;
            memo.set(session.filter());
            session.hasher().clone()
        };
        let mut staged = events_read::pick(chunk, place, from, &mut memo, &hasher)?;
        let looked_at = staged.cursor.since(from) as usize;
        let is_sparse = staged.events.len() < looked_at / SPARSE;
        self.is_sparse.store(is_sparse, Ordering::Relaxed);
        if is_sparse {
            staged.detach();
        }
        Ok(staged)
    }

    fn memo(&self) -> MutexGuard<'_, Memo> {
        self.memo.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what is next of a key's backlog.
    async fn page(&self, paging: Paging) -> Result<()> {
        let token = paging.token;
        let mut task = GroupTask {
            member: self,
            work: GroupWork::Page(token),
            is_over: false,
        };
        let filter = {
            let mut locked = self.inner.locked();
            let (session, _) = locked
                .session_of(&self.group, self.id)
                .ok_or_else(|| self.fenced())?;
            session.filter().clone()
        };
        let (view, wanted) = (self.inner.view().clone(), paging.clone());
        let found = blocking(move || backlog_reader::read(&view, &wanted, &filter)).await?;
        task.is_over = true;
        let mut locked = self.inner.advanced();
        if let Some((session, group)) = locked.session_at(&self.group, token.epoch) {
            session.page_read(group, &paging, found);
        }
        Ok(())
    }

    async fn fetch(&self, positions: Vec<Position>) -> Result<()> {
        let events = lookup::events(self.inner.view(), positions).await?;
        let mut locked = self.inner.locked();
        if let Some((session, _)) = locked.session_of(&self.group, self.id) {
            session.fetched(self.id, events);
        }
        Ok(())
    }

    /// Records that attempts begin: durable when it returns.
    async fn begin(&self, begins: Vec<Begin>) -> Result<()> {
        let boot = self.inner.locked().boot();
        let group = self.group.clone();
        let begun = Change::Begun(Begun {
            group,
            begins,
            boot,
        });
        let mut task = GroupTask {
            member: self,
            work: GroupWork::Begin,
            is_over: false,
        };
        self.inner.record(vec![begun]).await?;
        task.is_over = true;
        Ok(())
    }

    async fn commit(&self, commit: Commit) -> Result<Committed> {
        let inner = &self.inner;
        inner.check_open()?;
        if commit.is_empty() {
            let mut locked = inner.advanced();
            let (_, group) = locked
                .session_of(&self.group, self.id)
                .ok_or_else(|| self.fenced())?;
            let generation = group.generation();
            return Ok(Committed {
                generation,
                dropped: 0,
            });
        }
        let commit = MemberCommit::of(inner, &self.group, self.id, commit);
        let outcome = match commit {
            Ok(commit) => commit.commit().await,
            Err(error) => Err(error),
        };
        let (refusals, now) = (inner.refusals(), || inner.now());
        match &outcome {
            Ok(_) => refusals.clear(&self.group, self.id),
            Err(error) => refusals.refused(&self.group, self.id, error, now()),
        }
        outcome
    }

    async fn leave(&self) -> Result<()> {
        if self.has_left.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.give_back();
        let left = Change::Left(Left {
            group: self.group.clone(),
            member: self.id,
        });
        match self.inner.record_timely(vec![left]).await {
            // Closing the engine has made it leave already.
            Err(Error::Engine(EngineError::Closed)) => Ok(()),
            outcome => outcome,
        }
    }

    /// Gives everything back, at once.
    fn give_back(&self) {
        self.inner.refusals().clear(&self.group, self.id);
        let mut locked = self.inner.advanced();
        if let Some((session, group)) = locked.session_of(&self.group, self.id) {
            session.pass(group.low(), 1);
            if let Err(error) = group_progress::record(&self.inner, &mut locked, &self.group) {
                tracing::debug!(%error, "could not record how far a group is");
            }
        }
        if locked.leave(&self.group, self.id) {
            tracing::debug!(group = self.group, member = %self.id, "left");
        }
    }
}

/// A record of the group's own: what it parks can be delivered once it is durable.
enum Own {
    None,
    /// The log had no room for it.
    Refused,
    Coming(PendingWrite),
}

/// What a member does for its whole group. When it is dropped before it is over, another member can do
/// it.
struct GroupTask<'a> {
    member: &'a EmbeddedMember,
    work: GroupWork,
    is_over: bool,
}

enum GroupWork {
    Read(ReadToken),
    Page(ReadToken),
    Begin,
}

impl Drop for GroupTask<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let EmbeddedMember {
            inner, group, id, ..
        } = self.member;
        let mut locked = inner.locked();
        match self.work {
            GroupWork::Read(token) => {
                if let Some((session, _)) = locked.session_at(group, token.epoch) {
                    session.give_up_read(token);
                }
            }
            GroupWork::Page(token) => {
                if let Some((session, _)) = locked.session_at(group, token.epoch) {
                    session.give_up_page(token);
                }
            }
            GroupWork::Begin => {
                if let Some((session, _)) = locked.session_of(group, *id) {
                    session.begin_ended();
                }
            }
        }
    }
}

impl Drop for EmbeddedMember {
    fn drop(&mut self) {
        if self.has_left.load(Ordering::Acquire) || self.inner.check_open().is_err() {
            return;
        }
        self.give_back();
        let left = vec![Change::Left(Left {
            group: self.group.clone(),
            member: self.id,
        })];
        // Submitted here and now: the log may be given up with this very member, and what was
        // submitted by then is written.
        let submitted = self.inner.try_record(&left);
        let inner = Arc::clone(&self.inner);
        // Without a runtime a record that the full queue refused is missing: the next process
        // thinks that this one was killed, which is the safe side.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let recorded = match submitted {
                    Ok(Some(submitted)) => submitted.await.map(|_| inner.locked().advance()),
                    Ok(None) => inner.record(left).await,
                    Err(error) => Err(error),
                };
                if let Err(error) = recorded {
                    tracing::debug!(%error, "could not record that a member left");
                }
            });
        }
    }
}

impl Member for EmbeddedMember {
    fn next(&self, events_max: usize) -> BoxFuture<'_, Result<Vec<Delivery>>> {
        Box::pin(self.take(events_max))
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed>> {
        Box::pin(self.commit(commit))
    }

    fn leave(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.leave())
    }
}

fn check(wanted: &Subscription) -> Result<()> {
    if wanted.group.is_empty() || wanted.topics.is_empty() {
        return Err(Error::Group(GroupError::Subscription {
            group: wanted.group.clone(),
        }));
    }
    if wanted.group.len() > GROUP_BYTES_MAX {
        return Err(Error::Limit(LimitError {
            what: "the length of a group's name in bytes".into(),
            value: wanted.group.len() as u64,
            limit: "GROUP_BYTES_MAX",
            max: GROUP_BYTES_MAX as u64,
            advice: "choose a shorter name",
        }));
    }
    Ok(())
}
