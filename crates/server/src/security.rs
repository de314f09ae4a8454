//! Who is calling, and what they may do: what every request passes before its handler.
//!
//! A route says who may use it ([`Access`]); a handler takes the [`Caller`] as an argument and asks it
//! before it touches a topic, or shows something of one.

mod access;
mod caller;
mod hosts;
mod permissions;

use std::sync::Arc;

use axum::http::Request;

pub(crate) use self::access::{Access, Action};
pub(crate) use self::caller::Caller;
use self::caller::Who;
use self::hosts::Hosts;
use crate::config::Config;
use crate::problem::Problem;

/// What the server knows of those who may call.
#[derive(Debug)]
pub(crate) struct Security {
    hosts: Hosts,
    local: Arc<Who>,
}

impl Security {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            hosts: Hosts::new(&config.hosts),
            local: Arc::new(Who::local()),
        }
    }

    /// Who sent the request, or why it is refused.
    pub(crate) fn caller<B>(&self, request: &Request<B>) -> Result<Caller, Problem> {
        self.hosts.check(request)?;
        Ok(Caller::new(self.local.clone()))
    }
}
