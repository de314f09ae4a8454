//! Messages that are whole and say what cannot be: a process that reads one stops before it is folded.

use super::super::frame::{Head, Stamp};
use super::*;
use crate::ids::{FrameNumber, MemberId, ProcessId, WriterId};
use crate::model::change::Change;
use crate::model::record::{Joined, Opened};

const WRITER: WriterId = WriterId::new(1, 2);

/// The message of a frame of one record.
fn frame(number: u64, change: &Change) -> Bytes {
    let (mut batch, mut body) = (ensue_log::Batch::new(), Vec::new());
    change.push_unchecked_to(&mut batch).unwrap();
    batch.write_to(&mut body).unwrap();
    let now = Timestamp::now().as_micros();
    let head = Head {
        writer: WRITER,
        counter: FrameNumber::new(number),
        stamp: Stamp {
            time: now,
            clock: now,
        },
    };
    let mut messages = head.frame(&body, 1 << 20).unwrap();
    assert_eq!(messages.len(), 1);
    messages.remove(0)
}

fn opened() -> Change {
    Change::Opened(Opened {
        writer: WRITER,
        name: "another".to_owned(),
        lease_micros: 3_600_000_000,
        seal: None,
        follows: Vec::new(),
    })
}

/// A member that joins with this number.
fn joined(boot: u64, member: u64) -> Change {
    Change::Joined(Joined {
        group: "handlers".to_owned(),
        member: MemberId::new(member).unwrap(),
        boot: ProcessId::new(boot),
        topics: vec!["events".parse().unwrap()],
        types: None,
        start: Position::ZERO,
    })
}

/// What the engine refuses from some time on.
async fn refusal(engine: &SharedEngine) -> Error {
    let waiting = async {
        loop {
            let event = numbered("events", "k", 9).into();
            if let Err(error) = engine.append(vec![event]).await {
                return error;
            }
        }
    };
    let refused = tokio::time::timeout(PATIENCE, waiting).await;
    refused.expect("it stops")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_cannot_be_stops_its_reader_with_log_message_and_what_was_expected() {
    let bed = Bed::new(14, CALM);
    // The first record of the log: its process is number 0.
    bed.log.add([frame(1, &opened()), frame(2, &joined(0, 7))]);
    let engine = bed.open("a", "a").await;
    let sound = engine.status().await.unwrap();
    assert_eq!(sound.groups.len(), 1, "what can be is folded");
    assert_eq!(sound.trouble, None);
    bed.log.add([frame(3, &joined(0, u64::MAX))]);
    let error = refusal(&engine).await;
    assert!(
        matches!(error, Error::Engine(EngineError::Corrupt(_))),
        "{error:?}"
    );
    let (error, namespace) = (error.to_string(), &bed.log.namespace);
    for part in [
        namespace,
        "wild://a",
        "message ",
        "18446744073709551615 for the number of a member",
        "expected",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let trouble = engine.status().await.unwrap().trouble;
    assert!(trouble.is_some_and(|it| it.contains(namespace)));
}
