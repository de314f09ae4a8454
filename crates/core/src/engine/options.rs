//! Options of engines' URLs that every engine has, over a server or not: names, and what they are.

/// How much of a group is put aside.
pub const PARKED_MAX: (&str, &str) = (
    "parked_max",
    "events of a group put aside one by one (and one more for each key that waits), and keys that may wait before it pauses; default 1000000",
);
/// How much of a key is.
pub const KEY_EVENTS_MAX: (&str, &str) = (
    "key_events_max",
    "events of one key put aside one by one, or read ahead; the rest waits in the log; default 1024",
);
/// How much state there may be.
pub const STATE_BYTES_MAX: (&str, &str) = (
    "state_bytes_max",
    "bytes of state over all groups; default 268435456",
);
/// How much may be scheduled.
pub const SCHEDULES_MAX: (&str, &str) = (
    "schedules_max",
    "events that wait for their time; default 100000",
);
