//! The suite of shared logs, on a current server and on the oldest one that is supported; and what
//! NATS alone does.

use async_nats::jetstream;

use super::*;
use crate::error::{EngineError, OpenError};
use crate::tests::{self, Bed, shared_log_tests};

shared_log_tests!(nats, connect);
shared_log_tests!(nats_oldest, connect);

const SERVICE: &str = "nats";

async fn administrator(bed: &Bed) -> jetstream::Context {
    jetstream::new(async_nats::connect(bed.server()).await.unwrap())
}

async fn permissions(log: &dyn SharedLog) -> Finding {
    let findings = log.examine().await.unwrap();
    let mut findings = findings.into_iter();
    findings.find(|it| it.aspect == "permissions").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_can_be_trimmed_and_that_is_no_weakness() {
    tests::shared(SERVICE, nats::open, async |bed| {
        let log = bed.open().await;
        log.append(vec![Bytes::from_static(b"x"); 3]).await.unwrap();
        assert_eq!(permissions(&*log).await.weakens, None);
        let context = administrator(bed).await;
        let stream = format!("ensue-{}", bed.namespace());
        let stream = context.get_stream(stream).await.unwrap();
        assert!(stream.delete_message(1).await.unwrap());
        assert_eq!(log.find(1).await.unwrap(), None);
        stream.purge().await.unwrap();
        assert_eq!(log.find(3).await.unwrap(), None);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_deleted_from_the_middle_is_missed_by_a_process_that_has_read_it() {
    tests::shared(SERVICE, nats::open, async |bed| {
        let log = bed.open().await;
        log.append(vec![Bytes::from_static(b"x"); 5]).await.unwrap();
        let read = log.read(0, 1_000, Duration::from_secs(5)).await.unwrap();
        assert!(!read.is_empty());
        log.check_whole(5).await.unwrap();
        let stream = format!("ensue-{}", bed.namespace());
        let stream = administrator(bed).await.get_stream(stream).await.unwrap();
        assert!(stream.delete_message(3).await.unwrap());
        let error = log.check_whole(5).await.unwrap_err();
        assert!(
            matches!(error, Error::Engine(EngineError::Corrupt(_))),
            "{error}"
        );
        assert!(error.to_string().contains("1 of the 5"), "{error}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_edited_so_that_it_forgets_is_found_out() {
    tests::shared(SERVICE, nats::open, async |bed| {
        let log = bed.open().await;
        log.append(vec![Bytes::from_static(b"x"); 3]).await.unwrap();
        assert!(log.find(3).await.unwrap().is_some());
        let context = administrator(bed).await;
        let stream = format!("ensue-{}", bed.namespace());
        let stream = context.get_stream(stream).await.unwrap();
        let config = stream.cached_info().config.clone();
        let forgetful = Config {
            max_age: std::time::Duration::from_secs(86_400),
            ..config.clone()
        };
        context.update_stream(forgetful).await.unwrap();
        let error = log.find(3).await.unwrap_err();
        assert!(
            matches!(error, Error::Open(OpenError::Unfit { .. })),
            "{error}"
        );
        assert!(
            error.to_string().contains("removes old messages"),
            "{error}"
        );
        // Put right, it is used again.
        context.update_stream(config).await.unwrap();
        assert!(log.find(3).await.unwrap().is_some());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_denies_it_is_used_and_what_follows_is_said() {
    tests::shared(SERVICE, nats::open, async |bed| {
        let context = administrator(bed).await;
        let config = Config {
            name: format!("ensue-{}", bed.namespace()),
            subjects: vec![format!("ensue.{}.log", bed.namespace())],
            deny_delete: true,
            deny_purge: true,
            ..Config::default()
        };
        context.create_stream(config).await.unwrap();
        let log = bed.open().await;
        log.append(vec![Bytes::from_static(b"x")]).await.unwrap();
        let found = permissions(&*log).await;
        assert!(found.found.contains("deny_purge"), "{found:?}");
        assert!(found.weakens.unwrap().contains("never be trimmed"));
        assert!(found.advice.unwrap().contains("ensue migrate"));
    })
    .await;
}
