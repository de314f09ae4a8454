use std::error::Error as _;
use std::io;

use super::*;
use crate::event::Codec;
use crate::position::Position;
use crate::time::Timestamp;
use crate::topic::TopicPattern;

/// One error of each variant, and what becomes of what it refused: does not compile when one is
/// missing.
macro_rules! each {
    ($kind:ident: $($variant:ident $outlook:ident => $error:expr),+ $(,)?) => {{
        fn is_known(error: &$kind) {
            match error {
                $($kind::$variant { .. } => {}),+
            }
        }
        let all = vec![$(($error, Outlook::$outlook)),+];
        all.iter().for_each(|(error, _)| is_known(error));
        let all = all.into_iter().map(|(error, outlook)| (Error::from(error), outlook));
        all.collect::<Vec<(Error, Outlook)>>()
    }};
}

fn text() -> String {
    "some text".to_owned()
}

fn open() -> Vec<(Error, Outlook)> {
    each!(OpenError:
        Url Engine => OpenError::Url { url: text(), reason: "a".into(), known: "b".into() },
        Option Engine => OpenError::Option { name: "lease", value: 0, min: 1, max: 2 },
        FeatureMissing Engine => OpenError::FeatureMissing { scheme: "nats", feature: "nats" },
        Locked Engine => OpenError::Locked { directory: text(), pid: Some(7) },
        NotACopy Engine => OpenError::NotACopy { directory: text() },
        InsideSource Engine => OpenError::InsideSource { directory: text() },
        Tls Engine => OpenError::Tls { reason: text() },
        Unfit Engine => OpenError::Unfit { server: "s".into(), reason: text(), advice: "c".into() },
        NoServer Engine => OpenError::NoServer { engine: text() },
    )
}

fn append_and_read() -> Vec<(Error, Outlook)> {
    let (topic, key) = (text(), text());
    let zero = Position::ZERO;
    let decode = Codec::Json.decode::<u32>(b"not json").unwrap_err();
    let mut all = each!(AppendError:
        Invalid Content => InvalidEvent::from("no topic".parse::<TopicPattern>().unwrap_err()).into(),
        Conflict Content => AppendError::Conflict {
            topic: topic.clone(), key: key.clone(), expected: None, found: Some(zero),
        },
        VersionRemoved Content => AppendError::VersionRemoved { topic, key, first: zero },
    );
    all.extend(each!(ReadError:
        Topic Content => ReadError::Topic("no topic".parse::<TopicPattern>().unwrap_err()),
        Decode Content => ReadError::Decode(decode),
        Trimmed Engine => ReadError::Trimmed { position: zero, first: zero },
        BeyondEnd Content => ReadError::BeyondEnd { position: zero, end: zero },
        InTheFuture Content => ReadError::InTheFuture {
            at: Timestamp::from_micros(0), now: Timestamp::from_micros(0),
        },
    ));
    all
}

fn group_and_request() -> Vec<(Error, Outlook)> {
    let zero = Position::ZERO;
    let mut all = each!(GroupError:
        Fenced Member => GroupError::Fenced { group: text() },
        Unknown Content => GroupError::unknown(&text(), ["a", "b"]),
        Deleted Content => GroupError::Deleted(text()),
        Subscription Content => GroupError::Subscription { group: text() },
        BeyondEnd Engine => GroupError::BeyondEnd { group: text(), position: zero, end: zero },
        AttemptNumber Content => GroupError::AttemptNumber { group: text(), position: zero, number: 0 },
        HasMembers Content => GroupError::HasMembers { group: text() },
        StateUndecided Content => GroupError::StateUndecided {
            group: text(), cells: 1, again: 2, to: zero,
        },
        NotHandled Passes => GroupError::NotHandled {
            group: text(), position: zero, waited_ms: 1, why: "it is busy",
        },
    );
    all.extend(each!(RequestError:
        Deadline Passes => RequestError::Deadline { event_type: text(), waited_ms: 1 },
        Failed Content => RequestError::Failed(text()),
        NotARequest Content => RequestError::NotARequest { id: text() },
    ));
    all
}

fn aggregate() -> Vec<(Error, Outlook)> {
    let (position, key, aggregate) = (Position::ZERO, text, "account");
    let error = Codec::Json.decode::<u32>(b"not json").unwrap_err();
    each!(AggregateError:
        Contended Passes => AggregateError::Contended { aggregate, key: key(), attempts: 2 },
        OtherVersion Content => AggregateError::OtherVersion {
            aggregate, key: key(), expected: 1, found: 2,
        },
        HistoryRemoved Content => AggregateError::HistoryRemoved { aggregate, key: key(), position },
        Diverged Content => AggregateError::Diverged {
            aggregate, key: key(), position, expected: 2, found: 1,
        },
        UnknownEvent Content => AggregateError::UnknownEvent {
            aggregate, key: key(), event_type: "e".into(), position,
        },
        Undecodable Content => AggregateError::Undecodable { aggregate, key: key(), position, error },
        DecidedByService Content => AggregateError::DecidedByService {
            aggregate, key: key(), service: "s".into(),
        },
        Foreign Content => AggregateError::Foreign {
            aggregate, key: key(), event_type: "e".into(), problem: "p".into(),
        },
    )
}

