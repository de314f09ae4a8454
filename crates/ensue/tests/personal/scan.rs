//! A byte scan over everything that a directory holds finds nothing that was personal.

use std::path::Path;
use std::time::Duration;

use ensue::engine::{DeadLetterFilter, Query};
use ensue::prelude::*;
use ensue::{Disclosure, FileKeys, HandlerOptions, Personal};
use tempfile::TempDir;

use crate::{LetterSent, PATIENCE, Registered, registered};

/// What is looked for: in an event, in a state, in an aggregate and its snapshots, in what a handler cannot handle,
/// in what waits for its time, in a reply.
const CANARIES: [&str; 5] = [
    "canary-event@example.org",
    "canary-state",
    "canary-aggregate",
    "canary-service",
    "canary-later",
];
/// One that is not personal: the scan finds it.
const CONTROL: &str = "canary-control";

#[derive(Event, Serialize, Deserialize)]
#[event(type = "person.moved", topic = "people", key = person)]
struct Moved {
    person: String,
    #[event(personal = person)]
    street: Personal<String>,
}

#[derive(Default, Serialize, Deserialize)]
struct Person {
    streets: Vec<Personal<String>>,
}

#[aggregate(snapshot_every = 2)]
impl Person {
    #[apply]
    fn moved(&mut self, event: Moved) {
        self.streets.push(event.street);
    }
}

#[derive(Event, Serialize, Deserialize)]
#[event(type = "account.named", topic = "accounts", key = account)]
struct Named {
    account: String,
    #[event(personal = account)]
    name: Personal<String>,
}

#[derive(Default, Serialize, Deserialize)]
struct Account {
    name: Option<Personal<String>>,
}

#[aggregate]
impl Account {
    #[apply]
    fn named(&mut self, event: Named) {
        self.name = Some(event.name);
    }
}

#[derive(Event, Serialize, Deserialize)]
#[event(type = "account.name", topic = "account-commands", key = account)]
struct Name {
    account: String,
    #[event(personal = account)]
    name: Personal<String>,
}

#[derive(Serialize, Deserialize, State)]
#[state(name = "contact")]
struct Contact(Personal<String>);

struct Accounts;

#[service]
impl Accounts {
    #[on]
    async fn name(&self, command: Name, ctx: &Context) -> Result<Decided, Failure> {
        let Name { account, name } = command;
        assert!(name.known().is_some());
        ctx.decide(|_: &Account| Named { account, name }).await
    }
}

fn app(engine: &Engine) -> App {
    let keep = async |event: Registered, ctx: Context| {
        let kept = ctx.seal(ctx.key(), CANARIES[1].to_owned()).await?;
        let letter = LetterSent {
            letter: "l".into(),
            to: event.user,
            text: CANARIES[4].to_owned().into(),
        };
        let effects = Effects::none().set_state(Contact(kept));
        Ok::<_, Failure>(effects.schedule(Duration::from_secs(9_000_000), letter))
    };
    let fail = async |event: Registered, _| {
        assert!(event.email.known().is_some());
        Err::<(), _>(Failure::reject(format!("cannot handle {event:?}")))
    };
    App::new(engine.clone())
        .service(Accounts)
        .on_with("keeps", HandlerOptions::default(), keep)
        .on_with("fails", HandlerOptions::default(), fail)
}

/// Writes all that a program may write of a person.
async fn write(engine: &Engine) {
    let mut running = app(engine).start().await.unwrap();
    engine
        .publish(registered("u-1", CANARIES[0]))
        .await
        .unwrap();
    let people = engine.aggregates::<Person>("/people");
    for _ in 0..5 {
        let moved = |_: &Person| Moved {
            person: "u-1".into(),
            street: CANARIES[2].to_owned().into(),
        };
        let Ok(_) = people.decide("u-1", moved).await.unwrap();
    }
    let name = CANARIES[3].to_owned().into();
    let command = Name {
        account: "u-1".into(),
        name,
    };
    let requester = engine.requester("/web");
    let Ok(_) = requester
        .command::<ensue::Never>(command, PATIENCE)
        .await
        .unwrap();
    let control = Envelope::builder("notes", "note.taken")
        .payload(ensue::Codec::Json, format!("{CONTROL:?}").into());
    engine.publish(Outgoing::raw(control)).await.unwrap();
    running.settled().await.unwrap();
    running.stop().await.unwrap();
}

