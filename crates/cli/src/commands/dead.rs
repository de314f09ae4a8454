//! `ensue dead`: what groups could not handle, and what to do about it.

mod discard;
mod letter;
mod list;
mod redrive;
mod selection;
mod show;

use clap::{Args, Subcommand};

pub(super) use self::letter::cause_in_words;
use crate::failure::Failure;
use crate::output::Output;
use crate::target::Target;

/// See, redrive or discard dead letters
#[derive(Args, Debug)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Dead {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    List(list::List),
    Show(show::Show),
    Redrive(redrive::Redrive),
    Discard(discard::Discard),
}

impl Dead {
    pub(crate) async fn run(self, target: &Target, out: &Output) -> Result<(), Failure> {
        match self.action {
            Action::List(action) => action.run(target, out).await,
            Action::Show(action) => action.run(target, out).await,
            Action::Redrive(action) => action.run(target, out).await,
            Action::Discard(action) => action.run(target, out).await,
        }
    }
}
