//! One process at a time writes the report. What it writes is guarded: a writer that was paused, and comes back
//! when another one has the lock, is refused.
//!
//! `cargo run -p ensue-blocks --features log --example 15_lock`

use std::time::Duration;

use ensue::prelude::*;
use ensue_blocks::lock::{Lock, LockError, Locks, LogLocks};

#[derive(Event, Serialize, Deserialize)]
#[event(type = "report.written", topic = "reports", key = 0)]
struct ReportWritten(String);

/// Appends the report if the lock is held, at its place in the log.
async fn write(guard: &LogLocks, lock: &Lock, text: &str) -> Result<(), LockError> {
    let report = Outgoing::new(ReportWritten(text.to_owned()));
    guard.append(lock, [report]).await?;
    println!("{text}");
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // On nats://…, kafka://…, postgres://… these are the locks of all processes.
    let engine = Engine::open("memory:").await?;
    let guard = LogLocks::new(&engine);
    let locks = Locks::new(guard.clone());

    let first = locks.acquire("report", Duration::from_secs(5)).await?;
    write(&guard, &first, "the first holder writes").await?;
    if locks.try_acquire("report").await?.is_none() {
        println!("no one else gets the lock meanwhile");
    }

    // As if the first holder had been paused for longer than its lease: the lock is free, and it does not know.
    let paused = first.token();
    let end_of_lease = Envelope::builder("locks", "lock.expired").key("report");
    engine.publish(Outgoing::raw(end_of_lease)).await?;
    let second = locks.acquire("report", Duration::from_secs(5)).await?;
    println!(
        "a second holder has a larger token: {}",
        paused < second.token()
    );
    match write(&guard, &first, "the first holder comes back").await {
        Err(LockError::Fenced { .. }) => println!("the first holder is refused"),
        other => other?,
    }
    write(&guard, &second, "the second holder writes").await?;
    second.release().await?;
    Ok(())
}
