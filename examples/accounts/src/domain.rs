//! What may happen, and what may not: aggregates, without anything around them.

mod profile;
mod roles;
mod user;

pub use self::profile::{ABOUT_CHARACTERS_MAX, NAME_CHARACTERS_MAX, Profile, ProfileProblem};
pub use self::roles::{REALM, ROLES_MAX, RoleRefusal, Roles};
pub use self::user::{
    CONFIRM_WITHIN, Credentials, LOCK_AFTER, LOCKED_FOR, LoginRefusal, RESET_WITHIN, Refusal,
    SESSION_LASTS, SESSIONS_MAX, Status, User,
};
