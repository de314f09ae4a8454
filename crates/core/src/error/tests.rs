use std::error::Error as _;
use std::io;

use super::*;
use crate::event::Codec;
use crate::position::Position;
use crate::time::Timestamp;
use crate::topic::TopicPattern;

/// One error of each variant: does not compile when one is missing.
macro_rules! each {
    ($kind:ident: $($variant:ident => $error:expr),+ $(,)?) => {{
        fn is_known(error: &$kind) {
            match error {
                $($kind::$variant { .. } => {}),+
            }
        }
        let all = vec![$($error),+];
        all.iter().for_each(is_known);
        all.into_iter().map(Error::from).collect::<Vec<_>>()
    }};
}

fn text() -> String {
    "some text".to_owned()
}

fn open() -> Vec<Error> {
    each!(OpenError:
        Url => OpenError::Url { url: text(), reason: "a".into(), known: "b".into() },
        Option => OpenError::Option { name: "lease", value: 0, min: 1, max: 2 },
        FeatureMissing => OpenError::FeatureMissing { scheme: "nats", feature: "nats" },
        Locked => OpenError::Locked { directory: text(), pid: 7 },
        NotACopy => OpenError::NotACopy { directory: text() },
        InsideSource => OpenError::InsideSource { directory: text() },
        Tls => OpenError::Tls { reason: text() },
        Unfit => OpenError::Unfit { server: "s".into(), reason: text(), advice: "c".into() },
        NoServer => OpenError::NoServer { engine: text() },
    )
}

fn append_and_read() -> Vec<Error> {
    let (topic, key) = (text(), text());
    let zero = Position::ZERO;
    let decode = Codec::Json.decode::<u32>(b"not json").unwrap_err();
    let mut all = each!(AppendError:
        Invalid => InvalidEvent::from("no topic".parse::<TopicPattern>().unwrap_err()).into(),
        Conflict => AppendError::Conflict {
            topic: topic.clone(), key: key.clone(), expected: None, found: Some(zero),
        },
        VersionRemoved => AppendError::VersionRemoved { topic, key, first: zero },
    );
    all.extend(each!(ReadError:
        Topic => ReadError::Topic("no topic".parse::<TopicPattern>().unwrap_err()),
        Decode => ReadError::Decode(decode),
        Trimmed => ReadError::Trimmed { position: zero, first: zero },
        BeyondEnd => ReadError::BeyondEnd { position: zero, end: zero },
        InTheFuture => ReadError::InTheFuture {
            at: Timestamp::from_micros(0), now: Timestamp::from_micros(0),
        },
    ));
    all
}

fn group_and_request() -> Vec<Error> {
    let zero = Position::ZERO;
    let mut all = each!(GroupError:
        Fenced => GroupError::Fenced { group: text() },
        Unknown => GroupError::Unknown(text()),
        Deleted => GroupError::Deleted(text()),
        Subscription => GroupError::Subscription { group: text() },
        BeyondEnd => GroupError::BeyondEnd { group: text(), position: zero, end: zero },
        HasMembers => GroupError::HasMembers { group: text() },
        StateUndecided => GroupError::StateUndecided {
            group: text(), cells: 1, again: 2, to: zero,
        },
    );
    all.extend(each!(RequestError:
        Deadline => RequestError::Deadline { kind: text(), waited_ms: 1 },
        Failed => RequestError::Failed(text()),
    ));
    all
}

fn app_and_test() -> Vec<Error> {
    let service = text();
    let mut all = each!(AppError:
        NoHandlers => AppError::NoHandlers { service: text() },
        UnknownService => AppError::UnknownService { service: text() },
        ServiceTwice => AppError::ServiceTwice { service: text() },
        SameEvents => AppError::SameEvents {
            service: text(), first: "a".into(), second: "b".into(),
            events: "c".into(), topics: "d".into(),
        },
        Handler => AppError::Handler { service, handler: "h".into(), problem: "p".into() },
        Setting => AppError::Setting { name: "workers", of: text(), value: 0, max: 9 },
        Unsupported => AppError::Unsupported {
            engine: "e".into(), what: text(), handler: "h".into(),
        },
        ServiceStopped => AppError::ServiceStopped { group: text(), reason: "r".into() },
    );
    let error = Box::new(io(io::ErrorKind::NotFound));
    all.extend(each!(TestError:
        Run => TestError::Run { fault: "CrashBefore(1)".into(), good_runs: 1, error },
        Expectation => TestError::Expectation(text()),
        Given => TestError::Given { event: text(), reason: "r".into() },
        NoHandler => TestError::NoHandler {
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

fn engine_and_limit() -> Vec<Error> {
    let (directory, server) = (text(), text());
    let mut all = each!(EngineError:
        Closed => EngineError::Closed,
        Stopped => EngineError::Stopped(text()),
        Unavailable => EngineError::Unavailable { server, reason: "r".into() },
        Corrupt => EngineError::Corrupt(text()),
        OwnershipLost => EngineError::OwnershipLost { directory, what: "w".into() },
        ReadOnly => EngineError::ReadOnly { directory: text() },
        DiskFull => EngineError::DiskFull(text()),
        Overtaken => EngineError::Overtaken { what: "a member joined" },
        Encode => EngineError::Encode { record: "a record", reason: text() },
        Threads => EngineError::Threads { reason: io::ErrorKind::OutOfMemory.into() },
        Io => EngineError::Io { what: text(), reason: io::ErrorKind::NotFound.into() },
    );
    all.extend(each!(MigrateError:
        Unfit => MigrateError::Unfit(text()),
        Nothing => MigrateError::Nothing { url: text() },
        InUse => MigrateError::InUse(text()),
        Unfinished => MigrateError::Unfinished(text()),
        Differs => MigrateError::Differs(text()),
    ));
    all.push(
        LimitError {
            what: text(),
            value: 2,
            limit: "x_max",
            max: 1,
            advice: "use less",
        }
        .into(),
    );
    all
}

#[test]
fn an_error_and_its_causes_say_nothing_twice() {
    let all = [
        open(),
        append_and_read(),
        group_and_request(),
        app_and_test(),
        engine_and_limit(),
    ];
    for error in all.into_iter().flatten() {
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
