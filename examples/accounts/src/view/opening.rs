//! Profiles are kept sealed and opened where they are shown.

use ensue::prelude::*;

use crate::domain::{Profile, ShownProfile};
use crate::ids::UserId;

/// Profiles by user, as they are kept.
pub(super) type Sealed = Vec<(UserId, Profile)>;

/// What can be shown of a profile: nothing, once its user was forgotten.
///
/// # Errors
/// When the keys cannot be reached.
pub(crate) async fn opened(
    engine: &Engine,
    profile: &Profile,
) -> ensue::Result<Option<ShownProfile>> {
    let mut profile = profile.clone();
    engine.unmask(&mut profile.name).await?;
    engine.unmask(&mut profile.about).await?;
    Ok(profile.shown())
}