/// The files below a directory that have these bytes in them.
fn files_with(directory: &Path, what: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, what));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        // As text, and as the base64 of it at each of its three places.
        let is_there = |wanted: &[u8]| bytes.windows(wanted.len()).any(|it| it == wanted);
        if is_there(what.as_bytes()) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_of_the_log_has_anything_personal_before_and_after_it_was_forgotten() {
    let directory = TempDir::new().unwrap();
    let (log, keys) = (directory.path().join("log"), directory.path().join("keys"));
    let url = format!("embedded:{}?segment_bytes=65536", log.display());
    let open = async || {
        let engine = Engine::open(&url).await.unwrap();
        engine.with_keys(FileKeys::open(&keys).unwrap()).unwrap()
    };
    let engine = open().await;
    write(&engine).await;
    // Segments are sealed and indexed, and a checkpoint is written.
    let filler = || {
        Envelope::builder("filler", "filler.added").payload(ensue::Codec::Json, vec![b'1'; 30_000])
    };
    for _ in 0..20 {
        engine.publish(Outgoing::raw(filler())).await.unwrap();
    }
    engine.close().await.unwrap();
    assert!(
        !files_with(&log, CONTROL).is_empty(),
        "the scan finds what is there"
    );
    let scan = |directory: &Path| {
        let found = CANARIES.iter().flat_map(|it| files_with(directory, it));
        found.collect::<Vec<String>>()
    };
    assert_eq!(scan(&log), Vec::<String>::new());

    let engine = open().await;
    let dead = engine
        .dead_letters(Some("fails"), DeadLetterFilter::default())
        .await
        .unwrap();
    assert!(
        dead[0].reason.contains("Personal(known)"),
        "{}",
        dead[0].reason
    );
    let snapshots = engine.status().await.unwrap().topics;
    assert!(!snapshots.is_empty());
    let mut contact: Contact = engine
        .state("keeps", "users", "u-1")
        .await
        .unwrap()
        .unwrap();
    engine.unmask(&mut contact.0).await.unwrap();
    assert_eq!(contact.0.known().unwrap(), CANARIES[1]);
    let person = async || {
        let mut person = engine
            .aggregates::<Person>("/people")
            .load("u-1")
            .await
            .unwrap();
        assert_eq!(person.version, 5);
        engine.unmask(&mut person.state.streets).await.unwrap();
        person.state.streets
    };
    assert_eq!(person().await[4].known().unwrap(), CANARIES[2]);

    engine.forget("u-1", PATIENCE).await.unwrap();
    assert!(person().await.iter().all(Personal::is_forgotten));
    let mut contact: Contact = engine
        .state("keeps", "users", "u-1")
        .await
        .unwrap()
        .unwrap();
    engine.unmask(&mut contact.0).await.unwrap();
    assert_eq!(contact.0.disclosure(), Disclosure::Forgotten);
    // Every event of the log is read all the same.
    let mut events = engine.read(Query::default());
    let mut read = 0;
    while let Some(event) = events.next().await {
        let event = event.unwrap().envelope;
        if event.event_type() == Registered::TYPE {
            let mut event: Registered = event.decode().unwrap();
            engine.unmask_event(&mut event).await.unwrap();
            assert!(event.email.is_forgotten());
            read += 1;
        }
    }
    assert_eq!(read, 1);
    engine.close().await.unwrap();
    assert_eq!(scan(directory.path()), Vec::<String>::new());
}
