//! `ensue dead discard`.

use clap::Args;
use ensue::Timestamp;
use ensue::engine::DeadLetterFilter;
use ensue::engine::Driver;

use super::selection::{Outcome, Selection};
use crate::commands::confirm::confirm;
use crate::failure::Failure;
use crate::human;
use crate::output::Output;
use crate::target::{Change, Target};

const CHANGE: Change = Change {
    undone: "nothing was discarded",
    method: "Engine::discard",
};

/// Give dead letters up for good; what is parked behind them goes on
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ensue dead discard payments --id order-17 --dry-run
  ensue dead discard payments --id order-17 --yes
  ensue dead discard payments --all --yes")]
pub(crate) struct Discard {
    #[command(flatten)]
    selection: Selection,
    /// Do not ask
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
}

impl Discard {
    pub(crate) async fn run(self, target: &Target, out: &Output) -> Result<(), Failure> {
        let Self { selection, yes } = self;
        let filter = selection.filter(Timestamp::now())?;
        let reader = target.reader().await?;
        let letters = selection.letters(&*reader, filter).await?;
        reader.close().await?;
        let (count, letters) = if selection.dry_run {
            (letters.len(), Some(letters))
        } else {
            let what = human::counted(letters.len(), "dead letter");
            let group = human::printable(&selection.group);
            confirm(
                &format!("giving up {what} of group `{group}` for good"),
                yes,
            )?;
            // The confirmed letters only: others may have died since they were listed.
            let agreed = DeadLetterFilter {
                positions: letters.iter().map(|letter| letter.position).collect(),
                ..DeadLetterFilter::default()
            };
            let work = async |engine: &dyn Driver| match agreed.positions.is_empty() {
                true => Ok(0),
                false => Ok(engine.discard(&selection.group, agreed).await?),
            };
            (target.write(CHANGE, work).await?, None)
        };
        out.report(&Outcome {
            group: selection.group,
            dry_run: selection.dry_run,
            count,
            letters,
            verb: "discarded",
        })
    }
}
