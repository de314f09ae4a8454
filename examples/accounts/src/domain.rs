//! What may happen, and what may not: aggregates, without anything around them.

mod attempts;
mod profile;
mod roles;
mod user;

pub use self::attempts::{
    KNOWN_MAX, LOCK_AFTER, LOCKED_FOR, STRANGERS_ATTEMPTS, STRANGERS_EVERY, TRIED_MAX,
};
pub use self::profile::{
    ABOUT_CHARACTERS_MAX, NAME_CHARACTERS_MAX, Profile, ProfileProblem, ShownProfile,
};
pub use self::roles::{REALM, ROLES_MAX, RoleRefusal, Roles};
pub use self::user::{
    CONFIRM_WITHIN, Credentials, LoginRefusal, QUIET_FOR, RESET_EVERY, RESET_WITHIN, RESETS_MAX,
    Refusal, SESSION_LASTS, SESSIONS_MAX, Status, User,
};
