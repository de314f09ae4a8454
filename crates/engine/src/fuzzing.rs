//! Control records for fuzzers: the first byte is the kind, the rest is the body.

use bytes::Bytes;

use crate::engine::Position;
use crate::event::Envelope;
use crate::ids::{MemberId, ProcessId};
use crate::model::change::Change;
use crate::model::record::{Begin, Begun, CellWrite, Committed, Left, Parked, Retried, Scheduled};
use crate::time::Timestamp;

/// Where the records are: after all that they name.
const POSITION: Position = Position::new(1 << 40);

/// Reads a control record, and the event in it.
pub fn control_record(bytes: &[u8]) -> bool {
    let Some((kind, body)) = bytes.split_first() else {
        return false;
    };
    match Change::read(*kind, POSITION, body) {
        Ok(Some(Change::Scheduled(scheduled))) => scheduled.envelope().is_ok(),
        Ok(change) => change.is_some(),
        Err(_) => false,
    }
}

/// Good control records.
pub fn seeds(envelope: &Envelope) -> Vec<Vec<u8>> {
    let at = Timestamp::default();
    let group = || "group".to_owned();
    let parked = Parked {
        position: Position::new(3),
        topic: "orders".into(),
        key: "k".into(),
    };
    let retried = Retried {
        position: Position::new(4),
        topic: "orders".into(),
        key: "k".into(),
        attempt: 2,
        due: at,
        reason: "because".into(),
    };
    let cell = CellWrite {
        topic: "orders".into(),
        key: "k".into(),
        name: "n".into(),
        value: Some(Bytes::from_static(b"\xff\x00")),
    };
    let changes = [
        Change::Left(Left {
            group: group(),
            member: MemberId::FIRST,
        }),
        Change::Committed(Box::new(Committed {
            group: group(),
            member: Some(MemberId::FIRST),
            at,
            settled: [(3, 5), (9, 10)]
                .map(|(start, end)| (Position::new(start), Position::new(end)))
                .into_iter()
                .collect(),
            done: vec![Position::new(1), Position::new(2)],
            retries: vec![retried],
            parked: vec![parked],
            cells: vec![cell],
            ..Committed::default()
        })),
        Change::Begun(Begun {
            group: group(),
            begins: vec![Begin {
                position: Position::new(9),
                attempt: 1,
            }],
            boot: ProcessId::new(2),
        }),
        Change::Scheduled(Scheduled {
            name: envelope.event_id(),
            is_timer: true,
            at,
            topic_bytes: envelope.topic().len(),
            key_bytes: envelope.key().len(),
            content: envelope.content().clone(),
        }),
    ];
    let written = changes.iter().filter_map(|change| change.encode().ok());
    written
        .map(|(kind, body)| [vec![kind], body].concat())
        .collect()
}
