//! `ensue reset`: move a group to another place in the log.

use std::io;

use clap::{Args, ValueEnum};
use ensue::Start;
use ensue::engine::Driver;
use ensue::engine::{ReplayEffects, ReplayState, ResetPlan};
use serde::Serialize;

use super::confirm::confirm;
use crate::args::StartArg;
use crate::failure::Failure;
use crate::human;
use crate::output::{Output, Page, Report};
use crate::target::{Change, Target};

const CHANGE: Change = Change {
    undone: "the group was not moved",
    method: "Engine::reset",
};

/// Move a group: let it handle events again, or skip some
#[derive(Args, Debug)]
#[command(
    after_help = "Effects of events that the group has settled before are held back unless \
`--effects publish`
says otherwise: what a handler returned is then published again, with new ids. What a handler does
itself (calls, writes elsewhere) happens again either way.

Examples:
  ensue reset payments --to earliest --dry-run
  ensue reset payments --to 2026-05-17T09:30:00Z --yes
  ensue reset payments --to 2h --yes    two hours back
  ensue reset payments --to 4711 --yes  a position
  ensue reset totals --to earliest --state afresh --yes
  ensue reset payments --to 2h --effects publish --state keep --yes"
)]
pub(crate) struct Reset {
    /// The group
    group: String,
    /// Where to: `earliest`, `latest`, a position or a time
    #[arg(long, value_name = "WHERE")]
    to: StartArg,
    /// What becomes of the effects of events that it handles again
    #[arg(long, value_enum, default_value_t = EffectsArg::HoldBack)]
    effects: EffectsArg,
    /// What becomes of its state; has to be said when it has some and handles events again
    #[arg(long, value_enum)]
    state: Option<StateArg>,
    /// Do not ask
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
    /// Only show what would happen
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum EffectsArg {
    /// Only state and the position move
    HoldBack,
    /// Published again, with new ids
    Publish,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StateArg {
    /// It stays: events that are handled again change it a second time
    Keep,
    /// It is cleared: it knows only what is handled from then on
    Afresh,
}

#[derive(Serialize)]
struct Moved {
    dry_run: bool,
    #[serde(flatten)]
    plan: ResetPlan,
}

impl Reset {
    pub(crate) async fn run(self, target: &Target, out: &Output) -> Result<(), Failure> {
        let reader = target.reader().await?;
        let wanted = self.wanted(self.to.clone().resolve(reader.clock().now()));
        let plan = reader.plan_reset(&self.group, wanted).await?;
        reader.close().await?;
        if self.dry_run {
            return out.report(&Moved {
                dry_run: true,
                plan,
            });
        }
        if plan.state.is_none() {
            return Err(Failure::new(
                "undecided_state",
                format!("{}: nothing happened", undecided(&plan)),
                "add --state keep or --state afresh; --dry-run shows what would happen",
            ));
        }
        let intention = [vec![heading("moving", &plan)], lines(&plan)].concat();
        let intention = intention.join("; ");
        confirm(&intention, self.yes)?;
        // To the place that was shown, whatever was appended meanwhile.
        let wanted = self.wanted(Start::Cursor(plan.to));
        let work =
            async |engine: &dyn Driver| Ok(engine.reset(&self.group, wanted.clone()).await?);
        let plan = target.write(CHANGE, work).await?;
        out.report(&Moved {
            dry_run: false,
            plan,
        })
    }

    fn wanted(&self, to: Start) -> ensue::engine::Reset {
        let wanted = ensue::engine::Reset::to(to).effects(match self.effects {
            EffectsArg::HoldBack => ReplayEffects::HoldBack,
            EffectsArg::Publish => ReplayEffects::Publish,
        });
        match self.state {
            None => wanted,
            Some(StateArg::Keep) => wanted.state(ReplayState::Keep),
            Some(StateArg::Afresh) => wanted.state(ReplayState::Afresh),
        }
    }
}

fn heading(what: &str, plan: &ResetPlan) -> String {
    let group = human::printable(&plan.group);
    format!(
        "{what} group `{group}` from position {} to {}",
        plan.from, plan.to
    )
}

fn undecided(plan: &ResetPlan) -> String {
    format!(
        "the group has {} of state and would handle {} again: whether it is kept or starts afresh \
         has to be said",
        human::counted(plan.cells, "cell"),
        events(plan.again),
    )
}

/// What comes of it, one thing a line.
fn lines(plan: &ResetPlan) -> Vec<String> {
    let mut lines = Vec::new();
    if plan.again > 0 {
        lines.push(format!("{} will be handled again", events(plan.again)));
        lines.push(match plan.effects {
            ReplayEffects::HoldBack => "their effects are held back".to_owned(),
            ReplayEffects::Publish => "their effects are published again, with new ids; those whose \
                                       ids the handlers chose are duplicates within the dedup window"
                .to_owned(),
        });
    }
    if plan.skipped > 0 {
        lines.push(format!("{} will be skipped", events(plan.skipped)));
    }
    if plan.dropped > 0 {
        lines.push(format!(
            "{} that wait for an attempt or are parked will be given up",
            events(plan.dropped as u64)
        ));
    }
    let letters = |count| human::counted(count, "dead letter");
    if plan.dead_again > 0 {
        lines.push(format!(
            "{} will be handled again, too",
            letters(plan.dead_again)
        ));
    }
    if plan.dead_kept > 0 {
        lines.push(format!("{} stay", letters(plan.dead_kept)));
    }
    if plan.cells > 0 {
        let cells = human::counted(plan.cells, "cell");
        lines.push(match plan.state {
            None => undecided(plan),
            Some(ReplayState::Keep) if plan.again > 0 => {
                format!("{cells} of state stay, and are changed a second time")
            }
            Some(ReplayState::Keep) => format!("{cells} of state stay"),
            Some(ReplayState::Afresh) => format!("{cells} of state are cleared"),
        });
    }
    if plan.scheduled > 0 {
        let scheduled = human::counted(plan.scheduled, "scheduled event");
        let more = match (plan.again, plan.effects) {
            (0, _) | (_, ReplayEffects::HoldBack) => "",
            (_, ReplayEffects::Publish) => {
                "; what is handled again schedules again, and moves its timers"
            }
        };
        lines.push(format!("{scheduled} of the log stay scheduled{more}"));
    }
    if plan.from == plan.to {
        lines.push("it stays where it is".to_owned());
    }
    lines
}

fn events(count: u64) -> String {
    human::counted(usize::try_from(count).unwrap_or(usize::MAX), "event")
}

impl Report for Moved {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        match self.dry_run {
            true => page.line(format_args!("dry run: {}", heading("moving", &self.plan)))?,
            false => page.line(heading("moved", &self.plan))?,
        }
        for line in lines(&self.plan) {
            page.line(format_args!("  {line}"))?;
        }
        Ok(())
    }
}
