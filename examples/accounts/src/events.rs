//! What happens, as events.

mod logins;
mod requests;
mod roles;
mod users;

pub use self::logins::{AddressBlocked, LoginAccepted, LoginFailed, LoginOfInvalidUser};
pub use self::requests::{RegistrationRequested, ResetRequested};
pub use self::roles::{GrantRole, HolderLeft, Role, RoleGranted, RoleRevoked};
pub use self::users::{
    ConfirmationExpired, PasswordChanged, ProfilePublished, ProfileUnpublished, ReminderDue,
    ResetOffered, UserConfirmed, UserErased, UserExported, UserForgotten, UserLoggedIn,
    UserLoggedOut, UserLoginFailed, UserRegistered, UserRegisteredAgain,
};
