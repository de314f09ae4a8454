//! What the log says of profiles.

use std::collections::BTreeMap;
use std::ops::Bound;

use ensue::Position;
use ensue::engine::Query;
use ensue::prelude::*;

use super::opening::opened;
use crate::domain::{Profile, ShownProfile};
use crate::events::{ProfilePublished, ProfileUnpublished, UserForgotten};
use crate::ids::UserId;

/// The fold of all events that publish profiles, or take them down: sealed, as those are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profiles(BTreeMap<UserId, Profile>);

impl Profiles {
    /// The events that it takes.
    pub fn query() -> ensue::Result<Query> {
        let types = [
            ProfilePublished::TYPE,
            ProfileUnpublished::TYPE,
            UserForgotten::TYPE,
        ];
        Ok(Query {
            topics: Some(ProfilePublished::TOPIC.parse()?),
            types: types.map(str::to_owned).to_vec(),
            ..Query::default()
        })
    }

    /// Folds a log from its beginning to its end, and says where the last event is that it took.
    ///
    /// # Errors
    /// What the engine reports.
    pub async fn read(engine: &Engine) -> ensue::Result<(Self, Option<Position>)> {
        let (mut profiles, mut last) = (Self::default(), None);
        let mut events = engine.read(Self::query()?);
        while let Some(event) = events.next().await {
            let event = event?;
            profiles.apply(&event.envelope)?;
            last = Some(event.position);
        }
        Ok((profiles, last))
    }

    /// Takes the next event.
    ///
    /// # Errors
    /// When it does not decode.
    pub fn apply(&mut self, event: &Envelope) -> ensue::Result<()> {
        match event.event_type() {
            ProfilePublished::TYPE => {
                let ProfilePublished { user, name, about } = event.decode()?;
                self.0.insert(user, Profile { name, about });
            }
            ProfileUnpublished::TYPE => {
                let ProfileUnpublished { user, .. } = event.decode()?;
                self.0.remove(&user);
            }
            UserForgotten::TYPE => {
                let UserForgotten { user, .. } = event.decode()?;
                self.0.remove(&user);
            }
            _ => {}
        }
        Ok(())
    }

    /// The profile of a user.
    pub fn of(&self, user: &UserId) -> Option<&Profile> {
        self.0.get(user)
    }

    /// Those of the users behind this one, in the order of their names, so many at the most.
    pub fn page(&self, after: Option<&UserId>, limit: usize) -> Vec<(UserId, Profile)> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let page = self.0.range((after, Bound::Unbounded)).take(limit);
        page.map(|(user, profile)| (user.clone(), profile.clone()))
            .collect()
    }

    /// What can be shown of them.
    ///
    /// # Errors
    /// When the keys cannot be reached.
    pub async fn shown(&self, engine: &Engine) -> ensue::Result<BTreeMap<UserId, ShownProfile>> {
        let mut shown = BTreeMap::new();
        for (user, profile) in &self.0 {
            if let Some(profile) = opened(engine, profile).await? {
                shown.insert(user.clone(), profile);
            }
        }
        Ok(shown)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
