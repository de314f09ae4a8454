//! Which dead letters are meant.

use clap::Args;
use ensue::Timestamp;
use ensue::engine::DeadLetterFilter;

use super::Moment;

/// Restrictions on dead letters; several restrict further.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Which dead letters")]
pub(crate) struct DeadLetterArgs {
    /// Only the event with this id; may be repeated
    #[arg(long = "id", value_name = "ID")]
    ids: Vec<String>,
    /// Only events of this source
    #[arg(long, value_name = "URI")]
    source: Option<String>,
    /// Only events of this type; may be repeated
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Only events with this key
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Only those whose reason contains this text
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Only those that died since then: 2026-05-17T09:30:00Z, 2026-05-17 or 15m
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// At most so many, those that died first
    #[arg(long, value_name = "N")]
    limit: Option<std::num::NonZeroUsize>,
}

impl DeadLetterArgs {
    /// The engine's form of it, seen from `now`.
    pub(crate) fn resolve(self, now: Timestamp) -> DeadLetterFilter {
        DeadLetterFilter {
            positions: Vec::new(),
            ids: self.ids,
            source: self.source,
            types: self.types,
            key: self.key,
            reason: self.reason,
            since: self.since.map(|since| since.resolve(now)),
            limit: self.limit.map_or(0, std::num::NonZeroUsize::get),
        }
    }
}
