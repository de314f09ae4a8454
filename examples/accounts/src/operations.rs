//! What users ask for: a file for each subject.

mod denied;
mod history;
mod leaving;
mod logging_in;
mod passwords;
mod profiles;
mod registering;
mod roles;

pub use self::denied::{Denied, OperationError};
pub use self::history::{Exported, HISTORY_MAX, LogIn};
pub use self::logging_in::{Caller, LoggedIn};
