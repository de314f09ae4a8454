//! What one round gave for one row.

use serde::Serialize;

/// A figure of ours, and the same of others, in one round.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Sample {
    /// Rows of one group have unit and details in common.
    pub(super) group: &'static str,
    pub(super) name: String,
    pub(super) unit: &'static str,
    pub(super) ours: f64,
    /// Further figures of ours, named with their unit.
    pub(super) details: Vec<(&'static str, f64)>,
    /// The same by others.
    pub(super) beside: Vec<(&'static str, f64)>,
}

/// Both sides of a comparison, the second first if they are turned.
pub(super) async fn in_turn<A, B>(
    is_turned: bool,
    ours: impl Future<Output = A>,
    theirs: impl Future<Output = B>,
) -> (A, B) {
    if is_turned {
        let theirs = theirs.await;
        return (ours.await, theirs);
    }
    let ours = ours.await;
    (ours, theirs.await)
}
