//! Groups as records: what is large in parts.

use std::collections::BTreeMap;

use crate::model::change::{Change, Restored};
use crate::model::group::Group;
use crate::model::keyed_state::cell_bytes;

/// How many events that were put aside one record has, about a kilobyte each at the most.
const ITEMS_MAX: usize = 1_024;
/// How many bytes of state one record has, or one cell.
const CELL_BYTES_MAX: usize = 1024 * 1024;

/// The records that make the group what it is.
pub(super) fn records(name: &str, group: &Group) -> Vec<Change> {
    let mut records = vec![record(name, group.head(), true)];
    let mut part = Group::default();
    for (position, item) in group.set_aside().items() {
        part.add_item(position, item.clone());
        if part.set_aside().len() >= ITEMS_MAX {
            records.push(record(name, std::mem::take(&mut part), false));
        }
    }
    for (number, (lane, backlog)) in group.set_aside().backlogs().iter().enumerate() {
        if number % ITEMS_MAX == ITEMS_MAX - 1 {
            records.push(record(name, std::mem::take(&mut part), false));
        }
        part.add_backlog(lane.clone(), backlog);
    }
    let mut bytes = 0;
    for cell in group.cells().iter() {
        bytes += cell_bytes(&cell);
        if bytes > CELL_BYTES_MAX {
            records.push(record(name, std::mem::take(&mut part), false));
            bytes = cell_bytes(&cell);
        }
        part.add_cell(&cell);
    }
    if part != Group::default() {
        records.push(record(name, part, false));
    }
    records
}

fn record(name: &str, part: Group, is_first: bool) -> Change {
    Change::Restored(Restored {
        group: name.to_owned(),
        is_first,
        part: Box::new(part),
    })
}

/// Whether both are the same groups, whichever process owns which of their slots.
pub(super) fn are_same(
    expected: &BTreeMap<String, Group>,
    found: &BTreeMap<String, Group>,
) -> bool {
    let is_same = |(name, found): (&String, &Group)| {
        let expected = expected.get(name);
        expected.is_some_and(|expected| found.is_same_but_for_slots(expected))
    };
    expected.len() == found.len() && found.iter().all(is_same)
}
