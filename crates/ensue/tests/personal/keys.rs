//! Where keys are kept: rotation, two processes, a store that is away, and what is on the disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ensue::engine::DeadLetterFilter;
use ensue::error::{Error, PersonalError};
use ensue::prelude::*;
use ensue::{Disclosure, FileKeys, HandlerOptions, KeyLookup, KeyStore, MemoryKeys};
use tempfile::TempDir;

use crate::{PATIENCE, Registered, known, registered, seen, stored};

async fn memory(keys: impl KeyStore) -> Engine {
    let engine = Engine::open("memory:").await.unwrap();
    engine.with_keys(keys).unwrap()
}

#[tokio::test]
async fn after_a_rotation_the_new_key_seals_and_the_old_one_opens() {
    let directory = TempDir::new().unwrap();
    let files = FileKeys::open(directory.path().join("keys")).unwrap();
    for engine in [memory(files).await, memory(MemoryKeys::default()).await] {
        engine.publish(registered("u-1", "ada")).await.unwrap();
        let old = stored(&engine, "u-1").await;
        assert_eq!(engine.rotate_keys("u-1").await.unwrap(), 2);
        engine.publish(registered("u-1", "ada@new")).await.unwrap();
        let event: Registered = stored(&engine, "u-1").await.decode().unwrap();
        assert_eq!(event.email.sealed().unwrap().key(), 2);
        assert_eq!(seen(&engine, "u-1").await, known("ada@new"));
        let mut before: Registered = old.decode().unwrap();
        engine.unmask_event(&mut before).await.unwrap();
        assert_eq!(before.email.known().unwrap(), "ada");
        assert_eq!(
            engine.forget("u-1", PATIENCE).await.unwrap().keys_destroyed,
            2
        );
        assert_eq!(seen(&engine, "u-1").await, Disclosure::Forgotten);
        let error = engine.rotate_keys("u-1").await.unwrap_err();
        assert!(
            matches!(error, Error::Personal(PersonalError::Forgotten { .. })),
            "{error}"
        );
    }
}

fn hex(key: &ensue::SubjectKey) -> String {
    key.bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// What is in a directory, all together.
fn bytes_in(directory: &std::path::Path) -> String {
    let files = std::fs::read_dir(directory).unwrap();
    let texts = files.map(|it| std::fs::read_to_string(it.unwrap().path()).unwrap());
    texts.collect()
}

fn key(lookup: KeyLookup) -> ensue::SubjectKey {
    match lookup {
        KeyLookup::Key(key) => key,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_keeps_keys_for_all_who_use_it_and_forgets_them_for_good() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("a/keys");
    let one = FileKeys::open(&path).unwrap();
    let other = FileKeys::open(&path).unwrap();
    // Who asks first at the same time, it is one key.
    let asking = (0..16).map(|number| {
        let store = if number % 2 == 0 {
            one.clone()
        } else {
            other.clone()
        };
        tokio::spawn(async move { hex(&key(store.newest("u-1").await.unwrap())) })
    });
    let mut found = std::collections::BTreeSet::new();
    for asked in asking.collect::<Vec<_>>() {
        found.insert(asked.await.unwrap());
    }
    assert_eq!(found.len(), 1, "{found:?}");
    let second = key(one.rotate("u-1").await.unwrap());
    assert_eq!(second.number(), 2);
    let again = FileKeys::open(&path).unwrap();
    assert_eq!(hex(&key(again.newest("u-1").await.unwrap())), hex(&second));
    assert!(matches!(
        again.key("u-1", 3).await.unwrap(),
        KeyLookup::Unknown
    ));
    let kept = bytes_in(&path);
    assert!(kept.contains(&hex(&second)) && !kept.contains("u-1"));

    assert_eq!(other.forget("u-1").await.unwrap(), 2);
    let kept = bytes_in(&path);
    assert!(
        !kept.contains(&hex(&second)) && !kept.contains(found.first().unwrap()),
        "{kept}"
    );
    for store in [&one, &again, &FileKeys::open(&path).unwrap()] {
        assert!(matches!(
            store.newest("u-1").await.unwrap(),
            KeyLookup::Forgotten
        ));
        assert!(matches!(
            store.key("u-1", 1).await.unwrap(),
            KeyLookup::Forgotten
        ));
        assert_eq!(store.forget("u-1").await.unwrap(), 0);
    }
    assert_eq!(key(one.newest("u-2").await.unwrap()).number(), 1);
}

/// The file of the only subject of a directory.
fn file_in(directory: &std::path::Path) -> std::path::PathBuf {
    let files = std::fs::read_dir(directory).unwrap();
    let mut files = files.map(|it| it.unwrap().path());
    files.find(|it| it.extension().is_some()).unwrap()
}

/// A link to the file is what a disk has of it when it has no name any more.
#[tokio::test]
async fn keys_are_overwritten_where_they_were_whatever_took_their_place() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("keys");
    let keys = FileKeys::open(&path).unwrap();
    let first = key(keys.newest("u-1").await.unwrap());
    let kept = |number: u32| directory.path().join(format!("kept-{number}"));
    std::fs::hard_link(file_in(&path), kept(1)).unwrap();
    let second = key(keys.rotate("u-1").await.unwrap());
    std::fs::hard_link(file_in(&path), kept(2)).unwrap();
    assert_eq!(hex(&key(keys.key("u-1", 1).await.unwrap())), hex(&first));
    keys.forget("u-1").await.unwrap();
    for number in [1, 2] {
        let text = std::fs::read_to_string(kept(number)).unwrap();
        assert!(!text.contains(&hex(&first)), "{number}: {text}");
        assert!(!text.contains(&hex(&second)), "{number}: {text}");
    }
}

#[tokio::test]
async fn who_was_being_forgotten_when_the_process_ended_is_forgotten() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("keys");
    let keys = FileKeys::open(&path).unwrap();
    keys.newest("u-1").await.unwrap();
    let length = std::fs::read(file_in(&path)).unwrap().len();
    std::fs::write(file_in(&path), "0".repeat(length)).unwrap();
    for found in [keys.newest("u-1").await, keys.key("u-1", 1).await] {
        assert!(matches!(found, Ok(KeyLookup::Forgotten)), "{found:?}");
    }
    keys.forget("u-1").await.unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_may_look_at_keys() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = TempDir::new().unwrap();
    let path = directory.path().join("keys");
    let keys = FileKeys::open(&path).unwrap();
    keys.newest("u-1").await.unwrap();
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    for file in std::fs::read_dir(&path).unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
}