fn app_and_test() -> Vec<(Error, Outlook)> {
    let service = text();
    let mut all = each!(AppError:
        NoHandlers Content => AppError::NoHandlers { service: text() },
        UnknownService Content => AppError::UnknownService { service: text() },
        ServiceTwice Content => AppError::ServiceTwice { service: text() },
        SameEvents Content => AppError::SameEvents {
            service: text(), first: "a".into(), second: "b".into(),
            events: "c".into(), topics: "d".into(),
        },
        Handler Content => AppError::Handler { service, handler: "h".into(), problem: "p".into() },
        Setting Content => AppError::Setting { name: "workers", of: text(), value: 0, max: 9 },
        Unsupported Content => AppError::Unsupported {
            engine: "e".into(), what: text(), handler: "h".into(),
        },
        ServiceStopped Engine => AppError::ServiceStopped { group: text(), reason: "r".into() },
    );
    let error = io(io::ErrorKind::NotFound).into();
    all.extend(each!(TestError:
        Run Content => TestError::Run { fault: "CrashBefore(1)".into(), good_runs: 1, error },
        Expectation Content => TestError::Expectation(text()),
        Given Content => TestError::Given { event: text(), reason: "r".into() },
        NoHandler Content => TestError::NoHandler {
            service: text(), event: "e".into(), topic: "t".into(),
        },
    ));
    all
}

fn io(kind: io::ErrorKind) -> Error {
    let what = "could not open `x`".to_owned();
    EngineError::Io {
        what,
        reason: kind.into(),
    }
    .into()
}

fn engine_and_limit() -> Vec<(Error, Outlook)> {
    let (directory, server) = (text(), text());
    let mut all = each!(EngineError:
        Closed Engine => EngineError::Closed,
        Stopped Engine => EngineError::Stopped(text()),
        Unavailable Passes => EngineError::Unavailable { server, reason: "r".into() },
        Corrupt Engine => EngineError::Corrupt(text()),
        OwnershipLost Engine => EngineError::OwnershipLost { directory, what: "w".into() },
        ReadOnly Engine => EngineError::ReadOnly { directory: text() },
        DiskFull Passes => EngineError::DiskFull(text()),
        Overtaken Passes => EngineError::Overtaken { what: "a member joined" },
        Encode Content => EngineError::Encode { record: "a record", reason: text() },
        Threads Passes => EngineError::Threads { reason: io::ErrorKind::OutOfMemory.into() },
        Io Passes => EngineError::Io { what: text(), reason: io::ErrorKind::NotFound.into() },
    );
    all.extend(each!(MigrateError:
        Unfit Engine => MigrateError::Unfit { url: text(), found: "f", expected: "e" },
        Nothing Engine => MigrateError::Nothing { url: text() },
        InUse Engine => MigrateError::InUse { url: text(), found: "f".into() },
        Unfinished Engine => MigrateError::Unfinished { url: Some(text()), from: "f".into() },
        Incomplete Engine => MigrateError::Incomplete {
            url: text(), expected: "e".into(), found: "f".into(),
        },
        Differs Engine => MigrateError::Differs { url: text(), expected: "e", found: "f".into() },
        Completed Engine => MigrateError::Completed { url: text() },
    ));
    let limit = LimitError {
        what: text(),
        value: 2,
        limit: "x_max",
        max: 1,
        advice: "use less",
    };
    all.push((limit.into(), Outlook::Content));
    all
}

fn all() -> impl Iterator<Item = (Error, Outlook)> {
    let all = [
        open(),
        append_and_read(),
        group_and_request(),
        aggregate(),
        app_and_test(),
        engine_and_limit(),
    ];
    all.into_iter().flatten()
}

#[test]
fn each_error_says_whether_asking_again_helps() {
    for (error, outlook) in all() {
        assert_eq!(error.outlook(), outlook, "{error:?}");
    }
}

#[test]
fn an_error_and_its_causes_say_nothing_twice() {
    for (error, _) in all() {
        let mut said = vec![error.to_string()];
        let mut next = error.source();
        while let Some(cause) = next {
            said.push(cause.to_string());
            next = cause.source();
        }
        for (at, text) in said.iter().enumerate() {
            assert!(!text.is_empty(), "{error:?}");
            let before = said.iter().take(at);
            let twice = before.filter(|it| it.contains(text.as_str())).count();
            assert_eq!(twice, 0, "{error:?} says more than once: {text}");
        }
    }
}

#[test]
fn what_the_system_answered_is_said_and_can_be_asked_for() {
    let error = io(io::ErrorKind::PermissionDenied);
    assert_eq!(error.to_string(), "could not open `x`: permission denied");
    let Error::Engine(EngineError::Io { reason, .. }) = error else {
        panic!("{error:?}");
    };
    assert_eq!(reason.kind(), io::ErrorKind::PermissionDenied);
}

#[test]
fn an_owner_that_is_not_known_has_no_number() {
    let locked = |pid| OpenError::Locked {
        directory: "d".to_owned(),
        pid,
    };
    assert!(locked(Some(7)).to_string().contains("process 7;"));
    let unknown = locked(None).to_string();
    assert!(unknown.contains("another process"), "{unknown}");
    assert!(
        !unknown.contains(|it: char| it.is_ascii_digit()),
        "{unknown}"
    );
}
