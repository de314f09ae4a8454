//! How much a group reads ahead, puts aside and hands out: of all keys, of one key, for one member.
//!
//! What a user can set is [`AsideLimits`]; the log's and the state's limits are the runtime's.

/// How many bytes of events a member holds at the most; one event is always possible.
pub(crate) const HELD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How many events are read ahead for a member that does not take them.
pub(crate) const READY_EVENTS_MAX: usize = 16_384;
/// How many bytes of them.
pub(crate) const READY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How many bytes of one key's events are read ahead.
pub(crate) const KEY_QUEUE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// A page has at least so many events, also when the group keeps as many as it may: one event a read
/// would make no progress worth its cost.
const PAGE_EVENTS_MIN: usize = 16;
/// With more than one in so many beyond that, it is one event a read all the same.
const OVER_SHARE: usize = 4;

/// How much of a group is put aside, and of a key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AsideLimits {
    /// Events of a group that are kept one by one. With more, lanes only take up what they need to go
    /// on: a quarter more, and beyond it one for each key. So many keys may wait: then no more is read.
    pub(crate) parked_max: usize,
    /// Events that a lane keeps one by one.
    pub(crate) lane_max: usize,
    /// Events of one key that are read ahead.
    pub(crate) queue_max: usize,
}

impl Default for AsideLimits {
    fn default() -> Self {
        Self {
            parked_max: 1_000_000,
            lane_max: 1_024,
            queue_max: 1_024,
        }
    }
}

impl AsideLimits {
    /// How many events a lane keeps when the group keeps `kept`: less as its room fills.
    pub(crate) fn of_lane(self, kept: usize) -> usize {
        (self.parked_max.saturating_sub(kept) / 8).min(self.lane_max)
    }

    /// How many events a lane takes up from its backlog in one go.
    pub(crate) fn page(self, kept: usize) -> usize {
        let most = self.parked_max.saturating_add(self.parked_max / OVER_SHARE);
        let has_room = kept.saturating_add(PAGE_EVENTS_MIN) <= most;
        let min = if has_room { PAGE_EVENTS_MIN } else { 1 };
        let min = min.min(self.lane_max);
        self.of_lane(kept).max(min).max(1)
    }

    /// A lane with a backlog and no more events than this takes up the next ones.
    pub(crate) fn few(self, kept: usize) -> usize {
        if kept < self.parked_max {
            self.lane_max / 4
        } else {
            0
        }
    }
}
