//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// A user account system on Ensue.
#[derive(Clone, Debug, Parser)]
#[command(name = "accounts", version)]
pub struct Args {
    /// Look for brute force in log-ins that sshd recorded: the lines of this file become events, a
    /// service watches them, and what the log then says is printed
    #[arg(long, value_name = "SSHD.log")]
    pub replay: PathBuf,

    /// Where the events live [default: an embedded log in a temporary directory, which is removed]
    #[arg(long, value_name = "URL")]
    pub engine: Option<String>,

    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}
