//! The table of groups, as `groups` and `status` show it.

use ensue::Timestamp;
use ensue::engine::GroupStatus;

use crate::human;
use crate::output::{Cell, Column, Table, Tone};

/// One row a group: where it is, what it holds, what is wrong with it. Members live in their
/// process: their columns are there only where the engine knows any.
pub(crate) fn table(groups: &[GroupStatus], now: Timestamp) -> Table {
    use Column::{Number, Text};
    let has_members = groups.iter().any(|group| !group.members.is_empty());
    let mut columns = vec![
        Text("GROUP"),
        Text("TOPICS"),
        Number("POSITION"),
        Number("LAG"),
        Number("RETRYING"),
        Number("PARKED"),
        Number("DEAD"),
        Number("BLOCKED"),
    ];
    if has_members {
        columns.extend([Number("MEMBERS"), Number("IN FLIGHT")]);
    }
    columns.push(Text("STATE"));
    let mut table = Table::new(&columns);
    for group in groups {
        let lag = usize::try_from(group.lag).unwrap_or(usize::MAX);
        let mut row = vec![
            Cell::toned(Tone::Strong, &group.name),
            group.topics.join(" ").into(),
            group.position.to_string().into(),
            Cell::count(Tone::Plain, lag),
            Cell::count(Tone::Warn, group.retrying),
            Cell::count(Tone::Warn, group.parked),
            Cell::count(Tone::Bad, group.dead),
            Cell::count(Tone::Warn, group.blocked),
        ];
        if has_members {
            row.push(Cell::count(Tone::Plain, group.members.len()));
            row.push(Cell::count(Tone::Plain, group.in_flight));
        }
        row.push(state(group, now));
        table.row(row);
    }
    table
}

fn state(group: &GroupStatus, now: Timestamp) -> Cell {
    if let Some(why) = &group.trouble {
        return Cell::toned(Tone::Bad, why);
    }
    if let Some(until) = &group.held_back_until
        && group.paused.is_none()
        && group.lag > 0
    {
        let what = format!("behind, effects held back up to {until}");
        return Cell::toned(Tone::Warn, what);
    }
    match (&group.paused, group.next_due) {
        (Some(why), _) => Cell::toned(Tone::Bad, format!("paused: {why}")),
        (None, Some(due)) if due <= now && group.members.is_empty() => {
            Cell::toned(Tone::Warn, "an attempt is due, no member")
        }
        (None, Some(due)) => {
            let due = human::relative(due, now);
            Cell::toned(Tone::Warn, format!("next attempt {due}"))
        }
        (None, None) if group.blocked > 0 => {
            let keys = human::counted(group.blocked, "key");
            let parked = human::count(group.parked as u64);
            Cell::toned(Tone::Warn, format!("blocked: {keys}, {parked} parked"))
        }
        (None, None) if !group.backlogs.is_empty() => {
            Cell::toned(Tone::Warn, "slow or blocked keys have backlogs")
        }
        (None, None) if group.is_idle() => Cell::toned(Tone::Good, "caught up"),
        (None, None) => "behind".into(),
    }
}
