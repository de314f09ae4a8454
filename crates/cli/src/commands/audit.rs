//! `ensue audit`: what operators did through a server.

mod verify;

use clap::{Args, Subcommand};

use crate::failure::Failure;
use crate::output::Output;
use crate::target::Target;

/// Verify the trail of what operators did through a server
#[derive(Args, Debug)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Audit {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Verify(verify::Verify),
}

impl Audit {
    pub(crate) async fn run(self, target: &Target, out: &Output) -> Result<(), Failure> {
        match self.action {
            Action::Verify(action) => action.run(target, out).await,
        }
    }
}
