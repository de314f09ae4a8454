//! An event that ends its process becomes a dead letter after its attempts; the rest goes on.
//!
//! The process that dies is this test's own binary, started again as a child.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::process::Command;
use std::time::Duration;

use ensue::HandlerOptions;
use ensue::engine::{DeadLetterFilter, DeathCause, Query};
use ensue::prelude::*;

const CHILD: &str = "ENSUE_TEST_KILLER_URL";

#[derive(Event, Serialize, Deserialize)]
#[event(type = "job.given", topic = "jobs", key = job)]
struct JobGiven {
    job: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(type = "job.done", topic = "results", key = job)]
struct JobDone {
    job: String,
}

/// What the child does: works until nothing is left, unless a job ends it.
async fn work(url: &str) {
    let engine = ensue::connect(url).await.unwrap();
    let options = HandlerOptions::default().attempts(3);
    let running = App::new(engine.clone())
        .on_with("workers", options, |given: JobGiven, _| async move {
            if given.job == "killer" {
                std::process::abort();
            }
            JobDone { job: given.job }
        })
        .start()
        .await
        .unwrap();
    while !engine
        .status()
        .await
        .unwrap()
        .group("workers")
        .unwrap()
        .is_idle()
    {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    running.stop().await.unwrap();
    engine.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_ends_its_process_is_a_dead_letter_after_its_attempts() {
    if let Ok(url) = std::env::var(CHILD) {
        return work(&url).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let url = format!("embedded:{}", directory.path().join("log").display());
    let engine = ensue::connect(&url).await.unwrap();
    let jobs = (0..40).map(|n| {
        if n == 17 {
            "killer".to_owned()
        } else {
            format!("job-{n}")
        }
    });
    let jobs = jobs.map(|job| Outgoing::new(JobGiven { job }));
    Publisher::new(engine.clone(), "/test")
        .publish_all(jobs)
        .await
        .unwrap();
    engine.close().await.unwrap();
    drop(engine);

    let mut deaths = 0;
    loop {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "an_event_that_ends_its_process_is_a_dead_letter_after_its_attempts",
            ])
            .env(CHILD, &url)
            .output()
            .unwrap();
        if child.status.success() {
            break;
        }
        deaths += 1;
        assert!(deaths < 20, "it kills its process for ever");
    }
    assert!(deaths >= 3, "it had {deaths} attempts");

    let engine = ensue::connect(&url).await.unwrap();
    let dead = engine
        .dead_letters(Some("workers"), DeadLetterFilter::default())
        .await
        .unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(
        (dead[0].key.as_str(), dead[0].cause),
        ("killer", DeathCause::Crashed)
    );
    let page = engine
        .read(Query {
            topics: "results".parse().ok(),
            ..Query::default()
        })
        .await;
    let done: Vec<_> = page
        .unwrap()
        .events
        .iter()
        .map(|done| done.envelope.key().to_owned())
        .collect();
    let distinct: std::collections::BTreeSet<_> = done.iter().collect();
    assert_eq!(
        (done.len(), distinct.len()),
        (39, 39),
        "every other job is done once"
    );
}
