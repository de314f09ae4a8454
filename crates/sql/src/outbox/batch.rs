//! What becomes of the rows that are there: which are relayed, refused, or wait behind one that was refused.

use std::collections::HashSet;

use ensue::Envelope;

use super::progress::{Check, Progress, Refused};
use super::row::Waiting;

/// A decision about some rows: the events to append, and the progress that says what became of the rows.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) events: Vec<Envelope>,
    pub(super) progress: Progress,
}

impl Batch {
    /// Decides about rows in their order.
    pub(super) fn of(rows: &[Waiting]) -> Self {
        let mut batch = Self::default();
        let mut stopped: HashSet<(&str, &str)> = HashSet::new();
        for row in rows {
            let key = (row.topic.as_str(), row.key.as_str());
            if row.is_behind || stopped.contains(&key) {
                batch.progress.behind.push(row.id);
                continue;
            }
            match &row.event {
                Ok(event) => {
                    batch.progress.relayed.push(row.id);
                    batch.events.push(event.clone());
                }
                Err(reason) => {
                    stopped.insert(key);
                    let (row, reason) = (row.id, reason.clone());
                    batch.progress.refused.push(Refused { row, reason });
                }
            }
        }
        batch.progress.check = Check::of(batch.events.iter());
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: i64, key: &str, event: Result<(), &str>) -> Waiting {
        let made = Envelope::builder("orders", "e").key(key).build().unwrap();
        Waiting {
            id,
            topic: "orders".to_owned(),
            key: key.to_owned(),
            is_behind: false,
            batch: 0,
            event: event.map(|()| made).map_err(str::to_owned),
        }
    }

    #[test]
    fn a_row_that_is_refused_stops_its_key_and_no_other() {
        let rows = [
            row(1, "a", Ok(())),
            row(2, "a", Err("too large")),
            row(3, "b", Ok(())),
            row(4, "a", Ok(())),
            row(5, "a", Err("too large as well")),
            row(6, "b", Ok(())),
        ];
        let Batch { events, progress } = Batch::of(&rows);
        let keys: Vec<&str> = events.iter().map(Envelope::key).collect();
        assert_eq!(keys, ["a", "b", "b"]);
        assert_eq!(progress.relayed.to_string(), "1,3,6");
        assert_eq!(progress.behind.to_string(), "4-5");
        assert_eq!(progress.refused.len(), 1);
        assert_eq!(progress.refused[0].row, 2);
    }

    #[test]
    fn a_row_behind_an_earlier_refusal_waits_whatever_it_is() {
        let mut rows = [row(8, "a", Err("bad")), row(9, "b", Ok(()))];
        rows[0].is_behind = true;
        let Batch { events, progress } = Batch::of(&rows);
        assert_eq!(events.len(), 1);
        assert_eq!(progress.behind.to_string(), "8");
        assert!(progress.refused.is_empty());
    }
}
