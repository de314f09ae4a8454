//! The read side: the profiles that are published.

mod fold;
mod in_process;

pub use self::fold::Profiles;
pub use self::in_process::Following;
