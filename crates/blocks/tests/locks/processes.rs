//! Locks of several processes: they race, are paused, and are killed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use ensue_blocks::election::lead;

use super::kept::{Held, Kept, PATIENCE};

/// Rounds of each of two processes.
const ROUNDS: usize = 500;
/// What another process is to do, where its locks are kept, at which URL, their prefix, and a directory.
const TOLD: [&str; 5] = ["ROLE", "KIND", "URL", "PREFIX", "PLACE"];

/// Another process of this program.
struct Process {
    child: Child,
    stdin: ChildStdin,
    said: Receiver<String>,
}

impl Process {
    fn start(role: &str, kept: &Kept, place: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "processes::another_process", "--nocapture"]);
        let told = [role, kept.kind, &kept.url, &kept.prefix];
        for (name, value) in TOLD.iter().zip(told) {
            command.env(format!("BLOCKS_{name}"), value);
        }
        command.env("BLOCKS_PLACE", place);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (say, said) = sync_channel(1024);
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // What the harness of tests says is nothing of ours.
                let ours = line.strip_prefix("> ");
                if ours.is_some_and(|it| say.send(it.to_owned()).is_err()) {
                    return;
                }
            }
        });
        Self { child, stdin, said }
    }

    /// The next thing that it says.
    async fn hear(&self) -> String {
        tokio::task::block_in_place(|| self.said.recv_timeout(PATIENCE)).unwrap()
    }

    fn tell(&mut self, what: &str) {
        writeln!(self.stdin, "{what}").unwrap();
        self.stdin.flush().unwrap();
    }

    fn signal(&self, signal: &str) {
        let kill = format!("kill -s {signal} {}", self.child.id());
        assert!(
            Command::new("sh")
                .args(["-c", &kill])
                .status()
                .unwrap()
                .success()
        );
    }

    fn end(mut self) {
        assert!(self.child.wait().unwrap().success());
    }
}

/// Not a test, unless a test starts it as a process of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process() {
    let told = TOLD.map(|name| std::env::var(format!("BLOCKS_{name}")).ok());
    let [Some(role), Some(kind), Some(url), Some(prefix), Some(place)] = told else {
        return;
    };
    let kept = Kept::again(&kind, url, prefix);
    let held = kept.open().await;
    match role.as_str() {
        "race" => race(&kept, &held, Path::new(&place)).await,
        "hold" => hold(&kept, &held).await,
        "lead" => stand(&kept, &held).await,
        role => panic!("no role is {role}"),
    }
}

fn say(what: &str) {
    // Not by a macro: the harness of tests would keep it.
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "\n> {what}").unwrap();
    stdout.flush().unwrap();
}

async fn told() -> String {
    let read = || std::io::stdin().lock().lines().next().unwrap().unwrap();
    tokio::task::spawn_blocking(read).await.unwrap()
}

/// Acquires it again and again; while it holds it, no one else has made the file.
async fn race(kept: &Kept, held: &Held, place: &Path) {
    let locks = held.locks.clone().lease(PATIENCE);
    let (mark, tokens) = (place.join("held"), place.join("tokens"));
    for _ in 0..ROUNDS {
        let lock = locks.acquire(&kept.name("race"), PATIENCE).await.unwrap();
        let made = std::fs::File::create_new(&mark);
        assert!(made.is_ok(), "two hold it at once: {made:?}");
        let mut file = std::fs::OpenOptions::new();
        let mut file = file.append(true).create(true).open(&tokens).unwrap();
        writeln!(file, "{}", lock.token()).unwrap();
        tokio::task::yield_now().await;
        std::fs::remove_file(&mark).unwrap();
        lock.release().await.unwrap();
    }
    say("done");
}

