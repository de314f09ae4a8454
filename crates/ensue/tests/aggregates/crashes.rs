//! A process that dies in the middle of deciding.

use ensue::prelude::*;
use ensue::testing::{Fault, TestApp};

use super::account::{Account, Deposited, Noted, fold};

/// Deposits one after the other, each with an id; goes on where it was after a crash.
async fn deposit_all(app: &TestApp) -> Result<(), ensue::Error> {
    let accounts = app.engine().aggregates::<Account>("/bank");
    for number in 0..12 {
        let deposit = accounts.of("a").once(format!("d{number}"));
        let Ok(_) = deposit.decide(|_| Deposited { cents: 1 << number }).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_before_or_behind_any_append_decides_each_once() {
    for step in 1..=14 {
        for fault in [Fault::CrashBefore(step), Fault::CrashAfter(step)] {
            let build = |app: App| app.on("any", async |_: Noted| {});
            let mut app = TestApp::start_with(fault, build).await.unwrap();
            if deposit_all(&app).await.is_err() {
                assert!(app.chaos().is_dead(), "{fault:?}");
                app.crash().await.unwrap();
                deposit_all(&app).await.unwrap();
            }
            assert_eq!(
                fold(&app.engine(), "a").await,
                ((1 << 12) - 1, 12),
                "{fault:?}"
            );
        }
    }
}
