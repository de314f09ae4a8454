//! What the log refused of a group's commits last: shown until one of them goes through.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;

use crate::error::{Error, Outlook};
use crate::ids::MemberId;
use crate::time::Timestamp;

/// By group and member: since when, and the last refusal.
type Refused = HashMap<(String, MemberId), (Timestamp, String), foldhash::fast::RandomState>;

/// The commits that are refused at present.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    /// Lets the common case, none, pass without the lock.
    is_any: AtomicBool,
    refused: Mutex<Refused>,
}

impl Refusals {
    /// A commit of a member was refused. Of interest is what may pass, and is tried again.
    pub(crate) fn refused(&self, group: &str, member: MemberId, error: &Error, now: Timestamp) {
        if error.outlook() != Outlook::Passes {
            return self.clear(group, member);
        }
        let mut refused = self.lock();
        let (_, text) = refused
            .entry((group.to_owned(), member))
            .or_insert_with(|| (now, String::new()));
        *text = error.to_string();
        self.is_any.store(true, Ordering::Release);
    }

    /// A commit of a member went through, or the member is gone.
    pub(crate) fn clear(&self, group: &str, member: MemberId) {
        if self.is_any.load(Ordering::Acquire) {
            let mut refused = self.lock();
            refused.remove(&(group.to_owned(), member));
            self.is_any.store(!refused.is_empty(), Ordering::Release);
        }
    }

    /// Since when, and why, commits of a group are refused.
    pub(crate) fn of(&self, group: &str) -> Option<String> {
        if !self.is_any.load(Ordering::Acquire) {
            return None;
        }
        let refused = self.lock();
        let of_group = refused.iter().filter(|((name, _), _)| name == group);
        let (since, text) = of_group.map(|(_, refusal)| refusal).min()?;
        Some(format!("its commits are refused since {since}: {text}"))
    }

    fn lock(&self) -> MutexGuard<'_, Refused> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
