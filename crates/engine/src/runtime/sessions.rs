//! The groups that have members in this process.
//!
//! A group has one session here from its first member to its last. Epochs and members' numbers are
//! never given twice, so that what one that is gone still says is told from what its successor says.

use hashbrown::HashMap;

use crate::delivery::group_session::{Beginning, GroupSession};
use crate::delivery::limits::AsideLimits;
use crate::delivery::local_member::LocalMember;
use crate::engine::Position;
use crate::error::{EngineError, Result};
use crate::ids::{Epoch, MemberId, ProcessId};
use crate::model::group::Group;
use crate::model::state::State;
use crate::time::Timestamp;

type Map<V> = HashMap<String, V, foldhash::fast::RandomState>;

/// The sessions of this process, by group.
#[derive(Debug)]
pub(crate) struct Sessions {
    sessions: Map<GroupSession>,
    /// The last member's number of a group, as far as it was given out.
    members: Map<MemberId>,
    last_epoch: Epoch,
    limits: AsideLimits,
}

impl Sessions {
    pub(crate) fn new(limits: AsideLimits) -> Self {
        Self {
            sessions: Map::default(),
            members: Map::default(),
            last_epoch: Epoch::default(),
            limits,
        }
    }

    /// The groups that have one.
    pub(crate) fn groups(&self) -> Vec<String> {
        self.sessions.keys().cloned().collect()
    }

    pub(crate) fn get(&self, group: &str) -> Option<&GroupSession> {
        self.sessions.get(group)
    }

    pub(crate) fn get_mut(&mut self, group: &str) -> Option<&mut GroupSession> {
        self.sessions.get_mut(group)
    }

    /// A number for a new member; `durable` is the last one that the log knows.
    ///
    /// # Errors
    /// [`EngineError::Corrupt`] when the log has used the last number there is.
    pub(crate) fn next_member(
        &mut self,
        group: &str,
        durable: Option<MemberId>,
    ) -> Result<MemberId> {
        let last = self.members.get(group).copied().max(durable);
        let next = last.map_or(Some(MemberId::FIRST), MemberId::next);
        let next = next.ok_or_else(|| {
            EngineError::Corrupt(format!(
                "the last member of the group `{group}` has the number {}, after which there is no \
                 other: members are numbered from 1; delete the group, or restore the log",
                u64::MAX
            ))
        })?;
        self.members.insert(group.to_owned(), next);
        Ok(next)
    }

    /// Adds a member to the session of its group, which begins with the first. `end` is the durable
    /// end of the log.
    pub(crate) fn join(
        &mut self,
        (name, group): (&str, &Group),
        member: LocalMember,
        state: &State,
        (boot, end): (ProcessId, Position),
        now: Timestamp,
    ) {
        let session = match self.sessions.get_mut(name) {
            Some(session) => session,
            None => {
                self.last_epoch = self.last_epoch.next();
                let beginning = Beginning {
                    epoch: self.last_epoch,
                    process: boot,
                    end,
                    now,
                    limits: self.limits,
                };
                let processes = state.processes();
                let mut session = GroupSession::new(group, &member, processes, beginning);
                if processes.is_shared() {
                    session.follow(group, now);
                }
                if session.is_careful() {
                    tracing::info!(
                        group = name,
                        "the last process was killed and had not committed anything: its events \
                         are delivered a few at a time, with a record before each, in case one of \
                         them has ended it; nothing is to be done"
                    );
                }
                self.sessions.entry(name.to_owned()).or_insert(session)
            }
        };
        session.join(member);
    }

    /// Removes a member; what it holds goes to the others of its group. Whether it was one.
    pub(crate) fn leave(
        &mut self,
        (name, group): (&str, &Group),
        member: MemberId,
        now: Timestamp,
    ) -> bool {
        let Some(session) = self.sessions.get_mut(name) else {
            return false;
        };
        if !session.is_member(member) {
            return false;
        }
        if !session.leave(group, member, now) {
            self.sessions.remove(name);
        }
        true
    }

    /// Ends the session of a group: its members have to join again.
    pub(crate) fn fence(&mut self, group: &str) {
        if let Some(session) = self.sessions.remove(group) {
            session.dismiss();
        }
    }

    /// Ends all sessions.
    pub(crate) fn fence_all(&mut self) {
        for group in self.groups() {
            self.fence(&group);
        }
    }

    /// Goes by what the log says now about which process owns which slots.
    pub(crate) fn follow_slots(&mut self, state: &State, now: Timestamp) {
        for (name, session) in &mut self.sessions {
            if let Some(group) = state.groups().get(name) {
                session.follow(group, now);
            }
        }
    }

    /// How many events are in members' hands, if no member will do anything before the clock moves,
    /// a record comes or one of these ends. `end` is the durable end of the log.
    pub(crate) fn at_rest(&self, end: Position, now: Timestamp) -> Option<usize> {
        let mut sessions = self.sessions.values();
        let is_at_rest = sessions.all(|session| session.is_at_rest(end, now));
        is_at_rest.then(|| self.sessions.values().map(GroupSession::held).sum())
    }

    /// The members that joined here and have not left.
    pub(crate) fn members(&self) -> Vec<(String, MemberId)> {
        let mut here = Vec::new();
        for (name, session) in &self.sessions {
            let members = session.members();
            here.extend(members.map(|member| (name.clone(), member.id())));
        }
        here
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn a_group_whose_last_member_has_the_last_number_is_corrupt() {
        let mut sessions = Sessions::new(AsideLimits::default());
        let last = MemberId::new(u64::MAX - 1);
        let next = sessions.next_member("g", last).unwrap();
        assert_eq!(next.get(), u64::MAX);
        for durable in [last, Some(next)] {
            let error = sessions.next_member("g", durable).unwrap_err();
            let Error::Engine(EngineError::Corrupt(why)) = error else {
                panic!("{error:?}");
            };
            assert!(why.contains("`g`") && why.contains("from 1"), "{why}");
        }
    }
}
