//! What nobody may read: passwords, tokens and the keys that they are made with.

mod keys;
mod password;
mod token;

pub use self::keys::{Keys, KeysError};
pub use self::password::{
    Hashing, HashingError, PASSWORD_BYTES_MAX, PASSWORD_CHARACTERS_MIN, Password, PasswordHash,
    PasswordProblem,
};
pub use self::token::{NoRandomness, SessionToken};
