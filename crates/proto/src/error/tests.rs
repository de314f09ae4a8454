use std::io;
use std::mem::discriminant;

use ensue_core::error::{
    AppError, AppendError, GroupError, LimitError, OpenError, ReadError, RequestError,
};
use ensue_core::{InvalidEvent, Position, Timestamp, TopicPattern};

use super::*;

fn text() -> String {
    "some text".to_owned()
}

fn at(number: u64) -> Position {
    Position::new(number)
}

/// One of each kind that an operation of an engine reports; does not compile when one is missing.
macro_rules! each {
    ($kind:ident: $($variant:ident => $error:expr),+ $(,)?) => {{
        fn is_known(error: &$kind) {
            match error {
                $($kind::$variant { .. } => {})+
                _ => {}
            }
        }
        let all = vec![$($error),+];
        all.iter().for_each(is_known);
        all.into_iter().map(Error::from).collect::<Vec<Error>>()
    }};
}

fn engine() -> Vec<Error> {
    let reason = || io::Error::other("no room");
    each!(EngineError:
        Closed => EngineError::Closed,
        Stopped => EngineError::Stopped(text()),
        Unavailable => EngineError::Unavailable { server: text(), reason: "away".into() },
        Corrupt => EngineError::Corrupt(text()),
        OwnershipLost => EngineError::OwnershipLost { directory: text(), what: "gone".into() },
        ReadOnly => EngineError::ReadOnly { directory: text() },
        DiskFull => EngineError::DiskFull(text()),
        Overtaken => EngineError::Overtaken { what: "a group" },
        Encode => EngineError::Encode { record: "a commit", reason: text() },
        Threads => EngineError::Threads { reason: reason() },
        Io => EngineError::Io { what: text(), reason: reason() },
    )
}

fn group() -> Vec<Error> {
    let group = text;
    each!(GroupError:
        Fenced => GroupError::Fenced { group: group() },
        Unknown => GroupError::Unknown { group: group(), known: vec!["a".into(), "größe".into()] },
        Deleted => GroupError::Deleted(group()),
        Subscription => GroupError::Subscription { group: String::new() },
        BeyondEnd => GroupError::BeyondEnd { group: group(), position: at(9), end: at(4) },
        AttemptNumber => GroupError::AttemptNumber { group: group(), position: at(3), number: u32::MAX },
        HasMembers => GroupError::HasMembers { group: group() },
        StateUndecided => GroupError::StateUndecided { group: group(), cells: 3, again: 4, to: at(5) },
    )
}

fn append_and_read() -> Vec<Error> {
    let (topic, key) = (text(), "k".to_owned());
    let mut all = each!(AppendError:
        Conflict => AppendError::Conflict {
            topic: topic.clone(), key: key.clone(), expected: None, found: Some(at(7)),
        },
        VersionRemoved => AppendError::VersionRemoved { topic, key, first: at(8) },
        Invalid => InvalidEvent::ReservedTopic("_audit".into()).into(),
    );
    all.extend(each!(ReadError:
        Trimmed => ReadError::Trimmed { position: at(1), first: at(2) },
        BeyondEnd => ReadError::BeyondEnd { position: at(3), end: at(2) },
        InTheFuture => ReadError::InTheFuture {
            at: Timestamp::from_micros(9), now: Timestamp::from_micros(-8),
        },
    ));
    all.extend(
        events()
            .into_iter()
            .map(|event| AppendError::from(event).into()),
    );
    all.push(Error::Limit(LimitError {
        what: "the number of events".into(),
        value: 9,
        limit: "APPEND_EVENTS_MAX",
        max: 8,
        advice: "send less",
    }));
    all
}

fn events() -> Vec<InvalidEvent> {
    vec![
        InvalidEvent::Missing("type"),
        InvalidEvent::Attribute {
            name: "source".into(),
            problem: "is no URI".into(),
        },
        InvalidEvent::TooLarge {
            what: "key",
            bytes: 900,
            bytes_max: 512,
            advice: "shorter",
        },
        InvalidEvent::ExtensionName("A b".into()),
        InvalidEvent::ExtensionIsAttribute("time".into()),
    ]
}

