//! Members: in this process, and in processes of their own, which are this test again.

use std::io::{BufRead as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use ensue::engine::{Commit, Delivery, SharedEngine};
use tokio::sync::watch;

use super::scene::{EFFECTS, is_fenced, numbered, subscription};

const URL: &str = "ENSUE_TEST_MEMBER_URL";
const WAITS: &str = "ENSUE_TEST_MEMBER_WAITS";

/// Handles events until it is told that it is over: one effect for each, in the commit that
/// settles it. The effects' ids are random, so that handling one twice shows.
pub(super) async fn work(engine: SharedEngine, pause: Duration, over: watch::Receiver<bool>) {
    'joins: while !*over.borrow() {
        let member = match engine.join(subscription(16)).await {
            Ok(member) => member,
            Err(error) if is_fenced(&error) => continue,
            Err(error) => panic!("{error}"),
        };
        while !*over.borrow() {
            let next = tokio::time::timeout(Duration::from_millis(100), member.next(8)).await;
            let taken = match next {
                Err(_) => continue,
                Ok(Ok(taken)) => taken,
                Ok(Err(error)) if is_fenced(&error) => continue 'joins,
                Ok(Err(error)) => panic!("{error}"),
            };
            tokio::time::sleep(pause * taken.len() as u32).await;
            match member.commit(handled(&taken)).await {
                Ok(_) => {}
                Err(error) if is_fenced(&error) => continue 'joins,
                Err(error) => panic!("{error}"),
            }
        }
        match member.leave().await {
            Ok(()) => {}
            // On a machine that is so busy that its lease ran out, it has left already.
            Err(error) if is_fenced(&error) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn handled(taken: &[Delivery]) -> Commit {
    let effect = |delivery: &Delivery| {
        let number = std::str::from_utf8(delivery.envelope.payload()).unwrap();
        numbered(EFFECTS, delivery.envelope.key(), number.parse().unwrap()).into()
    };
    Commit {
        settled: taken.iter().map(|delivery| delivery.position).collect(),
        effects: taken.iter().map(effect).collect(),
        ..Commit::default()
    }
}

/// A member in a process of its own; it is killed when it is dropped.
pub(super) struct Child {
    process: std::process::Child,
    lines: tokio::sync::mpsc::UnboundedReceiver<String>,
}

impl Child {
    pub(super) fn start(url: &str, waits: bool) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "member::a_member", "--nocapture"]);
        command.env(URL, url).env(WAITS, waits.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let output = process.stdout.take().unwrap();
        #[expect(
            clippy::disallowed_methods,
            reason = "a member says a line for each event"
        )]
        let (told, lines) = tokio::sync::mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in std::io::BufReader::new(output)
                .lines()
                .map_while(Result::ok)
            {
                let _ = told.send(line);
            }
        });
        Self { process, lines }
    }

    /// Waits for a line that ends with `word`.
    pub(super) async fn expect(&mut self, word: &str) {
        let wait = async {
            while let Some(line) = self.lines.recv().await {
                if line.ends_with(word) {
                    return true;
                }
            }
            false
        };
        let found = tokio::time::timeout(Duration::from_secs(600), wait).await;
        assert_eq!(found, Ok(true), "the member says `{word}`");
    }

    pub(super) async fn say(&mut self, word: &str) {
        let input = self.process.stdin.as_mut().unwrap();
        writeln!(input, "{word}").unwrap();
    }

    pub(super) fn stop(&self) {
        self.signal("-STOP");
    }

    pub(super) fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    pub(super) fn kill(&mut self) {
        let _ = self.process.kill();
        self.process.wait().unwrap();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a child does: other tests start this one as a process of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member() {
    let Ok(url) = std::env::var(URL) else {
        return;
    };
    let engine = ensue::connect(&url).await.unwrap();
    if std::env::var(WAITS).unwrap() == "false" {
        let over = watch::Sender::new(false);
        return work(engine, Duration::ZERO, over.subscribe()).await;
    }
    let member = engine.join(subscription(1)).await.unwrap();
    let taken = member.next(1).await.unwrap();
    println!("\ntook");
    let heard = tokio::task::spawn_blocking(|| std::io::stdin().lock().lines().next());
    heard.await.unwrap().unwrap().unwrap();
    match member.commit(handled(&taken)).await {
        Ok(_) => println!("\ncommitted"),
        Err(error) if is_fenced(&error) => println!("\nfenced"),
        Err(error) => println!("\n{error}"),
    }
}
