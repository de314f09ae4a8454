//! The audit trail: what operators did, as events in a topic of their own, each chained to the one
//! before by its hash.

mod chain;
mod entry;
mod operating;
mod trail;

pub use self::chain::{AuditChain, AuditFinding, AuditHead, AuditReport};
pub use self::entry::AUDIT_TOPIC;
pub(crate) use self::entry::Operation;
pub(crate) use self::operating::{Loss, Operating, check_reason};
pub(crate) use self::trail::Trail;
