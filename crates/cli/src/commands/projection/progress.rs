//! How far a version is, as a bar.

use std::time::Duration;

use ensue_sql::{Projections, VersionStatus};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::failure::Failure;

/// How often it is looked how far a version is.
const LOOK: Duration = Duration::from_millis(250);

/// How much of the log is in the tables.
pub(super) fn percent(version: &VersionStatus) -> String {
    match (version.position, version.log_end) {
        (_, 0) => "-".to_owned(),
        (position, end) => format!("{} %", position.clamp(0, end).saturating_mul(100) / end),
    }
}

/// Waits until a version has caught up with the log, and shows how far it is: on stderr, and only on a
/// terminal.
pub(super) async fn follow(
    projections: &Projections,
    projection: &str,
    number: i64,
) -> Result<(), Failure> {
    let bar = new_bar(number);
    loop {
        let all = projections.list(Some(projection)).await?;
        let Some(version) = all.into_iter().find(|it| it.version == number) else {
            return Ok(()); // Somebody has removed it meanwhile.
        };
        bar.set_length(u64::try_from(version.log_end).unwrap_or(0));
        bar.set_position(u64::try_from(version.position).unwrap_or(0));
        bar.set_message(match version.owner {
            Some(_) => "",
            None => "; no program builds it",
        });
        if version.log_end > 0 && version.position >= version.log_end {
            bar.finish_and_clear();
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn new_bar(number: i64) -> ProgressBar {
    const FORM: &str =
        "{prefix:12} {bar:32} {percent:>3} %  {human_pos} of {human_len}, {eta} left{msg}";
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.set_prefix(format!("version {number}"));
    match ProgressStyle::with_template(FORM) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
