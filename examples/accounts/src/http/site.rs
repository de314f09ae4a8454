//! What all handlers share.

use std::sync::Arc;
use std::time::Duration;

use crate::accounts::Accounts;
use crate::security::{Blocked, Rates};
use crate::view::View;

/// How many bytes a body has at the most.
pub const BODY_BYTES_MAX: usize = 16 * 1_024;
/// How many profiles a page has at the most.
pub const PAGE_MAX: usize = 100;
/// Where in the log something was written, and up to where a view has to have come that is read.
pub const POSITION_HEADER: &str = "accounts-position";
/// How long a reader waits for that.
pub(super) const REACH_WITHIN: Duration = Duration::from_secs(2);

/// What all handlers share. Cloning is cheap.
#[derive(Clone)]
pub struct Site(pub(super) Arc<Parts>);

pub(super) struct Parts {
    pub(super) accounts: Accounts,
    pub(super) profiles: Arc<View>,
    pub(super) blocked: Blocked,
    pub(super) rates: Rates,
    /// Whether clients are behind a proxy on this machine, which says who they are.
    pub(super) is_proxied: bool,
}

impl Site {
    /// The site of these accounts.
    pub fn new(
        accounts: Accounts,
        profiles: Arc<View>,
        blocked: Blocked,
        is_proxied: bool,
    ) -> Self {
        Self(Arc::new(Parts {
            accounts,
            profiles,
            blocked,
            rates: Rates::default(),
            is_proxied,
        }))
    }
}
