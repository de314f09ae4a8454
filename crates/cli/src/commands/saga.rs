//! `ensue saga`: the processes of sagas, which of them are stuck, and what to do about it.

mod compensate;
mod list;
mod process;
mod retry;
mod show;

use clap::{Args, Subcommand};

use crate::failure::Failure;
use crate::output::Output;
use crate::target::Target;

/// See, retry or undo the processes of sagas
#[derive(Args, Debug)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Saga {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    List(list::List),
    Show(show::Show),
    Retry(retry::Retry),
    Compensate(compensate::Compensate),
}

impl Saga {
    pub(crate) async fn run(self, target: &Target, out: &Output) -> Result<(), Failure> {
        match self.action {
            Action::List(action) => action.run(target, out).await,
            Action::Show(action) => action.run(target, out).await,
            Action::Retry(action) => action.run(target, out).await,
            Action::Compensate(action) => action.run(target, out).await,
        }
    }
}
