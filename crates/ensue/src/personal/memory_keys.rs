//! Keys in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use futures_util::future::FutureExt as _;

use super::keys::{KeyLookup, KeyStore, SubjectKey};
use crate::error::PersonalError;

/// Keys in memory, for tests: with the process everything that was sealed with them is forgotten. Clones are the
/// same store.
#[derive(Clone, Debug, Default)]
pub struct MemoryKeys(Arc<Mutex<HashMap<String, Keys>>>);

#[derive(Debug)]
enum Keys {
    Known(Vec<SubjectKey>),
    Forgotten,
}

impl MemoryKeys {
    fn subjects(&self) -> MutexGuard<'_, HashMap<String, Keys>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest key; another one is made if there is none, or if `another` says so.
    fn newest(&self, subject: &str, another: bool) -> Result<KeyLookup, PersonalError> {
        let mut subjects = self.subjects();
        let none = || Keys::Known(Vec::new());
        let Keys::Known(keys) = subjects.entry(subject.to_owned()).or_insert_with(none) else {
            return Ok(KeyLookup::Forgotten);
        };
        if let Some(newest) = keys.last().filter(|_| !another) {
            return Ok(KeyLookup::Key(newest.clone()));
        }
        let number = keys.last().map_or(0, SubjectKey::number) + 1;
        let key = SubjectKey::generate(number)?;
        keys.push(key.clone());
        Ok(KeyLookup::Key(key))
    }
}

impl KeyStore for MemoryKeys {
    fn newest<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<KeyLookup, PersonalError>> {
        async { self.newest(subject, false) }.boxed()
    }

    fn key<'a>(
        &'a self,
        subject: &'a str,
        number: u32,
    ) -> BoxFuture<'a, Result<KeyLookup, PersonalError>> {
        async move {
            Ok(match self.subjects().get(subject) {
                None => KeyLookup::Unknown,
                Some(Keys::Forgotten) => KeyLookup::Forgotten,
                Some(Keys::Known(keys)) => {
                    let mut keys = keys.iter();
                    let key = keys.find(|key| key.number() == number).cloned();
                    key.map_or(KeyLookup::Unknown, KeyLookup::Key)
                }
            })
        }
        .boxed()
    }

    fn rotate<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<KeyLookup, PersonalError>> {
        async { self.newest(subject, true) }.boxed()
    }

    fn forget<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<u32, PersonalError>> {
        async {
            let before = self.subjects().insert(subject.to_owned(), Keys::Forgotten);
            Ok(match before {
                Some(Keys::Known(keys)) => u32::try_from(keys.len()).unwrap_or(u32::MAX),
                Some(Keys::Forgotten) | None => 0,
            })
        }
        .boxed()
    }
}
