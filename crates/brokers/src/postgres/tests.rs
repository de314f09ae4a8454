//! The shared log on a real PostgreSQL.

#[cfg(target_os = "linux")]
mod pooler;

use tokio_postgres::NoTls;

use super::*;
use crate::error::{EngineError, OpenError};
use crate::tests::{self, Bed, PATIENCE, shared_log_tests};

shared_log_tests!(postgres, connect);

const SERVICE: &str = "postgres";

async fn tell(bed: &Bed, statements: &str) {
    let connected = tokio_postgres::connect(bed.server(), NoTls).await;
    let (client, connection) = connected.unwrap();
    let driver = tokio::spawn(connection);
    client.batch_execute(statements).await.unwrap();
    drop(client);
    driver.await.unwrap().unwrap();
}

async fn refusal(url: &str) -> String {
    match connect(Url::parse(url).unwrap()).await {
        Err(error @ Error::Open(OpenError::Unfit { .. })) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

/// The same log, as another user or in another database.
fn elsewhere(bed: &Bed, login: &str, database: &str) -> String {
    let url = bed.url();
    let (_, place) = url.rsplit_once('@').unwrap();
    let (address, _) = place.split_once('/').unwrap();
    let namespace = bed.namespace();
    format!("postgres://{login}@{address}/{database}?namespace={namespace}")
}

fn database(bed: &Bed) -> String {
    let (_, path) = bed.server().rsplit_once('/').unwrap();
    path.split('?').next().unwrap().to_owned()
}

fn body(text: &'static str) -> Vec<Bytes> {
    vec![Bytes::from_static(text.as_bytes())]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lost_what_was_read_is_found_out() {
    tests::shared(SERVICE, postgres::open, async |bed| {
        let (proxy, url) = bed.proxy().await;
        let log = bed.open_at(&url).await;
        for text in ["one", "two", "three"] {
            tests::append_one(&*log, Bytes::from_static(text.as_bytes())).await;
        }
        assert_eq!(log.read(0, 1_000, PATIENCE).await.unwrap().len(), 3);

        // As after a failover to a standby that was behind, and others have gone on since.
        let name = format!("ensue_{}", bed.namespace());
        let lose = format!(
            "DELETE FROM \"{name}_log\" WHERE sequence > 2; UPDATE \"{name}_end\" SET last = 2"
        );
        tell(bed, &lose).await;
        let other = bed.open().await;
        other.append(body("other")).await.unwrap();
        other.append(body("more")).await.unwrap();
        tests::assert_found_out(&*log, &proxy, 4).await;
    })
    .await;
}

/// As after the restore of an older dump, under processes that stay connected.
#[tokio::test(flavor = "multi_thread")]
async fn tables_that_were_emptied_take_nothing_from_a_process_that_knew_more() {
    tests::shared(SERVICE, postgres::open, async |bed| {
        let log = bed.open().await;
        log.append(vec![Bytes::from_static(b"x"); 10])
            .await
            .unwrap();
        let name = format!("ensue_{}", bed.namespace());
        let empty = format!("TRUNCATE \"{name}_log\"; UPDATE \"{name}_end\" SET last = 0");
        tell(bed, &empty).await;
        let error = log.append(body("late")).await.unwrap_err();
        assert!(
            matches!(error, Error::Engine(EngineError::Corrupt(_))),
            "{error}"
        );
        assert_eq!(log.end().await.unwrap(), 0, "nothing was added");
        assert_eq!(log.find(10).await.unwrap(), None);

        tell(bed, &format!("DROP TABLE \"{name}_log\", \"{name}_end\"")).await;
        for _ in 0..2 {
            let error = log.append(body("later")).await.unwrap_err();
            assert!(
                matches!(error, Error::Engine(EngineError::Corrupt(_))),
                "{error}"
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_deleted_is_missed_by_a_process_that_has_read_it() {
    const ROWS: u64 = 3 * COUNTED_MAX;
    tests::shared(SERVICE, postgres::open, async |bed| {
        let log = bed.open().await;
        let messages = vec![Bytes::from_static(b"x"); ROWS as usize];
        log.append(messages).await.unwrap();
        for _ in 0..8 {
            log.check_whole(ROWS).await.unwrap();
        }
        // In the last part of a round.
        let name = format!("ensue_{}", bed.namespace());
        let delete = format!("DELETE FROM \"{name}_log\" WHERE sequence = {}", ROWS - 1);
        tell(bed, &delete).await;
        let mut looks = 1..;
        let error = loop {
            let looked = log.check_whole(ROWS).await;
            if let Err(error) = looked {
                break error;
            }
            assert!(looks.next().unwrap() < 3, "a round of looks missed it");
        };
        assert!(
            matches!(error, Error::Engine(EngineError::Corrupt(_))),
            "{error}"
        );
        assert!(error.to_string().contains("1 of those from"), "{error}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_did_to_the_tables_is_found_out() {
    tests::shared(SERVICE, postgres::open, async |bed| {
        let log = bed.open().await;
        log.append(vec![Bytes::from_static(b"x"); 10])
            .await
            .unwrap();
        let name = format!("ensue_{}", bed.namespace());
        tell(
            bed,
            &format!("DELETE FROM \"{name}_log\" WHERE sequence < 6"),
        )
        .await;
        let error = log.read(3, 1_000, PATIENCE).await.unwrap_err();
        assert!(
            matches!(error, Error::Engine(EngineError::Corrupt(_))),
            "{error}"
        );

        tell(bed, &format!("UPDATE \"{name}_end\" SET last = 7")).await;
        let error = log.append(body("again")).await.unwrap_err();
        assert!(
            matches!(error, Error::Engine(EngineError::Corrupt(_))),
            "{error}"
        );

        tell(bed, &format!("DELETE FROM \"{name}_end\"")).await;
        let error = log.append(body("nowhere")).await.unwrap_err();
        assert!(
            matches!(error, Error::Engine(EngineError::Corrupt(_))),
            "{error}"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_rights_is_told_what_to_do() {
    tests::shared(SERVICE, postgres::open, async |bed| {
        let user = format!("user_{}", bed.namespace());
        tell(
            bed,
            &format!(
                "REVOKE CREATE ON SCHEMA public FROM PUBLIC; \
                 CREATE ROLE {user} LOGIN PASSWORD 'hunter2'"
            ),
        )
        .await;
        let here = elsewhere(bed, &format!("{user}:hunter2"), &database(bed));
        let error = refusal(&here).await;
        assert!(error.contains("grant the user"), "{error}");

        // Tables that others made will do.
        let log = bed.open().await;
        let name = format!("ensue_{}", bed.namespace());
        let grant = format!(
            "GRANT SELECT, INSERT ON \"{name}_log\" TO {user}; \
             GRANT SELECT, UPDATE ON \"{name}_end\" TO {user}"
        );
        tell(bed, &grant).await;
        let theirs = bed.open_at(&here).await;
        theirs.append(body("theirs")).await.unwrap();
        assert_eq!(log.end().await.unwrap(), 2);

        let read_only = format!("ALTER ROLE {user} SET default_transaction_read_only = on");
        tell(bed, &read_only).await;
        let error = refusal(&here).await;
        assert!(error.contains("read-only"), "{error}");

        let error = refusal(&elsewhere(bed, &format!("{user}:hunter3"), &database(bed))).await;
        assert!(
            error.contains("password") && !error.contains("hunter3"),
            "{error}"
        );
        let error = refusal(&elsewhere(bed, &format!("{user}:hunter2"), "nowhere")).await;
        assert!(error.contains("CREATE DATABASE"), "{error}");
        theirs.close().await;
        tell(bed, &format!("DROP OWNED BY {user}; DROP ROLE {user}")).await;
    })
    .await;
}

/// Its own sessions commit to disk, whatever the server's default is.
#[tokio::test(flavor = "multi_thread")]
async fn asynchronous_commit_is_not_for_a_log() {
    tests::shared(SERVICE, postgres::open, async |bed| {
        let user = format!("hasty_{}", bed.namespace());
        tell(
            bed,
            &format!(
                "CREATE ROLE {user} LOGIN SUPERUSER PASSWORD 'x'; \
                 ALTER ROLE {user} SET synchronous_commit = off"
            ),
        )
        .await;
        let log = bed
            .open_at(&elsewhere(bed, &format!("{user}:x"), &database(bed)))
            .await;
        let findings = log.examine().await.unwrap();
        let durability = findings
            .iter()
            .find(|it| it.aspect == "durability")
            .unwrap();
        assert!(
            durability.found.contains("set to `local`"),
            "{durability:?}"
        );
        log.remove().await.unwrap();
        log.close().await;
        tell(bed, &format!("DROP ROLE {user}")).await;
    })
    .await;
}

#[tokio::test]
async fn a_wrong_url_is_refused() {
    let long = "n".repeat(54);
    for (url, part) in [
        ("postgres://h/d".to_owned(), "names no user"),
        (
            format!("postgres://u@h/d?namespace={long}"),
            "1 bytes too long",
        ),
    ] {
        let error = connect(Url::parse(&url).unwrap()).await.unwrap_err();
        assert!(error.to_string().contains(part), "{url}: {error}");
    }
}
