//! The read side: the profiles that are published. In a database, behind a cache; or in the memory of
//! this process.

mod database;
mod fold;
mod in_database;
mod in_process;
mod opening;

use std::time::Duration;

use ensue::Position;
use ensue::prelude::*;
use futures_util::future::BoxFuture;

pub use self::database::ViewError;
pub use self::fold::Profiles;
use self::in_database::InDatabase;
use self::in_process::Following;
pub(crate) use self::opening::opened;
use crate::domain::ShownProfile;
use crate::ids::UserId;

/// The profiles that are published, as the log has them a moment ago. They are kept sealed, and opened for who asks.
pub struct View {
    engine: Engine,
    place: Place,
}

/// A part of all profiles.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// Those that can be shown.
    pub profiles: Vec<(UserId, ShownProfile)>,
    /// Behind whom the next part begins, if there may be one.
    pub next: Option<UserId>,
}

enum Place {
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
        let of = |place| Self {
            engine: engine.clone(),
            place,
        };
        let Some(url) = database else {
            let view = of(Place::InProcess(Following::start(engine)?));
            return Ok((view, Box::pin(std::future::pending())));
        };
        let opened = database::open(engine, url).await?;
        let view = of(Place::InDatabase(InDatabase::start(engine, &opened).await?));
        let failing = async move { opened.failing.await.into() };
        Ok((view, Box::pin(failing)))
    }

    /// Waits until what stands at this position is in the view, if that does not take too long.
    pub async fn reach(&self, position: Position, at_most: Duration) -> bool {
        match &self.place {
            Place::InProcess(view) => view.reach(position, at_most).await,
            Place::InDatabase(view) => view.reach(position, at_most).await,
        }
    }

    /// The profile of a user.
    ///
    /// # Errors
    /// When the database or the keys have no answer.
    pub async fn of(&self, user: &UserId) -> Result<Option<ShownProfile>, ViewError> {
        match &self.place {
            Place::InProcess(view) => match view.of(user) {
                Some(profile) => Ok(opened(&self.engine, &profile).await?),
                None => Ok(None),
            },
            Place::InDatabase(view) => view.of(user).await,
        }
    }

    /// Those of the users behind this one, in the order of their names, so many at the most.
    ///
    /// # Errors
    /// When the database or the keys have no answer.
    pub async fn page(&self, after: Option<&UserId>, limit: usize) -> Result<Page, ViewError> {
        let sealed = match &self.place {
            Place::InProcess(view) => view.page(after, limit),
            Place::InDatabase(view) => view.page(after, limit).await?,
        };
        let next = sealed.last().filter(|_| sealed.len() == limit);
        let next = next.map(|(user, _)| user.clone());
        let mut profiles = Vec::with_capacity(sealed.len());
        for (user, profile) in sealed {
            // Who was forgotten a moment ago has a row, and nothing to show.
            if let Some(profile) = opened(&self.engine, &profile).await? {
                profiles.push((user, profile));
            }
        }
        Ok(Page { profiles, next })
    }
}