/// What an error is, however deep its kind is told.
fn kind(error: &Error) -> String {
    let inner = match error {
        Error::Append(AppendError::Invalid(error)) => format!("{:?}", discriminant(error)),
        Error::Append(error) => format!("{:?}", discriminant(error)),
        Error::Read(error) => format!("{:?}", discriminant(error)),
        Error::Group(error) => format!("{:?}", discriminant(error)),
        Error::Engine(error) => format!("{:?}", discriminant(error)),
        _ => String::new(),
    };
    format!("{:?} {inner}", discriminant(error))
}

#[test]
fn an_error_arrives_as_what_it_was_with_all_that_it_said() {
    for error in [engine(), group(), append_and_read()].concat_errors() {
        let detail = detail_of(&error);
        for read in [
            error_of(&detail, "host:1"),
            error_of_status(&status_of(&error), "host:1"),
        ] {
            assert_eq!(kind(&read), kind(&error), "{error}");
            assert_eq!(read.to_string(), error.to_string());
            assert_eq!(read.outlook(), error.outlook());
        }
    }
}

trait Concat {
    fn concat_errors(self) -> Vec<Error>;
}

impl<const N: usize> Concat for [Vec<Error>; N] {
    fn concat_errors(self) -> Vec<Error> {
        self.into_iter().flatten().collect()
    }
}

#[test]
fn what_no_operation_of_an_engine_reports_arrives_as_what_the_server_said() {
    let topic = "no topic".parse::<TopicPattern>().unwrap_err();
    for error in [
        Error::from(ReadError::Topic(topic)),
        RequestError::Failed(text()).into(),
        OpenError::NotACopy { directory: text() }.into(),
        AppError::NoHandlers { service: text() }.into(),
    ] {
        let read = error_of_status(&status_of(&error), "host:1").to_string();
        assert!(
            read.contains("host:1") && read.contains(&error.to_string()),
            "{read}"
        );
    }
}

#[test]
fn what_the_server_itself_refuses_says_whether_asking_again_helps() {
    use ensue_core::error::Outlook;
    for (code, outlook) in [
        ("unauthenticated", Outlook::Engine),
        ("forbidden", Outlook::Content),
        ("reason_required", Outlook::Content),
        ("overloaded", Outlook::Passes),
        ("timeout", Outlook::Passes),
        ("of_a_newer_server", Outlook::Passes),
    ] {
        let detail = ErrorDetail {
            code: code.into(),
            message: text(),
            ..ErrorDetail::default()
        };
        let error = error_of(&detail, "host:1");
        assert_eq!(error.outlook(), outlook, "{code}");
        assert!(error.to_string().contains("some text"), "{error}");
    }
}

#[test]
fn a_status_without_a_detail_says_whether_the_server_is_away() {
    let away = error_of_status(&Status::unavailable("connection reset"), "host:1");
    assert!(
        matches!(away, Error::Engine(EngineError::Unavailable { .. })),
        "{away}"
    );
    let other = error_of_status(&Status::unimplemented("no such method"), "host:1");
    assert!(
        matches!(other, Error::Engine(EngineError::Io { .. })),
        "{other}"
    );
    assert!(other.to_string().contains("no such method"), "{other}");
}

#[test]
fn a_status_is_never_longer_than_the_head_of_an_answer_may_be() {
    let known = (0..16).map(|n| format!("{n:0255}")).collect();
    let error = Error::Group(GroupError::Unknown {
        group: "g".repeat(255),
        known,
    });
    let status = status_of(&error);
    assert!(status.message().len() < 4_000);
    assert!(status.details().len() < 5_000, "{}", status.details().len());
    let read = error_of_status(&status, "host:1");
    assert!(
        matches!(read, Error::Group(GroupError::Unknown { .. })),
        "{read}"
    );
}
