//! What every engine takes in one piece, and hence what one event may bring.

/// The most events that one append may hold.
pub const APPEND_EVENTS_MAX: usize = 65_536;
/// The most effects (events to publish or schedule, names to cancel) that one event may have.
pub const EFFECTS_MAX: usize = APPEND_EVENTS_MAX;
/// The most bytes that they may have together.
pub const EFFECTS_BYTES_MAX: usize = 48 * 1024 * 1024;
/// The most bytes that the names to cancel may have, of the effects of one event.
pub const EFFECTS_NAMES_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The most bytes of state that one event may set.
pub const EFFECTS_STATE_BYTES_MAX: usize = 12 * 1024 * 1024;
/// The most events that one read returns.
pub const READ_EVENTS_MAX: usize = 10_000;
