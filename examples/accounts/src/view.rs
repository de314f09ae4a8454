//! The read side: the profiles that are published. In a database, behind a cache; or in the memory of
//! this process.

mod database;
mod fold;
mod in_database;
mod in_process;

use std::time::Duration;

use ensue::Position;
use ensue::prelude::*;
use futures_util::future::BoxFuture;

pub use self::database::ViewError;
pub use self::fold::Profiles;
use self::in_database::InDatabase;
use self::in_process::Following;
use crate::domain::Profile;
use crate::ids::UserId;

/// The profiles that are published, as the log has them a moment ago.
pub enum View {
    /// Folded again at each start.
    InProcess(Following),
    /// Rows and position are one transaction.
    InDatabase(InDatabase),
}

impl View {
    /// In the database at this URL; none is this process. The view is kept up as long as what comes with
    /// it is there, which completes when the view cannot go on, with the reason.
    ///
    /// # Errors
    /// [`ViewError`] when there is no such database, and what the engine reports.
    pub async fn start(
        engine: &Engine,
        database: Option<&str>,
    ) -> Result<(Self, BoxFuture<'static, ViewError>), ViewError> {
        let Some(url) = database else {
            let view = Self::InProcess(Following::start(engine)?);
            return Ok((view, Box::pin(std::future::pending())));
        };
        let opened = database::open(engine, url).await?;
        let view = Self::InDatabase(InDatabase::start(engine, &opened).await?);
        let failing = async move { opened.failing.await.into() };
        Ok((view, Box::pin(failing)))
    }

    /// Waits until what stands at this position is in the view, if that does not take too long.
    pub async fn reach(&self, position: Position, at_most: Duration) -> bool {
        match self {
            Self::InProcess(view) => view.reach(position, at_most).await,
            Self::InDatabase(view) => view.reach(position, at_most).await,
        }
    }

    /// The profile of a user.
    ///
    /// # Errors
    /// When the database has no answer.
    pub async fn of(&self, user: &UserId) -> Result<Option<Profile>, ViewError> {
        match self {
            Self::InProcess(view) => Ok(view.of(user)),
            Self::InDatabase(view) => view.of(user).await,
        }
    }

    /// Those of the users behind this one, by name, so many at the most.
    ///
    /// # Errors
    /// When the database has no answer.
    pub async fn page(
        &self,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<(UserId, Profile)>, ViewError> {
        match self {
            Self::InProcess(view) => Ok(view.page(after, limit)),
            Self::InDatabase(view) => view.page(after, limit).await,
        }
    }
}
