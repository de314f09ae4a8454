//! What follows from what happened: a file for each service.

mod leaving;
mod notices;
mod onboarding;
mod recovery;
mod registration;
mod role_desk;
mod watch;

use ensue::prelude::*;

use crate::accounts::Accounts;
use crate::events::{GrantRole, RegistrationRequested, ResetRequested};
use crate::security::BruteForce;

pub use self::onboarding::{HOLD, REMIND_AFTER};

/// The groups of all services, the saga among them.
pub const GROUPS: [&str; 9] = [
    "brute-force",
    "copies",
    "leaving",
    "notices",
    "onboarding",
    "recovery",
    "registration",
    "role-desk",
    "watch",
];

/// Adds all services to an app.
pub fn add(app: App, accounts: &Accounts) -> App {
    let accounts = || accounts.clone();
    app.publishes::<RegistrationRequested>()
        .publishes::<ResetRequested>()
        .publishes::<GrantRole>()
        .service(registration::Registration(accounts()))
        .saga(onboarding::saga(&accounts()))
        .service(recovery::Recovery(accounts()))
        .service(notices::Notices(accounts()))
        .service(leaving::Leaving(accounts()))
        .service(leaving::Copies(accounts()))
        .service(role_desk::RoleDesk)
        .service(watch::Watch)
        .service(BruteForce)
}

#[cfg(test)]
mod tests;
