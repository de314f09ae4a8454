//! Forgetting a person: the key, then all who hold copies.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Event;
use crate::engine::{GroupStatus, Position, SharedEngine};
use crate::error::{Error, GroupError, Result};
use crate::handled::wait_until_handled;
use crate::personal::{KEY_CACHED, vault_of};
use crate::publisher::Publisher;
use crate::time::Timestamp;
use crate::topic::TopicPattern;

/// The source of what is said of subjects.
const SOURCE: &str = "/personal";

/// A person was forgotten: the keys of this subject are destroyed ([`Engine::forget`](crate::Engine::forget)). A
/// service that keeps copies of what is personal (an index, a file, rows in a database, an account elsewhere) handles it
/// and removes them; that it does so is what it *declares* by that, and forgetting waits for it.
///
/// ```
/// use ensue::Forgotten;
/// use ensue::prelude::*;
///
/// async fn forget_copies(Forgotten { subject }: Forgotten) {
///     println!("removing what is kept of {subject}");
/// }
/// # fn app(engine: Engine) -> App {
/// App::new(engine).on("newsletter", forget_copies)
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Event, Serialize, Deserialize)]
#[event(type = "subject.forgotten", topic = "personal", key = subject)]
pub struct Forgotten {
    /// Who.
    pub subject: String,
}

/// What forgetting a subject has come to: made by [`Engine::forget`](crate::Engine::forget), to be kept as the proof
/// that it was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ForgetReceipt {
    /// Who.
    pub subject: String,
    /// How many keys were destroyed; 0 if there were none any more.
    pub keys_destroyed: u32,
    /// When they were.
    pub destroyed: Timestamp,
    /// Until when another process that has used a key may have it in memory.
    pub cached_until: Timestamp,
    /// Where the event [`Forgotten`] is.
    pub position: Position,
    /// The groups that take it, and so said that they hold copies.
    pub holders: Vec<Holder>,
}

/// A group that holds copies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Holder {
    /// The group.
    pub group: String,
    /// Whether it has handled the event.
    pub has_forgotten: bool,
    /// Why not, if not.
    pub problem: Option<String>,
}

impl ForgetReceipt {
    /// Whether all who said that they hold copies have removed them. If not, forget the subject again later: it does
    /// no harm, and waits for them.
    pub fn is_complete(&self) -> bool {
        self.holders.iter().all(|holder| holder.has_forgotten)
    }
}

/// See [`Engine::forget`](crate::Engine::forget).
pub(crate) async fn forget(
    engine: &SharedEngine,
    subject: &str,
    deadline: Duration,
) -> Result<ForgetReceipt> {
    let clock = engine.clock().clone();
    let until = clock.now().plus(deadline);
    let vault = vault_of(&**engine, Forgotten::TYPE)?;
    // The key first: who hears of it finds nothing that could be opened, and a process that ends in between
    // has promised nothing yet.
    let keys_destroyed = vault.forget(subject).await?;
    let destroyed = clock.now();
    let forgotten = Forgotten {
        subject: subject.to_owned(),
    };
    let publisher = Publisher::new(engine.clone(), SOURCE);
    let position = publisher.publish(forgotten).await?.position;
    let groups = engine.status().await?.groups.into_iter();
    let mut holders = Vec::new();
    for group in groups.filter(takes_it) {
        let left = until.since(clock.now());
        let handled = wait_until_handled(engine, &group.name, position, left).await;
        let problem = match handled {
            Ok(()) => None,
            Err(error @ Error::Group(GroupError::NotHandled { .. })) => Some(error.to_string()),
            // It was deleted meanwhile, and what it held with it.
            Err(Error::Group(GroupError::Unknown { .. })) => continue,
            Err(error) => return Err(error),
        };
        holders.push(Holder {
            group: group.name,
            has_forgotten: problem.is_none(),
            problem,
        });
    }
    Ok(ForgetReceipt {
        subject: subject.to_owned(),
        keys_destroyed,
        destroyed,
        cached_until: destroyed.plus(KEY_CACHED),
        position,
        holders,
    })
}

/// Whether the group takes the topic of [`Forgotten`].
fn takes_it(group: &GroupStatus) -> bool {
    let mut topics = group.topics.iter();
    topics.any(|topic| {
        let pattern = topic.parse::<TopicPattern>();
        pattern.is_ok_and(|pattern| pattern.matches(Forgotten::TOPIC))
    })
}
