//! What a projection is: its name, its methods, its tables, and how it wants to be run.

use std::sync::Arc;
use std::time::Duration;

use ensue::engine::Recorded;
use ensue::{Backoff, TopicPattern};
use sqlx::Pool;

use super::handle::Route;
use super::names::Names;
use crate::database::Database;

/// What all versions of a projection have in common.
pub(super) struct Definition<P, DB: Database> {
    pub(super) name: String,
    pub(super) revision: i64,
    pub(super) pool: Pool<DB>,
    pub(super) projection: P,
    pub(super) routes: Vec<Route<P, DB>>,
    pub(super) tables: Vec<String>,
    pub(super) create: Vec<String>,
    pub(super) settings: Settings,
}

/// How a projection is run.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) lanes: usize,
    pub(super) batch_events_max: usize,
    pub(super) attempts: u32,
    pub(super) backoff: Backoff,
    pub(super) timeout: Duration,
    pub(super) takeover: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lanes: 1,
            batch_events_max: 1_000,
            attempts: 5,
            backoff: Backoff::default(),
            timeout: Duration::from_secs(30),
            takeover: Duration::from_secs(10),
        }
    }
}

impl<P: Send + Sync + 'static, DB: Database> Definition<P, DB> {
    /// What version `version` is called.
    pub(super) fn names(&self, version: i64) -> Arc<Names> {
        Arc::new(Names::new(&self.name, version, &self.tables))
    }

    /// The method that takes an event.
    pub(super) fn route(&self, event: &Recorded) -> Option<usize> {
        let takes = |route: &Route<P, DB>| route.takes(&event.envelope);
        self.routes.iter().position(takes)
    }

    /// The types of events that it takes.
    pub(super) fn types(&self) -> Vec<String> {
        let mut types: Vec<String> = self.routes.iter().map(|it| it.event.to_owned()).collect();
        types.sort();
        types.dedup();
        types
    }

    /// The topics, where one pattern says which.
    pub(super) fn topics(&self) -> Option<TopicPattern> {
        let (first, others) = self.routes.split_first()?;
        let is_same = |other: &Route<P, DB>| other.topics == first.topics;
        others.iter().all(is_same).then(|| first.topics.clone())
    }
}
