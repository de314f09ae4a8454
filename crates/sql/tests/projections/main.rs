//! Projections: whatever happens, the tables are what the events in the log make of them.
//!
//! SQLite is a file; PostgreSQL and MariaDB are the servers in the file that `ENSUE_SERVICES` names, as `cargo
//! xtask services status --json` prints it.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod accounts;
mod applying;
mod database;
mod failing;
mod owning;
mod restoring;
mod stage;
mod versions;

/// Each test on every database.
macro_rules! on {
    ($($room:ident: $($test:ident)+;)+) => {
        mod sqlite {$($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                if let Some(stage) = crate::stage::Stage::<sqlx::Sqlite>::set().await {
                    crate::$room::$test(stage).await;
                }
            }
        )+)+}

        mod postgres {$($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                if let Some(stage) = crate::stage::Stage::<sqlx::Postgres>::set().await {
                    crate::$room::$test(stage).await;
                }
            }
        )+)+}

        mod mariadb {$($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                if let Some(stage) = crate::stage::Stage::<sqlx::MySql>::set().await {
                    crate::$room::$test(stage).await;
                }
            }
        )+)+}
    };
}

on! {
    applying:
        tables_are_what_the_log_makes_of_them
        many_lanes_keep_the_order_of_each_key
        a_projection_goes_on_where_its_database_is
        a_group_that_is_moved_back_applies_nothing_twice;
    failing:
        what_cannot_be_applied_is_a_dead_letter_and_the_rest_commits
        a_failure_that_passes_leaves_no_trace
        a_transaction_that_the_database_has_undone_is_tried_again
        a_statement_without_end_is_ended
        what_cannot_be_decoded_is_a_dead_letter_at_once
        what_is_discarded_holds_up_its_key_no_more;
    owning:
        of_two_owners_one_applies_each_event
        an_owner_that_was_replaced_cannot_commit;
    restoring:
        a_database_that_was_put_back_catches_up
        a_letter_that_was_redriven_before_the_backup_is_handled_again
        another_log_is_refused;
    versions:
        a_version_is_built_beside_compared_switched_to_and_back
        versions_are_compared_at_one_position_while_events_come
        several_who_compare_do_not_let_go_of_each_other
        new_code_builds_beside_what_is_read;
}

// Not on MariaDB: there sqlx's pool waits for ever for a connection whose statement was dropped half-way.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comparison_that_is_dropped_leaves_no_transaction_in_sqlite() {
    if let Some(stage) = stage::Stage::<sqlx::Sqlite>::set().await {
        versions::a_comparison_that_is_dropped_leaves_no_transaction(stage).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comparison_that_is_dropped_leaves_no_transaction_in_postgres() {
    if let Some(stage) = stage::Stage::<sqlx::Postgres>::set().await {
        versions::a_comparison_that_is_dropped_leaves_no_transaction(stage).await;
    }
}
