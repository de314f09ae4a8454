//! `ensue completions`: what a shell needs to complete the command line.

use clap::{Args, Command};
use clap_complete::Shell;

use crate::failure::Failure;
use crate::output::Output;

/// Print the completions for a shell
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ensue completions bash > ~/.local/share/bash-completion/completions/ensue
  ensue completions zsh > ~/.zfunc/_ensue
  ensue completions fish > ~/.config/fish/completions/ensue.fish")]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    /// Prints the completions of `command`.
    pub(crate) fn run(self, mut command: Command, out: &Output) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "ensue", &mut script);
        out.write(|page| page.raw(&script))
    }
}