#[tokio::test]
async fn keys_do_not_belong_where_something_else_is() {
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("letter.txt"), "x").unwrap();
    let error = FileKeys::open(directory.path()).unwrap_err().to_string();
    assert!(error.contains("something else"), "{error}");
    for (log, keys) in [
        ("a/log", "a/log/keys"),
        ("b/keys/log", "b/keys"),
        ("c", "c"),
    ] {
        let directory = TempDir::new().unwrap();
        let keys = FileKeys::open(directory.path().join(keys)).unwrap();
        let url = format!("embedded:{}", directory.path().join(log).display());
        // A log does not open where something else is: that is as good.
        let Ok(engine) = Engine::open(&url).await else {
            continue;
        };
        let error = engine.with_keys(keys).unwrap_err().to_string();
        assert!(error.contains("backup"), "{error}");
    }
}

#[tokio::test]
async fn a_damaged_file_of_keys_is_refused_and_named() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("keys");
    let keys = FileKeys::open(&path).unwrap();
    keys.newest("u-1").await.unwrap();
    let file = file_in(&path);
    let whole = std::fs::read_to_string(&file).unwrap();
    for text in [
        "",
        "ensue keys 1\n",
        &whole[..whole.len() - 1],
        &whole.replace("ensue keys 1", "ensue keys 2"),
        &format!("{whole}3 xyz\n"),
    ] {
        std::fs::write(&file, text).unwrap();
        let error = keys.newest("u-1").await.unwrap_err().to_string();
        assert!(error.contains("damaged"), "{text:?}: {error}");
    }
    // It is destroyed all the same.
    keys.forget("u-1").await.unwrap();
    assert!(matches!(
        keys.newest("u-1").await.unwrap(),
        KeyLookup::Forgotten
    ));
}

/// A store that is away for a while.
#[derive(Clone, Debug, Default)]
struct Away {
    is_away: Arc<AtomicBool>,
    keys: MemoryKeys,
}

impl Away {
    fn check(&self) -> Result<(), PersonalError> {
        match self.is_away.load(Ordering::SeqCst) {
            false => Ok(()),
            true => Err(PersonalError::Keys {
                problem: "the store is away".into(),
                source: None,
            }),
        }
    }
}

type Asked<'a, T> = std::pin::Pin<Box<dyn Future<Output = Result<T, PersonalError>> + Send + 'a>>;

impl KeyStore for Away {
    fn newest<'a>(&'a self, subject: &'a str) -> Asked<'a, KeyLookup> {
        Box::pin(async move { self.check().map(|()| self.keys.newest(subject))?.await })
    }

    fn key<'a>(&'a self, subject: &'a str, number: u32) -> Asked<'a, KeyLookup> {
        Box::pin(async move { self.check().map(|()| self.keys.key(subject, number))?.await })
    }

    fn rotate<'a>(&'a self, subject: &'a str) -> Asked<'a, KeyLookup> {
        Box::pin(async move { self.check().map(|()| self.keys.rotate(subject))?.await })
    }

    fn forget<'a>(&'a self, subject: &'a str) -> Asked<'a, u32> {
        Box::pin(async move { self.check().map(|()| self.keys.forget(subject))?.await })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_keys_are_away_events_wait_and_are_no_dead_letters() {
    let store = Away::default();
    let plain = Engine::open("memory:").await.unwrap();
    let writer = plain.clone().with_keys(store.clone()).unwrap();
    writer.publish(registered("u-1", "ada")).await.unwrap();
    // Another process, which has not seen the key yet.
    let reader = plain.with_keys(store.clone()).unwrap();
    store.is_away.store(true, Ordering::SeqCst);
    let (handled, seen) = tokio::sync::watch::channel(String::new());
    let millisecond = std::time::Duration::from_millis(1);
    let options = HandlerOptions::default()
        .attempts(2)
        .backoff(millisecond, millisecond);
    let app = App::new(reader.clone()).on_with("readers", options, move |event: Registered, _| {
        let _ = handled.send(event.email.known().cloned().unwrap_or_default());
        async {}
    });
    let running = app.start().await.unwrap();
    let retried = async {
        while reader
            .group("readers")
            .await
            .is_ok_and(|it| it.retrying == 0)
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, retried).await.unwrap();
    assert!(
        reader
            .dead_letters(None, DeadLetterFilter::default())
            .await
            .unwrap()
            .is_empty()
    );
    let error = reader.forget("u-1", PATIENCE).await.unwrap_err();
    assert!(
        matches!(error, Error::Personal(PersonalError::Keys { .. })),
        "{error}"
    );
    store.is_away.store(false, Ordering::SeqCst);
    let mut seen = seen;
    tokio::time::timeout(PATIENCE, seen.changed())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(*seen.borrow(), "ada");
    running.stop().await.unwrap();
}
