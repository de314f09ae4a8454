//! A process of its own, which is this test again, and is killed.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ensue::engine::READ_EVENTS_MAX;
use ensue::prelude::*;

use super::app::{NAME, saga, travel};
use super::world::World;

const URL: &str = "ENSUE_SAGA_URL";
const WORLD: &str = "ENSUE_SAGA_WORLD";
const ROUND: &str = "ENSUE_SAGA_ROUND";
const IS_LAST: &str = "ENSUE_SAGA_IS_LAST";
const READY: &str = "it is at work";
const DONE: &str = "all is done";
/// Only what hangs takes so long.
const PATIENCE: Duration = Duration::from_secs(900);

pub(super) struct Process {
    child: Child,
    lines: tokio::sync::mpsc::Receiver<String>,
}

impl Process {
    /// Has a process run the saga, and ask for the trips of `round`; the last one ends when all is done.
    pub(super) fn start(url: &str, world: &Path, round: u64, is_last: bool) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "process::a_process", "--nocapture"]);
        command.env(URL, url).env(WORLD, world);
        command
            .env(ROUND, round.to_string())
            .env(IS_LAST, is_last.to_string());
        command.stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (told, lines) = tokio::sync::mpsc::channel(64);
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                // Once no one listens, nothing has to be said.
                if told.blocking_send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    async fn says(&mut self, words: &str) {
        let heard = async {
            while let Some(line) = self.lines.recv().await {
                if line.contains(words) {
                    return true;
                }
            }
            false
        };
        let heard = tokio::time::timeout(PATIENCE, heard).await;
        assert_eq!(heard, Ok(true), "the process says `{words}`");
    }

    pub(super) async fn is_ready(&mut self) {
        self.says(READY).await;
    }

    pub(super) async fn ends(mut self) {
        self.says(DONE).await;
    }

    pub(super) fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a process does: the other tests start this one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process() {
    let Ok(url) = std::env::var(URL) else {
        return;
    };
    let round: u64 = std::env::var(ROUND).unwrap().parse().unwrap();
    let world = World::at(std::env::var(WORLD).unwrap().as_ref());
    let engine = Engine::open(&url).await.unwrap();
    let app = App::new(engine.clone()).saga(saga(&world));
    let mut running = app.start().await.unwrap();
    println!("\n{READY}");
    if std::env::var(IS_LAST).unwrap() == "false" {
        travel(engine, round).await;
        return std::future::pending().await;
    }
    travel(engine.clone(), round).await;
    loop {
        running.settled().await.unwrap();
        let waits = engine.scheduled(READ_EVENTS_MAX).await.unwrap().into_iter();
        // A payment that is early, and comes again after a while, is looked for by no one any more.
        let mut waits = waits.filter_map(|it| it.envelope.ok());
        let is_payment_due = waits.any(|it| it.topic() != format!("sagas.{NAME}"));
        let runs = engine.sagas().running(NAME, None, 0).await.unwrap();
        if runs.is_empty() && !is_payment_due {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    running.stop().await.unwrap();
    engine.close().await.unwrap();
    println!("\n{DONE}");
}
