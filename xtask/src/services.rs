//! `cargo xtask services`: real brokers and databases for tests, private to this target directory.

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use servers::Launcher;

use crate::cargo::target;
use crate::say::say;

/// Run real brokers and databases for tests
#[derive(Debug, Subcommand)]
pub(crate) enum Services {
    /// Start servers, and wait until each of them answers
    Up {
        #[command(flatten)]
        names: Names,
        /// Install, build or fetch what is missing: Debian packages as root, Kafka, NATS
        #[arg(long)]
        install: bool,
    },
    /// End servers and remove their data
    Down(Names),
    /// List what was started
    Status {
        /// An array of objects: name, version, url, running, pid, start
        #[arg(long)]
        json: bool,
    },
    /// End a server and start it again: same port, same data
    Restart {
        #[arg(value_name = "NAME", value_parser = known_names())]
        name: String,
        /// With SIGKILL, without a chance to clean up
        #[arg(long)]
        kill: bool,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Names {
    /// Only these; without a name, `up` starts the usual ones and `down` ends all
    #[arg(value_name = "NAME", value_parser = known_names())]
    names: Vec<String>,
}

fn known_names() -> PossibleValuesParser {
    PossibleValuesParser::new(servers::names())
}

impl Services {
    pub(crate) fn run(self) -> bool {
        let may_install = matches!(self, Self::Up { install: true, .. });
        let done = Launcher::new(&target(), may_install).and_then(|launcher| match self {
            Self::Up { names, .. } => launcher.up(&names.names),
            Self::Down(Names { names }) => launcher.down(&names),
            Self::Restart { name, kill } => launcher.restart(&name, kill),
            Self::Status { json } => launcher.status(json),
        });
        match done {
            Ok(()) => true,
            Err(why) => {
                say(format_args!("!!! {why}"));
                false
            }
        }
    }
}
