//! Everything durable beside the events: the fold of all control records, and its checkpoint.
//!
//! The same code applies a change when it becomes durable, when the log is replayed at open and
//! when another process follows the log.

use std::collections::BTreeMap;

use ensue_log as log;
use serde::{Deserialize, Serialize};

use super::change::Change;
use super::group::Group;
use super::migration::Migration;
use super::schedule::Schedules;
use crate::engine::Position;
use crate::error::{EngineError, Error, Result};
use crate::log_position::from_log;
use crate::model::processes::Processes;

/// The version of the checkpoint's layout.
const VERSION: u32 = 3;

/// What every version of the layout has.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// The fold of the control records before some position.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(crate) struct State {
    version: u32,
    groups: BTreeMap<String, Group>,
    schedules: Schedules,
    #[serde(default, rename = "cluster")]
    processes: Processes,
    /// Where the log came from, if it is the copy of another engine's.
    #[serde(default)]
    migration: Option<Migration>,
}

/// What there is.
impl State {
    pub(crate) fn groups(&self) -> &BTreeMap<String, Group> {
        &self.groups
    }

    pub(crate) fn schedules(&self) -> &Schedules {
        &self.schedules
    }

    pub(crate) fn processes(&self) -> &Processes {
        &self.processes
    }

    /// Where the log came from, if it is the copy of another engine's.
    pub(crate) fn migration(&self) -> Option<&Migration> {
        self.migration.as_ref()
    }

    #[cfg(test)]
    pub(crate) fn group_mut(&mut self, name: &str) -> &mut Group {
        self.groups.entry(name.to_owned()).or_default()
    }
}

/// The fold.
impl State {
    /// Applies the control record at `position`. A record of a group that is not there says
    /// something about one that was deleted meanwhile, and changes nothing.
    pub(crate) fn apply(&mut self, position: Position, change: &Change) {
        match change {
            Change::Joined(joined) if !self.groups.contains_key(&joined.group) => {
                self.groups
                    .insert(joined.group.clone(), Group::new(joined.start, position));
            }
            Change::Deleted(deleted) => {
                self.groups.remove(&deleted.group);
            }
            Change::Scheduled(scheduled) => {
                self.schedules.schedule(scheduled, position);
            }
            Change::Fired(fired) => self.schedules.fire(&fired.events),
            Change::Cancelled(cancelled) => self.schedules.cancel(&cancelled.names),
            Change::Opened(opened) => {
                let has_followed = self.processes.open(position, opened);
                self.share_if(has_followed);
            }
            Change::Gone(gone) => {
                self.processes.remove(gone.boot);
                self.share_if(true);
            }
            Change::Framed(framed) => self.processes.framed(position, framed),
            Change::Migrating(migrating) => {
                self.groups.clear();
                self.schedules = Schedules::default();
                self.migration = Some(Migration::of(migrating));
            }
            Change::Restored(restored) => {
                let group = self.groups.entry(restored.group.clone()).or_default();
                group.restore(&restored.part, restored.is_first);
            }
            Change::Migrated(_) => {
                if let Some(migration) = &mut self.migration {
                    migration.complete();
                }
            }
            _ => {}
        }
        if let Some(group) = change.group().and_then(|name| self.groups.get_mut(name)) {
            apply_to(group, position, change, &self.processes);
            let moves = matches!(
                change,
                Change::Joined(_) | Change::Left(_) | Change::Reset(_)
            );
            if moves && self.processes.is_shared() {
                group.share(&self.processes);
            }
        }
    }

    /// Shares what the processes have that are gone among those that live, if some are.
    fn share_if(&mut self, are_gone: bool) {
        let groups = self.groups.values_mut().filter(|_| are_gone);
        groups.for_each(|group| group.share(&self.processes));
    }

    /// The migration that is under way, or was interrupted.
    pub(crate) fn unfinished_migration(&self) -> Option<&Migration> {
        self.migration.as_ref().filter(|it| !it.is_complete())
    }

    /// Whether the log is a copy of one that had lost events to retention.
    pub(crate) fn is_of_trimmed(&self) -> bool {
        self.migration.as_ref().is_some_and(Migration::is_trimmed)
    }

    /// Whether there are neither groups nor schedules.
    pub(crate) fn holds_nothing(&self) -> bool {
        self.groups.is_empty() && self.schedules.len() == 0
    }

    /// The bytes of state cells over all groups.
    pub(crate) fn cell_bytes(&self) -> usize {
        self.groups
            .values()
            .map(|group| group.cells().bytes())
            .sum()
    }

    /// The oldest position that must stay in the log: what a group has not settled, what it has
    /// put aside, what waits for its time.
    pub(crate) fn floor(&self) -> Option<Position> {
        let groups = self.groups.values().map(Group::floor);
        groups.chain(self.schedules.floor()).min()
    }

