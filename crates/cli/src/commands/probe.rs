//! `ensue probe`: whether the server of this machine is ready, for health checks.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ensue_server::{Config, ListenAddress, Probe as Ask, ProbeError};
use serde::Serialize;

use super::serve;
use crate::failure::Failure;
use crate::output::{Output, Page, Report};

/// Ask the server of this machine whether it is ready
#[derive(Args, Debug)]
#[command(
    after_help = "Exits with 0 when it is, with 1 when it is not, or does not answer. It needs no token, and with TLS
takes any certificate: it asks this machine. For a container without a shell:
  HEALTHCHECK CMD [\"/usr/bin/ensue\", \"probe\"]

Examples:
  ensue probe
  ensue probe --config /etc/ensue/ensue.toml
  ensue probe --live --listen 127.0.0.1:4000"
)]
pub(crate) struct Probe {
    /// The address that the server listens on [default: 127.0.0.1:3678]
    #[arg(long, env = "ENSUE_LISTEN", value_name = "ADDRESS")]
    listen: Option<ListenAddress>,
    /// The file with settings that the server was started with
    #[arg(long, env = "ENSUE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Ask whether the process answers at all, which it does while its engine is in trouble
    #[arg(long)]
    live: bool,
    /// How long to wait for the answer
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = ensue::parse_duration)]
    timeout: Duration,
}

/// What the server is.
#[derive(Serialize)]
struct Answered {
    server: &'static str,
}

impl Probe {
    pub(crate) async fn run(self, out: &Output) -> Result<(), Failure> {
        let mut config = match &self.config {
            Some(path) => serve::read(path)?,
            None => Config::default(),
        };
        if let Some(listen) = self.listen {
            config.listen = listen;
        }
        let (ask, server) = if self.live {
            (Ask::Live, "alive")
        } else {
            (Ask::Ready, "ready")
        };
        ask.ask(&config, self.timeout).await?;
        out.report(&Answered { server })
    }
}

impl From<ProbeError> for Failure {
    fn from(error: ProbeError) -> Self {
        let (kind, advice) = match &error {
            ProbeError::Refused { .. } => ("not_ready", "see the log of the server"),
            _ => (
                "unavailable",
                "start it with `ensue serve`, or say with --listen or --config where it is",
            ),
        };
        Self::new(kind, error.to_string(), advice)
    }
}

impl Report for Answered {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        page.line(self.server)
    }
}
