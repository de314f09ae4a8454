//! What happens, as events.

mod logins;

pub use self::logins::{AddressBlocked, LoginAccepted, LoginFailed, LoginOfInvalidUser};
