//! Locks on real servers: one holder at a time, in two processes; holders that stop, give up, or are paused; and
//! servers that are killed.
//!
//! `ENSUE_SERVICES` names the servers, as in the tests of the engines.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking"
)]

mod guards;
mod holding;
mod kept;
mod processes;
mod servers_killed;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use servers::Running;
use tokio::sync::RwLock;

use self::kept::Kept;

type Access = Mutex<HashMap<String, Arc<RwLock<()>>>>;

/// Who uses which server: a test that kills one waits for all others.
static ACCESS: LazyLock<Access> = LazyLock::new(Access::default);

fn access(server: &Running) -> Arc<RwLock<()>> {
    let mut all = ACCESS.lock().unwrap();
    all.entry(server.name.clone()).or_default().clone()
}

/// Runs a test on locks that are kept as `kind` says, if its server is there.
async fn shared(kind: &'static str, test: impl AsyncFn(&Kept)) {
    let Some(server) = Running::find(Kept::server_of(kind)) else {
        return;
    };
    let access = access(&server);
    let _shared = access.read().await;
    test(&Kept::on(kind, &server)).await;
}

/// Runs a test that has the server for itself.
async fn alone(kind: &'static str, test: impl AsyncFn(&Kept, &Running)) {
    let Some(server) = Running::find(Kept::server_of(kind)) else {
        return;
    };
    let access = access(&server);
    let _alone = access.write().await;
    test(&Kept::on(kind, &server), &server).await;
}

/// Makes one module with all tests of a keeper.
macro_rules! lock_tests {
    ($kind:ident) => {
        mod $kind {
            use super::*;

            lock_tests!(@each $kind shared [
                holding::one_holds_it_at_a_time_and_tokens_grow
                holding::a_lock_outlives_its_lease_while_it_is_held
                holding::a_drop_releases
                holding::who_gives_up_waiting_leaves_nothing_behind
                holding::a_deadline_is_kept
                holding::names_are_apart
                guards::a_guard_lets_the_holder_alone_write
                processes::two_processes_race_and_never_hold_it_at_once
                processes::a_holder_that_was_paused_cannot_write
                processes::a_holder_that_was_killed_is_succeeded
                processes::one_leads_at_a_time_and_another_takes_over
            ]);
            lock_tests!(@each $kind alone [
                servers_killed::a_lock_survives_a_server_that_comes_back_and_not_one_that_stays_away
            ]);
        }
    };
    (@each $kind:ident $access:ident [$($room:ident :: $test:ident)*]) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            $access(stringify!($kind), $room::$test).await;
        }
    )*};
}

lock_tests!(log);
lock_tests!(redis);
lock_tests!(postgres);
lock_tests!(etcd);
lock_tests!(zookeeper);

/// Those that have a line.
macro_rules! in_order {
    ($($kind:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $kind() {
            shared(stringify!($kind), holding::who_has_waited_longest_is_next).await;
        }
    )*};
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guarded_transaction_blocks_no_one_and_keeps_the_lock() {
    shared(
        "postgres",
        guards::a_guarded_transaction_blocks_no_one_and_keeps_the_lock,
    )
    .await;
}

mod in_order {
    use super::*;

    in_order!(etcd zookeeper);
}