    /// What keeps the log from where on, the oldest first, as far as that is before `end`.
    pub(crate) fn holders(&self, end: Position) -> Vec<(Position, Holder)> {
        let groups = self.groups.iter().map(|(name, group)| {
            let holder = Holder::Group {
                name: name.to_string(),
                put_aside: group.need(),
            };
            (group.floor(), holder)
        });
        let scheduled = self.schedules.oldest();
        let scheduled = scheduled.map(|(at, name)| (at, Holder::Schedule(name.to_string())));
        let mut holders: Vec<_> = groups.chain(scheduled).collect();
        holders.retain(|(position, _)| *position < end);
        holders.sort_by_key(|(position, _)| *position);
        holders
    }

    /// The bytes of a checkpoint.
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        // Written with the fields' names, so that a later version can add some.
        let mut bytes = Vec::new();
        let mut serializer = rmp_serde::Serializer::new(&mut bytes).with_struct_map();
        let stored = Stored {
            version: VERSION,
            groups: &self.groups,
            schedules: &self.schedules,
            processes: &self.processes,
            migration: &self.migration,
        };
        stored
            .serialize(&mut serializer)
            .map_err(|error| EngineError::Encode {
                record: "the checkpoint",
                reason: error.to_string(),
            })?;
        Ok(bytes)
    }

    /// Reads a checkpoint.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let state = rmp_serde::from_slice::<Self>(bytes);
        let version = match &state {
            Ok(state) => Some(state.version),
            // Of another version more may be different.
            Err(_) => rmp_serde::from_slice(bytes).map_or(None, |it: Versioned| Some(it.version)),
        };
        if let Some(version) = version.filter(|version| *version != VERSION) {
            return Err(Error::Engine(EngineError::Corrupt(format!(
                "the checkpoint has version {version}, this build reads {VERSION}: it was written by \
                 another version of Ensue; use that one"
            ))));
        }
        let state = state.map_err(|error| {
            Error::Engine(EngineError::Corrupt(format!(
                "the checkpoint cannot be read: {error}"
            )))
        })?;
        Ok(Self {
            version: 0,
            ..state
        })
    }

    /// Applies the control records of a chunk.
    pub(crate) fn apply_chunk(&mut self, chunk: &log::Chunk) -> Result<()> {
        for entry in chunk.iter() {
            let position = from_log(entry.position);
            if let Some(change) = Change::read(entry.kind, position, entry.body)? {
                self.apply(position, &change);
            }
        }
        Ok(())
    }
}

/// What keeps the log from a position on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// The group, which has put the event there aside for this reason; or has not settled everything
    /// from there on.
    Group {
        name: String,
        put_aside: Option<&'static str>,
    },
    /// The event with this name, which waits for its time.
    Schedule(String),
}

/// What a control record does to its group, other than creating and deleting it.
pub(crate) fn apply_to(
    group: &mut Group,
    position: Position,
    change: &Change,
    processes: &Processes,
) {
    match change {
        Change::Joined(joined) => group.join(joined, processes),
        Change::Left(left) => group.leave(left.member),
        Change::Committed(committed) => group.commit(committed),
        Change::Begun(begun) => group.begin(&begun.begins, begun.boot),
        Change::Redriven(it) => group.redrive(&it.positions, it.at),
        Change::Discarded(it) => group.discard(&it.positions),
        Change::Reset(reset) => group.reset(position, reset),
        Change::Released(it) => group.release(it.boot, it.turn, &it.slots),
        Change::Deleted(_)
        | Change::Scheduled(_)
        | Change::Fired(_)
        | Change::Cancelled(_)
        | Change::Opened(_)
        | Change::Gone(_)
        | Change::Framed(_)
        | Change::Migrating(_)
        | Change::Restored(_)
        | Change::Migrated(_) => {}
    }
}

#[derive(Serialize)]
struct Stored<'a> {
    version: u32,
    groups: &'a BTreeMap<String, Group>,
    schedules: &'a Schedules,
    #[serde(rename = "cluster")]
    processes: &'a Processes,
    migration: &'a Option<Migration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_of_another_version_is_refused_by_its_number() {
        let bytes = State::default().encode().unwrap();
        assert_eq!(State::decode(&bytes).unwrap(), State::default());
        #[derive(Serialize)]
        struct Other {
            version: u32,
            something: u32,
        }
        for version in [VERSION - 1, VERSION + 1] {
            let something = 5;
            let bytes = rmp_serde::to_vec_named(&Other { version, something }).unwrap();
            let error = State::decode(&bytes).unwrap_err().to_string();
            assert!(error.contains(&format!("version {version}")), "{error}");
        }
    }
}
