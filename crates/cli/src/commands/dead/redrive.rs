//! `ensue dead redrive`.

use clap::Args;
use ensue::Timestamp;
use ensue::engine::Driver;

use super::selection::{Outcome, Selection};
use crate::failure::Failure;
use crate::output::Output;
use crate::target::{Change, Target};

const CHANGE: Change = Change {
    undone: "nothing was redriven",
    method: "Engine::redrive",
};

/// Hand dead letters back to their group, with what is parked behind them
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ensue dead redrive payments --reason timeout --dry-run
  ensue dead redrive payments --id order-17
  ensue dead redrive payments --all

The group handles them when its app runs next; their attempts are counted from one again.")]
pub(crate) struct Redrive {
    #[command(flatten)]
    selection: Selection,
}

impl Redrive {
    pub(crate) async fn run(self, target: &Target, out: &Output) -> Result<(), Failure> {
        let Self { selection } = self;
        let filter = selection.filter(Timestamp::now())?;
        let (count, letters) = if selection.dry_run {
            let reader = target.reader().await?;
            let letters = selection.letters(&*reader, filter).await?;
            (letters.len(), Some(letters))
        } else {
            let work =
                async |engine: &dyn Driver| Ok(engine.redrive(&selection.group, filter).await?);
            (target.write(CHANGE, work).await?, None)
        };
        out.report(&Outcome {
            group: selection.group,
            dry_run: selection.dry_run,
            count,
            letters,
            verb: "redriven",
        })
    }
}
