//! One control record of any kind, written and read. The table of the kinds is in [`record`](super::record).

use bytes::Bytes;
use ensue_log as log;
use serde::{Deserialize, Serialize};

use super::group::Group;
use super::record::{
    Begun, Cancelled, Committed, Deleted, Discarded, EVENT, Fired, Framed, Gone, Joined, Left,
    Migrated, Migrating, Opened, Redriven, Released, Reset, Scheduled,
};
use crate::error::{EngineError, Error, Result};

const GROUPS: &str = "_ensue.groups";
const SCHEDULES: &str = "_ensue.schedules";
const PROCESSES: &str = "_ensue.processes";
const MIGRATION: &str = "_ensue.migration";
/// One thing that happened to a group or to the schedules. The engine's state is the fold of them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    Joined(Joined),
    Left(Left),
    Committed(Box<Committed>),
    Begun(Begun),
    Redriven(Redriven),
    Discarded(Discarded),
    Reset(Reset),
    Deleted(Deleted),
    Scheduled(Scheduled),
    Fired(Fired),
    Cancelled(Cancelled),
    Opened(Opened),
    Gone(Gone),
    Released(Released),
    Framed(Framed),
    Migrating(Migrating),
    Restored(Restored),
    Migrated(Migrated),
}

/// A part of a group that is copied from another log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Restored {
    pub(crate) group: String,
    /// Whether it replaces what is there of the group; otherwise it adds to it.
    pub(crate) is_first: bool,
    /// The group; of what is large (what it put aside, its state), a part.
    pub(crate) part: Box<Group>,
}

impl Change {
    /// The group that it concerns, if it concerns one.
    pub(crate) fn group(&self) -> Option<&str> {
        match self {
            Self::Joined(Joined { group, .. })
            | Self::Left(Left { group, .. })
            | Self::Begun(Begun { group, .. })
            | Self::Redriven(Redriven { group, .. })
            | Self::Discarded(Discarded { group, .. })
            | Self::Reset(Reset { group, .. })
            | Self::Deleted(Deleted { group, .. })
            | Self::Released(Released { group, .. })
            | Self::Restored(Restored { group, .. }) => Some(group),
            Self::Committed(committed) => Some(&committed.group),
            Self::Scheduled(_)
            | Self::Fired(_)
            | Self::Cancelled(_)
            | Self::Opened(_)
            | Self::Gone(_)
            | Self::Framed(_)
            | Self::Migrating(_)
            | Self::Migrated(_) => None,
        }
    }

    /// The change as memory keeps it: its event is in the log.
    pub(crate) fn light(&self) -> Self {
        match self {
            Self::Scheduled(scheduled) => Self::Scheduled(Scheduled {
                name: scheduled.name.clone(),
                content: Bytes::new(),
                ..*scheduled
            }),
            other => other.clone(),
        }
    }

    pub(crate) fn encode(&self) -> Result<(u8, Vec<u8>), rmp_serde::encode::Error> {
        use rmp_serde::to_vec_named as to;
        Ok(match self {
            Self::Joined(body) => (1, to(body)?),
            Self::Left(body) => (2, to(body)?),
            Self::Committed(body) => (3, to(body)?),
            Self::Begun(body) => (4, to(body)?),
            Self::Redriven(body) => (5, to(body)?),
            Self::Discarded(body) => (6, to(body)?),
            Self::Reset(body) => (7, to(body)?),
            Self::Deleted(body) => (8, to(body)?),
            Self::Scheduled(body) => (9, to(body)?),
            Self::Fired(body) => (10, to(body)?),
            Self::Cancelled(body) => (11, to(body)?),
            Self::Opened(body) => (12, to(body)?),
            Self::Gone(body) => (13, to(body)?),
            Self::Released(body) => (14, to(body)?),
            Self::Framed(body) => (15, to(body)?),
            Self::Migrating(body) => (16, to(body)?),
            Self::Restored(body) => (17, to(body)?),
            Self::Migrated(body) => (18, to(body)?),
        })
    }

    /// Adds the record to `batch`.
    pub(crate) fn push_to(&self, batch: &mut log::Batch) -> Result<()> {
        let (kind, body) = self.encode().map_err(|error| EngineError::Encode {
            record: "a control record",
            reason: error.to_string(),
        })?;
        let (topic, key) = match self {
            Self::Scheduled(scheduled) => (SCHEDULES, scheduled.name.id()),
            Self::Fired(_) | Self::Cancelled(_) => (SCHEDULES, ""),
            Self::Opened(_) | Self::Gone(_) | Self::Framed(_) => (PROCESSES, ""),
            Self::Migrating(_) | Self::Migrated(_) => (MIGRATION, ""),
            _ => (GROUPS, self.group().unwrap_or_default()),
        };
        let (key, body) = (key.as_bytes(), body.as_slice());
        batch
            .push(&log::Record {
                kind,
                id: None,
                topic,
                key,
                body,
            })
            .map_err(crate::log_error::of_log)
    }

    /// Reads a control record; `None` for an event.
    pub(crate) fn read(kind: u8, position: u64, body: &[u8]) -> Result<Option<Self>> {
        use rmp_serde::from_slice as from;
        let change = match kind {
            EVENT => return Ok(None),
            1 => from(body).map(Self::Joined),
            2 => from(body).map(Self::Left),
            3 => from(body).map(|body| Self::Committed(Box::new(body))),
            4 => from(body).map(Self::Begun),
            5 => from(body).map(Self::Redriven),
            6 => from(body).map(Self::Discarded),
            7 => from(body).map(Self::Reset),
            8 => from(body).map(Self::Deleted),
            9 => from(body).map(Self::Scheduled),
            10 => from(body).map(Self::Fired),
            11 => from(body).map(Self::Cancelled),
            12 => from(body).map(Self::Opened),
            13 => from(body).map(Self::Gone),
            14 => from(body).map(Self::Released),
            15 => from(body).map(Self::Framed),
            16 => from(body).map(Self::Migrating),
            17 => from(body).map(Self::Restored),
            18 => from(body).map(Self::Migrated),
            unknown => {
                return Err(Error::Engine(EngineError::Corrupt(format!(
                    "the record at position {position} has the kind {unknown}, which this version \
                     does not know; was it written by a newer Ensue?"
                ))));
            }
        };
        change.map(Some).map_err(|error| {
            Error::Engine(EngineError::Corrupt(format!(
                "the control record at position {position}: {error}"
            )))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::MemberId;
    use crate::model::position_set::Settled;
    use crate::model::record::CellWrite;

    #[test]
    fn control_records_are_read_as_written() {
        let change = Change::Committed(Box::new(Committed {
            group: "g".into(),
            member: Some(MemberId::FIRST),
            settled: Settled(vec![(3, 5), (9, 10)]),
            cells: vec![CellWrite {
                topic: "t".into(),
                key: "k".into(),
                name: "n".into(),
                value: Some(Bytes::from_static(b"\xff\x00")),
            }],
            ..Committed::default()
        }));
        let (kind, body) = change.encode().unwrap();
        assert_eq!(Change::read(kind, 0, &body).unwrap(), Some(change));
        let error = Change::read(99, 7, &body).unwrap_err().to_string();
        assert!(
            error.contains("position 7") && error.contains("99"),
            "{error}"
        );
        assert!(Change::read(1, 7, b"\xc1").is_err());
    }
}
