//! A process that is asked twice to stop stops at once.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]
#![cfg(unix)]

use std::process::Command;
use std::time::{Duration, Instant};

use ensue::prelude::*;
use tokio::sync::mpsc;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "thing.happened", topic = "things")]
struct Thing {}

fn terminate() {
    let pid = std::process::id().to_string();
    let sent = Command::new("kill").args(["-TERM", &pid]).status();
    assert!(sent.unwrap().success());
}

// The only test of its process: signals are the process's.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "one event is handled")]
async fn a_second_signal_stops_at_once_what_a_first_one_waits_for() {
    let engine = ensue::connect("memory:").await.unwrap();
    let publisher = Publisher::new(engine.clone(), "/test");
    publisher.publish(Thing {}).await.unwrap();
    let (begun, mut has_begun) = mpsc::unbounded_channel();
    let hour = Duration::from_secs(3_600);
    let app = App::new(engine.clone())
        .shutdown_deadline(hour)
        .on("g", move |_: Thing| {
            begun.send(()).unwrap();
            std::future::pending::<()>()
        });
    let run = tokio::spawn(app.run());
    has_begun.recv().await.unwrap();
    // Until the first one has arrived the second one would be the first.
    let since = Instant::now();
    while !run.is_finished() {
        assert!(since.elapsed() < Duration::from_secs(60), "it goes on");
        terminate();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    run.await.unwrap().unwrap();
    // Who is going to wait misses none that comes before.
    let asked = ensue::asked_to_stop();
    let mut sees = std::pin::pin!(ensue::asked_to_stop());
    terminate();
    tokio::time::timeout(Duration::from_secs(60), sees.as_mut())
        .await
        .unwrap();
    tokio::time::timeout(Duration::from_secs(60), asked)
        .await
        .unwrap();
}
