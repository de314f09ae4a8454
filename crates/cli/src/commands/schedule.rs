//! `ensue schedule`: events that wait for their time.

mod cancel;
mod list;

use clap::{Args, Subcommand};

use crate::failure::Failure;
use crate::output::Output;
use crate::target::Target;

/// See or cancel events that wait for their time
#[derive(Args, Debug)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Schedule {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    List(list::List),
    Cancel(cancel::Cancel),
}

impl Schedule {
    pub(crate) async fn run(self, target: &Target, out: &Output) -> Result<(), Failure> {
        match self.action {
            Action::List(action) => action.run(target, out).await,
            Action::Cancel(action) => action.run(target, out).await,
        }
    }
}
