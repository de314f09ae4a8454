//! `ensue saga compensate`.

use std::io;

use clap::Args;
use ensue::engine::Driver;
use ensue::{SagaUndoing, Sagas, Timestamp};
use serde::Serialize;

use super::process;
use crate::commands::confirm::confirm;
use crate::failure::Failure;
use crate::human;
use crate::output::{Output, Page, Report};
use crate::target::{Change, Target};

const CHANGE: Change = Change {
    undone: "nothing is undone",
    method: "Sagas::compensate",
};

/// Have a process undone: its steps in reverse, the one at hand included
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ensue saga compensate checkout o-17 --reason 'the customer called' --dry-run
  ensue saga compensate checkout o-17 --reason 'the customer called' --yes

What the process is stuck at is given up for it. The app undoes it when it runs next.")]
pub(crate) struct Compensate {
    /// The saga
    saga: String,
    /// The key of the process
    key: String,
    /// Why: its path will say so
    #[arg(long, value_name = "WHY", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    reason: String,
    /// Only show what would be undone
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
}

#[derive(Serialize)]
struct Compensated {
    dry_run: bool,
    #[serde(flatten)]
    undoing: SagaUndoing,
}

impl Compensate {
    pub(crate) async fn run(self, target: &Target, out: &Output) -> Result<(), Failure> {
        let Self {
            saga, key, reason, ..
        } = &self;
        let reader = target.reader().await?;
        let plan = Sagas::of(&*reader).plan_compensation(saga, key).await?;
        reader.close().await?;
        let plan = plan.ok_or_else(|| process::unknown(saga, key))?;
        if self.dry_run {
            return out.report(&Compensated {
                dry_run: true,
                undoing: plan,
            });
        }
        let (name, of) = (human::printable(key), human::printable(saga));
        let steps = in_words(&plan.steps);
        confirm(
            &format!("undoing the process `{name}` of the saga `{of}`: {steps}"),
            self.yes,
        )?;
        let work = async |engine: &dyn Driver| {
            let done = Sagas::of(engine).compensate(saga, key, reason).await?;
            done.ok_or_else(|| process::unknown(saga, key))
        };
        let undoing = target.write(CHANGE, work).await?;
        out.report(&Compensated {
            dry_run: false,
            undoing,
        })
    }
}

/// Steps, in the order in which they are undone.
fn in_words(steps: &[String]) -> String {
    if steps.is_empty() {
        return "nothing was begun".to_owned();
    }
    let steps: Vec<String> = steps.iter().map(|step| human::printable(step)).collect();
    steps.join(", then ")
}

impl Report for Compensated {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        let SagaUndoing { process, steps, .. } = &self.undoing;
        let key = human::printable(&process.key);
        if self.dry_run {
            let one = std::slice::from_ref(process);
            page.table(process::table(one, Timestamp::now()))?;
        }
        let verb = if self.dry_run {
            "dry run: would undo"
        } else {
            "undoing"
        };
        page.line(format_args!("{verb} `{key}`: {}", in_words(steps)))
    }
}
