//! The suite that every shared log passes, against the real server.
//!
//! `ENSUE_SERVICES` names a JSON file with the servers, as `cargo xtask services status --json`
//! prints it. An engine runs the suite with one line in its tests:
//! `shared_log_tests!(redis, connect);`, where `redis` is the server's name in that file (`_`
//! stands for `-`).
//!
//! Tests of one server share it; those that kill it have it for themselves, within one process.

mod appender;
mod conformance;
mod encrypted;
mod faults;
mod proxy;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use servers::Running;
use tokio::sync::RwLock;

use self::appender::Appender;
pub(crate) use self::proxy::Proxy;
pub(crate) use self::{conformance::*, encrypted::*, faults::*};
use crate::engine::Url;
use crate::error::{EngineError, Error, Result};
use crate::shared_log::{Message, SharedLog};

/// How long a server may take to come back.
const RETURN: Duration = Duration::from_secs(600);
/// How long a call may take beyond its patience: the contract's five seconds, and what a busy
/// machine adds.
const CALL: Duration = Duration::from_secs(40);
const READ_BYTES_MAX: usize = 1024 * 1024;

/// How long a test lets a log wait for a message.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) type Connect = fn(Url) -> BoxFuture<'static, Result<Arc<dyn SharedLog>>>;

/// Makes one module with all tests of an engine.
macro_rules! shared_log_tests {
    ($service:ident, $connect:path) => {
        mod $service {
            use super::*;
            use $crate::tests;

            const SERVICE: &str = stringify!($service);

            pub(super) fn open(
                url: $crate::engine::Url,
            ) -> futures_util::future::BoxFuture<
                'static,
                $crate::error::Result<std::sync::Arc<dyn $crate::shared_log::SharedLog>>,
            > {
                Box::pin($connect(url))
            }

            $crate::tests::shared_log_tests!(@each shared [
                many_append_and_one_reads_along
                one_append_of_many
                messages_at_the_limit
                a_message_over_the_limit_is_refused_before_it_is_sent
                reading_from_any_sequence_number
                a_read_holds_no_more_than_it_may
                patience_is_kept_and_ended_by_a_message
                the_end_is_right
                an_empty_log
                namespaces_are_apart
                a_closed_log_is_opened_again
                futures_may_be_dropped
                a_fresh_process_reads_all
                a_removed_log_is_gone
                a_log_that_another_took_the_place_of_is_noticed
                what_is_found_is_said
                encrypted_connections_are_checked
                a_server_without_encryption_is_refused
                connections_are_cut_and_delayed
                a_server_that_says_nothing
            ]);
            $crate::tests::shared_log_tests!(@each alone [
                the_server_is_killed
            ]);
        }
    };
    (@each $access:ident [$($test:ident)*]) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            tests::$access(SERVICE, open, tests::$test).await;
        }
    )*};
}
pub(crate) use shared_log_tests;

type Locks = Mutex<HashMap<String, Arc<RwLock<()>>>>;

/// Who uses which server: a test that kills one waits for all others.
static LOCKS: LazyLock<Locks> = LazyLock::new(Locks::default);

fn lock(service: &Running) -> Arc<RwLock<()>> {
    let mut locks = LOCKS.lock().unwrap();
    locks.entry(service.name.clone()).or_default().clone()
}

/// Runs a test that shares the server with others.
pub(crate) async fn shared(service: &str, connect: Connect, test: impl AsyncFn(&Bed)) {
    let Some(service) = Running::find(service) else {
        return;
    };
    let lock = lock(&service);
    let _shared = lock.read().await;
    run(service, connect, test).await;
}

/// Runs a test that has the server for itself.
pub(crate) async fn alone(service: &str, connect: Connect, test: impl AsyncFn(&Bed)) {
    let Some(service) = Running::find(service) else {
        return;
    };
    let lock = lock(&service);
    let _alone = lock.write().await;
    run(service, connect, test).await;
}