pub(crate) async fn two_processes_race_and_never_hold_it_at_once(kept: &Kept) {
    let place = tempfile::tempdir().unwrap();
    let racing = [(); 2].map(|()| Process::start("race", kept, place.path()));
    for process in &racing {
        assert_eq!(process.hear().await, "done");
    }
    racing.into_iter().for_each(Process::end);
    let tokens = std::fs::read_to_string(place.path().join("tokens")).unwrap();
    let tokens: Vec<&str> = tokens.lines().collect();
    assert_eq!(tokens.len(), 2 * ROUNDS);
    assert!(
        tokens.is_sorted_by(|a, b| a < b),
        "each is larger than all before"
    );
}

/// Holds it, and writes when it is told to, whatever it knows of its lock.
async fn hold(kept: &Kept, held: &Held) {
    let locks = &held.locks;
    let lock = locks.acquire(&kept.name("paused"), PATIENCE).await.unwrap();
    say(&format!("holds {}", lock.token()));
    while told().await == "write" {
        let is_written = held.write(&lock, &kept.name("paused-thing"), "old").await;
        say(if is_written { "written" } else { "fenced" });
    }
    lock.lost().await;
    say("lost");
}

pub(crate) async fn a_holder_that_was_paused_cannot_write(kept: &Kept) {
    let place = tempfile::tempdir().unwrap();
    let ours = kept.open().await;
    let mut holder = Process::start("hold", kept, place.path());
    let said = holder.hear().await;
    let token: u64 = said.strip_prefix("holds ").unwrap().parse().unwrap();
    holder.tell("write");
    // On a machine that is too busy to renew anything within the lease, it is fenced by now.
    let _written = holder.hear().await;
    holder.signal("STOP");
    let name = kept.name("paused");
    let lock = ours.locks.clone().lease(PATIENCE);
    let lock = lock.acquire(&name, PATIENCE).await.unwrap();
    assert!(token < lock.token().get());
    let thing = kept.name("paused-thing");
    assert!(ours.write(&lock, &thing, "new").await);
    holder.signal("CONT");
    holder.tell("write");
    assert_eq!(holder.hear().await, "fenced");
    assert!(ours.write(&lock, &thing, "newer").await);
    holder.tell("end");
    assert_eq!(holder.hear().await, "lost", "and it is told");
    holder.end();
    if let Some(found) = ours.read(&thing).await {
        assert_eq!(found, "newer");
    }
    lock.release().await.unwrap();
}

pub(crate) async fn a_holder_that_was_killed_is_succeeded(kept: &Kept) {
    let place = tempfile::tempdir().unwrap();
    let ours = kept.open().await;
    let mut holder = Process::start("hold", kept, place.path());
    let said = holder.hear().await;
    let token: u64 = said.strip_prefix("holds ").unwrap().parse().unwrap();
    holder.signal("KILL");
    holder.child.wait().unwrap();
    let name = kept.name("paused");
    let lock = ours.locks.acquire(&name, PATIENCE).await.unwrap();
    assert!(token < lock.token().get());
    lock.release().await.unwrap();
}

/// Says when the work is dropped.
struct Work;

impl Drop for Work {
    fn drop(&mut self) {
        say("stopped");
    }
}

async fn stand(kept: &Kept, held: &Held) {
    let name = kept.name("led");
    let led = lead(&held.locks, &name, async |lock| {
        let _work = Work;
        say(&format!("leads {}", lock.token()));
        std::future::pending::<()>().await;
    });
    led.await.unwrap();
}

pub(crate) async fn one_leads_at_a_time_and_another_takes_over(kept: &Kept) {
    let place = tempfile::tempdir().unwrap();
    let first = Process::start("lead", kept, place.path());
    let led = first.hear().await;
    let second = Process::start("lead", kept, place.path());
    let quiet =
        tokio::task::block_in_place(|| second.said.recv_timeout(Duration::from_millis(500)));
    if quiet.is_err() {
        first.signal("STOP");
        let then = second.hear().await;
        assert!(led < then, "{led}, then {then}");
        first.signal("CONT");
    }
    // On a machine that is too busy to renew anything, it has lost its lead before.
    assert_eq!(first.hear().await, "stopped");
    for mut process in [first, second] {
        process.signal("KILL");
        process.child.wait().unwrap();
    }
}
