//! Where the log lives: the contract, and the engines that keep it.
//!
//! An engine is where the log lives. All of them pass one suite (the crate
//! `ensue-conformance`); what an engine's backend lacks, the engine emulates or declares missing in its
//! [`Guarantees`].
//!
//! | promise | where |
//! | --- | --- |
//! | an append is durable and atomic for the whole batch when it returns | [`Driver::append`] |
//! | an id that was appended within the dedup window is not appended again | [`Driver::append`] |
//! | events of a topic and key are handled in order, one at a time, in every group | [`Driver::join`] |
//! | a failure blocks only its key; nothing is settled before its dead letter is durable | [`Member::commit`] |
//! | settlements, effects and state of many events are one commit | [`Member::commit`] |
//! | an event can be appended for later, survives restarts, can be cancelled | [`Append::schedule`], [`Driver::cancel`] |
//! | reading needs no group | [`Driver::read`] |

mod doctor;
#[cfg(feature = "embedded")]
mod migration;
mod table;

pub(crate) use ensue_core::engine::Url;
#[cfg(any(feature = "embedded", feature = "personal"))]
pub(crate) use ensue_core::engine::forward_engine;
#[doc(inline)]
pub use ensue_core::engine::{
    APPEND_EVENTS_MAX, Append, Appended, Atomicity, Commit, Committed, Cursor, DeadLetter,
    DeadLetterFilter, Death, DeathCause, DedupWindow, Delivery, Driver, EFFECTS_BYTES_MAX,
    EFFECTS_MAX, EFFECTS_NAMES_BYTES_MAX, EFFECTS_STATE_BYTES_MAX, Effect, EngineStatus,
    EventProgress, Expect, Finding, GroupStatus, Guarantee, Guarantees, Handling, InvalidCursor,
    KeyBacklog, Member, MemberStatus, Needed, OnDead, Page, Position, Query, READ_EVENTS_MAX,
    Recorded, ReplayEffects, ReplayState, Reset, ResetPlan, Retry, Run, Schedule, Scheduled,
    Scheme, SharedEngine, Start, StateWrite, Subscription, TopicStatus, Vault, directory_of,
};

pub use self::doctor::examine;
#[cfg(feature = "embedded")]
pub use self::migration::migrate;
#[cfg(feature = "distributed")]
pub use self::table::remove;
pub use self::table::{EngineEntry, connect, connect_reader, connect_with, engines};
#[cfg(feature = "embedded")]
#[doc(inline)]
pub use ensue_engine::migrate::{Migrated, Progress, Step};

/// The embedded engine: a log in a directory, inside this process.
#[cfg(feature = "embedded")]
pub mod embedded {
    #[doc(inline)]
    pub use ensue_engine::{
        Damage, Embedded, Loss, Progress, Report, Salvaged, Settings, check, salvage,
    };
}