async fn run(service: Running, connect: Connect, test: impl AsyncFn(&Bed)) {
    let bed = Bed {
        service,
        connect,
        namespace: format!("test_{:016x}", fastrand::u64(..)),
    };
    test(&bed).await;
    bed.open().await.remove().await.unwrap();
}

/// A server, and a log on it that no other test knows.
pub(crate) struct Bed {
    service: Running,
    connect: Connect,
    namespace: String,
}

impl Bed {
    pub(crate) fn url(&self) -> String {
        self.service.namespace(&self.namespace)
    }

    /// The server alone.
    pub(crate) fn server(&self) -> &str {
        &self.service.url
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The log as another process sees it, as soon as the server is there.
    pub(crate) async fn open(&self) -> Arc<dyn SharedLog> {
        self.open_at(&self.url()).await
    }

    pub(crate) async fn open_at(&self, url: &str) -> Arc<dyn SharedLog> {
        answered(|| (self.connect)(Url::parse(url).unwrap())).await
    }

    /// The server, behind what the test does to its connections.
    pub(crate) async fn proxy(&self) -> (Proxy, String) {
        let address = self.service.address();
        let proxy = Proxy::start(address.clone()).await;
        let url = self.url().replace(&address, &proxy.address());
        (proxy, url)
    }
}

/// What callers do between attempts.
async fn pause() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

/// A call, which does not take longer than it may.
async fn timely<T>(patience: Duration, call: BoxFuture<'_, T>) -> T {
    tokio::time::timeout(patience + CALL, call)
        .await
        .expect("a call took longer than it may")
}

/// Reads on from `from` over connections that are cut until the log finds out that the server has
/// lost what was read.
pub(crate) async fn assert_found_out(log: &dyn SharedLog, proxy: &Proxy, from: u64) {
    proxy.cut();
    let error = loop {
        match log.read(from, 1_000, PATIENCE).await {
            Err(Error::Engine(EngineError::Unavailable { .. })) => {}
            Err(error) => break error,
            // It came before the connection was seen to be cut.
            Ok(_) => proxy.cut(),
        }
    };
    assert!(
        matches!(error, Error::Engine(EngineError::Corrupt(_))),
        "{error}"
    );
}

/// What a call that changes nothing gives, as soon as the server answers: a busy machine may need
/// longer than the log waits.
async fn answered<'a, T>(call: impl Fn() -> BoxFuture<'a, Result<T, Error>>) -> T {
    let began = Instant::now();
    loop {
        match call().await {
            Ok(answer) => return answer,
            Err(Error::Engine(EngineError::Unavailable { .. })) if began.elapsed() < RETURN => {
                pause().await
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Appends one message, once: one that was not acknowledged may be there.
pub(crate) async fn append_one(log: &dyn SharedLog, body: bytes::Bytes) {
    let end = answered(|| log.end()).await;
    let began = Instant::now();
    loop {
        match log.append(vec![body.clone()]).await {
            Ok(()) => return,
            Err(Error::Engine(EngineError::Unavailable { .. })) if began.elapsed() < RETURN => {
                pause().await
            }
            Err(error) => panic!("{error}"),
        }
        if answered(|| log.end()).await > end {
            return;
        }
    }
}

/// All messages from `from` on, as one who starts now reads them.
async fn all_from(log: &dyn SharedLog, from: u64) -> Vec<Message> {
    let end = answered(|| log.end()).await;
    let mut all = Vec::new();
    let mut next = from;
    while next < end {
        let part = answered(|| log.read(next, READ_BYTES_MAX, CALL)).await;
        next = take(&mut all, part, next);
    }
    all
}

/// Adds what was read, which must not be behind `from`; says from where to read on.
fn take(all: &mut Vec<Message>, part: Vec<Message>, from: u64) -> u64 {
    let mut next = from;
    for message in part {
        assert!(
            message.sequence >= next,
            "{} came after {next} was due",
            message.sequence
        );
        next = message.sequence + 1;
        all.push(message);
    }
    next
}
