//! The suite of shared logs on a real broker, and what needs none.

use super::*;
use crate::error::OpenError;
use crate::tests::shared_log_tests;

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
