//! The suite of shared logs on a real broker, and what needs none.

mod broker;

use self::broker::{Broker, Form};
use super::appender::parts;
use super::*;
use crate::error::OpenError;
use crate::tests::shared_log_tests;
use crate::time::Timestamp;

shared_log_tests!(kafka, connect);

#[test]
fn no_batch_is_larger_than_it_may_be() {
    let messages: Vec<_> = (0..1000)
        .map(|_| Bytes::from(vec![7; fastrand::usize(..900)]))
        .collect();
    let max = 1000;
    let mut next = 0;
    for part in parts(&messages, max) {
        assert_eq!(part.start, next);
        assert!(!part.is_empty());
        next = part.end;
        let batch = batch::encode(&messages[part], Timestamp::EPOCH);
        assert!(batch.len() <= max, "{} bytes", batch.len());
    }
    assert_eq!(next, messages.len());
}

#[test]
fn options_are_checked() {
    let of = |options: &str| {
        let url = Url::parse(&format!("kafka://h?{options}")).unwrap();
        replication_of(&url)?;
        mechanism_of(&url)
    };
    assert_eq!(of("mechanism=plain").unwrap(), Mechanism::Plain);
    assert_eq!(of("replication=3").unwrap(), Mechanism::ALL[0]);
    for options in ["replication=0", "replication=x", "mechanism=none"] {
        let Err(Error::Open(OpenError::Url { reason, .. })) = of(options) else {
            panic!("{options} is taken");
        };
        assert!(reason.contains("must be"), "{reason}");
    }
}

/// The words of an error that is for good.
fn unfit<T>(outcome: Result<T>) -> String {
    match outcome {
        Err(error @ Error::Open(OpenError::Unfit { .. })) => error.to_string(),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was not refused"),
    }
}

#[tokio::test]
async fn a_broker_that_is_too_old_or_too_new_is_refused_with_what_to_do() {
    for (versions, form, parts) in [
        (0..=3, Form::Compact, ["too old", "upgrade the broker"]),
        (0..=3, Form::Oldest, ["too old", "upgrade the broker"]),
        (9..=13, Form::Compact, ["too new", "upgrade Ensue"]),
    ] {
        let broker = Broker::new().taking(3, Some(versions)).answering(form);
        let said = unfit(connect(broker.start().await).await);
        for part in parts.into_iter().chain(["`Metadata`"]) {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
}

/// A process that only reads needs no more of a broker than what reading asks of it.
#[tokio::test]
async fn a_request_that_a_broker_does_not_take_is_refused_when_it_is_made() {
    for (versions, part) in [
        (Some(0..=0), "too old"),
        (Some(9..=13), "too new"),
        (None, "does not support"),
    ] {
        for (api, name) in [(0, "`Produce`"), (1, "`Fetch`"), (20, "`DeleteTopics`")] {
            let broker = Broker::new().taking(api, versions.clone());
            let log = connect(broker.start().await).await.unwrap();
            let said = match api {
                0 => unfit(log.append(vec![Bytes::from_static(b"message")]).await),
                1 => unfit(log.read(0, 1_000, Duration::ZERO).await),
                _ => unfit(log.remove().await),
            };
            assert!(said.contains(part) && said.contains(name), "{said}");
            assert_eq!(log.end().await.unwrap(), 0);
        }
    }
}

#[tokio::test]
async fn removing_a_log_takes_as_long_as_brokers_show_it() {
    // Beyond the time that one answer may take.
    let times = 2 + (ANSWER.as_millis() / PAUSE.as_millis()) as usize;
    let broker = Broker::new().showing_a_deleted_topic(times);
    let log = connect(broker.start().await).await.unwrap();
    log.remove().await.unwrap();
}
