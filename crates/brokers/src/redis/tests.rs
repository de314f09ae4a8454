//! The shared log on a real Redis.

use ::redis::aio::MultiplexedConnection;

use super::*;
use crate::error::{EngineError, OpenError};
use crate::tests::{self, Bed, PATIENCE, shared_log_tests};

shared_log_tests!(redis, connect);

const SERVICE: &str = "redis";

async fn administrator(bed: &Bed) -> MultiplexedConnection {
    let client = ::redis::Client::open(bed.server()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

async fn tell(administrator: &mut MultiplexedConnection, words: &str) {
    let mut command = Cmd::new();
    for word in words.split(' ') {
        command.arg(word);
    }
    let () = command.query_async(administrator).await.unwrap();
}

async fn refusal(url: &str) -> String {
    match connect(Url::parse(url).unwrap()).await {
        Err(error @ Error::Open(OpenError::Unfit { .. })) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

fn is_unavailable<T>(outcome: &Result<T>) -> bool {
    matches!(outcome, Err(Error::Engine(EngineError::Unavailable { .. })))
}

fn body(text: &'static str) -> Vec<Bytes> {
    vec![Bytes::from_static(text.as_bytes())]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lost_what_was_read_is_found_out() {
    tests::shared(SERVICE, redis::open, async |bed| {
        let (proxy, url) = bed.proxy().await;
        let log = bed.open_at(&url).await;
        for text in ["one", "two", "three"] {
            log.append(body(text)).await.unwrap();
        }
        assert_eq!(log.read(0, 1_000, PATIENCE).await.unwrap().len(), 3);

        // As if its disk had been set back, and others had gone on since.
        let other = bed.open().await;
        other.remove().await.unwrap();
        for text in ["one", "two", "other", "more"] {
            other.append(body(text)).await.unwrap();
        }
        tests::assert_found_out(&*log, &proxy, 4).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_removed_is_not_created_again_by_a_process_that_knew_it() {
    tests::shared(SERVICE, redis::open, async |bed| {
        let log = bed.open().await;
        log.append(vec![Bytes::from_static(b"x"); 10])
            .await
            .unwrap();
        let key = format!("ensue:{{{}}}:log", bed.namespace());
        tell(&mut administrator(bed).await, &format!("DEL {key}")).await;
        let error = log.append(body("late")).await.unwrap_err();
        assert!(
            matches!(error, Error::Engine(EngineError::Corrupt(_))),
            "{error}"
        );
        assert_eq!(log.end().await.unwrap(), 0, "nothing was added");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_a_right_is_told_at_once_which_one() {
    tests::shared(SERVICE, redis::open, async |bed| {
        let user = format!("user_{}", bed.namespace());
        let mut administrator = administrator(bed).await;
        let url = bed
            .url()
            .replace("redis://", &format!("redis://{user}:pw@"));
        for right in ["xadd", "xlen", "eval", "info"] {
            let set = format!("ACL SETUSER {user} reset on >pw ~* &* +@all -{right}");
            tell(&mut administrator, &set).await;
            let error = refusal(&url).await.to_lowercase();
            assert!(error.contains("grant the user"), "{error}");
            assert!(error.contains(right), "{error}");
        }
        tell(
            &mut administrator,
            &format!("ACL SETUSER {user} reset on >pw ~other:* &* +@all"),
        )
        .await;
        let error = refusal(&url).await;
        assert!(error.contains("ensue:*"), "{error}");
        tell(
            &mut administrator,
            &format!("ACL SETUSER {user} reset on >pw ~* &* +@all"),
        )
        .await;
        let elsewhere = url.replace('?', "/9999?");
        let error = refusal(&elsewhere).await;
        assert!(error.contains("number of the database"), "{error}");
        tell(&mut administrator, &format!("ACL DELUSER {user}")).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_is_deleted_is_missed_by_a_process_that_has_read_it() {
    tests::shared(SERVICE, redis::open, async |bed| {
        let key = format!("ensue:{{{}}}:log", bed.namespace());
        for deleted in [1, 3, 5] {
            let log = bed.open().await;
            log.append(vec![Bytes::from_static(b"x"); 5]).await.unwrap();
            assert_eq!(log.read(0, 1_000, PATIENCE).await.unwrap().len(), 5);
            log.check_whole(5).await.unwrap();
            let delete = format!("XDEL {key} {deleted}-0");
            tell(&mut administrator(bed).await, &delete).await;
            let error = log.check_whole(5).await.unwrap_err();
            assert!(
                matches!(error, Error::Engine(EngineError::Corrupt(_))),
                "{error}"
            );
            log.remove().await.unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trimmed_messages_are_missed() {
    tests::shared(SERVICE, redis::open, async |bed| {
        let log = bed.open().await;
        log.append(vec![Bytes::from_static(b"x"); 10])
            .await
            .unwrap();
        let key = format!("ensue:{{{}}}:log", bed.namespace());
        tell(
            &mut administrator(bed).await,
            &format!("XTRIM {key} MAXLEN 5"),
        )
        .await;
        let error = log.read(3, 1_000, PATIENCE).await.unwrap_err();
        assert!(
            matches!(error, Error::Engine(EngineError::Corrupt(_))),
            "{error}"
        );
        assert_eq!(log.read(6, 1_000, PATIENCE).await.unwrap().len(), 5);
    })
    .await;
}

/// What the server writes ahead, as of now.
async fn written(bed: &Bed) -> Vec<u8> {
    let mut administrator = administrator(bed).await;
    let mut place = std::path::PathBuf::new();
    for setting in ["dir", "appenddirname"] {
        let mut get = ::redis::cmd("CONFIG");
        get.arg("GET").arg(setting);
        let (_, value): (String, String) = get.query_async(&mut administrator).await.unwrap();
        place.push(value);
    }
    let files = std::fs::read_dir(place).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let files = files.filter(|file| file.to_string_lossy().ends_with(".incr.aof"));
    // One that was written again meanwhile is gone.
    files.flat_map(std::fs::read).collect::<Vec<_>>().concat()
}

/// Torn transactions cost acknowledged messages: see the module's documentation.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_in_a_transaction() {
    tests::alone(SERVICE, redis::open, async |bed| {
        let log = bed.open().await;
        for number in 0.. {
            let last = format!("{}-{number}", bed.namespace());
            let messages = ["one", "two", last.as_str()].map(|text| text.as_bytes().to_vec());
            log.append(messages.map(Bytes::from).to_vec())
                .await
                .unwrap();
            let written = written(bed).await;
            let has = |text: &[u8]| written.windows(text.len()).any(|part| part == text);
            assert!(!has(b"\r\nMULTI\r\n"));
            if has(last.as_bytes()) {
                break;
            }
            assert!(number < 10, "what was appended is not there");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_unfit_is_refused() {
    tests::alone(SERVICE, redis::open, async |bed| {
        let mut administrator = administrator(bed).await;
        let before: (String, String) = ::redis::cmd("CONFIG")
            .arg("GET")
            .arg("appendfsync")
            .query_async(&mut administrator)
            .await
            .unwrap();

        tell(
            &mut administrator,
            "CONFIG SET maxmemory-policy allkeys-lru",
        )
        .await;
        let evicting = refusal(&bed.url()).await;
        tell(&mut administrator, "CONFIG SET maxmemory-policy noeviction").await;
        assert!(evicting.contains("allkeys-lru"), "{evicting}");

        let log = bed.open().await;
        tell(&mut administrator, "CONFIG SET maxmemory 1000").await;
        let full = log.append(body("full")).await;
        tell(&mut administrator, "CONFIG SET maxmemory 0").await;
        assert!(
            matches!(full, Err(Error::Engine(EngineError::Unavailable { .. }))),
            "{full:?}"
        );
        log.append(body("free")).await.unwrap();

        tell(&mut administrator, "CONFIG SET appendfsync everysec").await;
        let findings = log.examine().await.unwrap();
        let is_durable = log.about().is_durable;
        tell(
            &mut administrator,
            &format!("CONFIG SET appendfsync {}", before.1),
        )
        .await;
        let durability = findings.iter().find(|it| it.aspect == "durability");
        assert!(!is_durable && durability.unwrap().weakens.is_some());

        // As during a failover: over the connection there was, and over a new one.
        tell(&mut administrator, "REPLICAOF 127.0.0.1 1").await;
        let over_the_former = log.append(body("lost")).await;
        tell(&mut administrator, "CLIENT KILL TYPE normal").await;
        let over_a_new_one = log.append(body("lost")).await;
        let opened = connect(Url::parse(&bed.url()).unwrap()).await;
        tell(&mut administrator, "REPLICAOF NO ONE").await;
        assert!(is_unavailable(&over_the_former), "{over_the_former:?}");
        assert!(is_unavailable(&over_a_new_one), "{over_a_new_one:?}");
        let said = opened.unwrap_err().to_string();
        assert!(said.contains("replica"), "{said}");
        log.append(body("back")).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_said_and_not_shown() {
    tests::shared(SERVICE, redis::open, async |bed| {
        let url = bed.url().replace("://", "://bob:hunter2@");
        let error = refusal(&url).await;
        assert!(
            error.contains("user") && !error.contains("hunter2"),
            "{error}"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_are_asked_for_must_be_there() {
    tests::shared(SERVICE, redis::open, async |bed| {
        let log = bed.open_at(&format!("{}&replicas=1", bed.url())).await;
        let error = log.append(body("alone")).await.unwrap_err();
        assert!(error.to_string().contains("0 replicas of 1"), "{error}");
        let findings = log.examine().await.unwrap();
        let replication = findings.iter().find(|it| it.aspect == "replication");
        assert!(replication.unwrap().weakens.is_some());
    })
    .await;
}

#[tokio::test]
async fn a_wrong_url_is_refused() {
    for (url, part) in [
        ("redis://h?replicas=many", "`replicas`"),
        ("redis://h?replicas=65", "`replicas`"),
        ("redis://h/first", "not the number of a database"),
    ] {
        let error = connect(Url::parse(url).unwrap()).await.unwrap_err();
        assert!(error.to_string().contains(part), "{url}: {error}");
    }
}
