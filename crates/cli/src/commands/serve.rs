//! `ensue serve`: the engine over HTTP and gRPC.

use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::task::Poll;
use std::time::Duration;

use clap::Args;
use ensue_server::{Config, ConfigError, EngineUrl, ListenAddress, Server, ServerError};
use serde::Serialize;

use crate::failure::Failure;
use crate::human;
use crate::output::{Output, Page, Report};
use crate::supervisor::Supervisor;
use crate::target::Target;
use crate::telemetry::Telemetry;

/// Serve the engine over HTTP and gRPC to programs in any language, and deliver its events by webhooks
#[derive(Args, Debug)]
#[command(
    after_help = "It listens on loopback addresses only, unless the configuration has TLS and authentication.
A directory that does not exist is created. Ctrl-C and SIGTERM stop it: what is under way is answered; a
second one leaves out what is left of `drain_delay`.
SIGHUP reloads certificates, tokens and permissions; files that change are read again by themselves.

The configuration file is TOML; flags and environment variables come before it:
  engine = \"embedded:./data\"
  listen = \"127.0.0.1:3678\"
  [tls]
  certificate = \"server.crt\"
  key = \"server.key\"
  [auth]
  tokens = \"tokens.json\"
  [roles.shop]
  publish = [\"orders.>\"]
  [[webhooks.endpoint]]
  name = \"shop\"
  url = \"https://shop.example/hooks\"
  topics = [\"orders.>\"]
  secrets = { file = \"secrets/shop\" }
Paths in it are meant from where it is.

Examples:
  ensue serve
  ensue --engine embedded:/srv/shop serve --listen 127.0.0.1:4000
  ensue serve --config ensue.toml --check"
)]
pub(crate) struct Serve {
    /// The address to listen on [default: 127.0.0.1:3678]
    #[arg(long, env = "ENSUE_LISTEN", value_name = "ADDRESS")]
    listen: Option<ListenAddress>,
    /// A file with settings
    #[arg(long, env = "ENSUE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Listen where other machines reach it, without TLS or without authentication: everyone who
    /// reaches it reads, changes and deletes everything
    #[arg(long)]
    insecure_let_everyone_in: bool,
    /// Wait for so long when another process owns the directory, one that is stopping, say
    #[arg(long, value_name = "DURATION", value_parser = ensue::parse_duration, default_value = "0s")]
    wait: Duration,
    /// Check the configuration and the files that it names, print it without secrets and end
    #[arg(long)]
    check: bool,
    /// Print what the HTTP API is, as a document of OpenAPI 3.1 in JSON, and end
    #[arg(long, conflicts_with = "check")]
    openapi: bool,
}

/// What is served, and where.
#[derive(Serialize)]
struct Serving {
    listening: String,
    engine: String,
    pid: u32,
    tls: bool,
    authentication: bool,
    #[serde(skip)]
    is_loopback: bool,
}

/// A configuration that can be served with.
#[derive(Serialize)]
#[serde(transparent)]
struct Checked(Config);

impl Serve {
    pub(crate) async fn run(
        self,
        target: &Target,
        out: &Output,
        telemetry: Telemetry,
    ) -> Result<(), Failure> {
        if self.openapi {
            return out.write(|page| page.line(ensue_server::openapi()));
        }
        let served = self.serve(target, out, &telemetry).await;
        // Why a server does not start is in it as well.
        telemetry.end().await;
        served
    }

    async fn serve(
        self,
        target: &Target,
        out: &Output,
        telemetry: &Telemetry,
    ) -> Result<(), Failure> {
        let config = self.settings(target)?;
        let url = config.engine.as_ref().map(EngineUrl::reveal);
        let target = Target::new(url.unwrap_or(target.url()).to_owned());
        Server::check(&config)?;
        if self.check {
            return out.report(&Checked(config));
        }
        if target.require_directory().is_err() {
            // A log is made only where it can be served.
            Server::check_address(&config).await?;
        }
        let engine = target.serve(self.wait, out).await?;
        let (tls, authentication) = (config.tls.is_some(), config.auth.is_some());
        let server = telemetry.serve(Server::new(engine.clone()).config(config));
        let running = match server.start().await {
            Ok(running) => running,
            Err(error) => {
                engine.close().await?;
                return Err(error.into());
            }
        };
        // It listens to signals before it says that it listens: a program that reads that may send one at
        // once.
        let mut until = Box::pin(running.until(ensue::asked_to_stop()));
        let first = poll_fn(|context| Poll::Ready(until.as_mut().poll(context)));
        let is_asked = first.await.is_ready();
        let supervisor = Supervisor::new();
        let said = out.write(|page| {
            let serving = Serving {
                listening: running.address().to_string(),
                engine: engine.url().to_owned(),
                pid: std::process::id(),
                tls,
                authentication,
                is_loopback: running.address().ip().to_canonical().is_loopback(),
            };
            if out.is_json() {
                page.json_line(&serving)
            } else {
                serving.print(page)
            }
        });
        supervisor.ready(&format!("serves at {}", running.address()));
        if said.is_ok() && !is_asked {
            supervisor.watch(until.as_mut()).await;
        }
        drop(until);
        // From here on it is the second time, which who reads that it is stopping may ask at once.
        let again = ensue::asked_to_stop();
        supervisor.stopping();
        out.note("stopping: requests under way are answered");
        let stopping = async {
            running.stop_by(again).await;
            engine.close().await
        };
        supervisor.watch(stopping).await?;
        said
    }

    /// What the file says, the flags before it.
    fn settings(&self, target: &Target) -> Result<Config, Failure> {
        let mut config = match &self.config {
            Some(path) => read(path)?,
            None => Config::default(),
        };
        if let Some(listen) = self.listen {
            config.listen = listen;
        }
        config.insecure_let_everyone_in |= self.insecure_let_everyone_in;
        if target.is_given() || config.engine.is_none() {
            config.engine = Some(target.url().into());
        }
        Ok(config)
    }
}

/// The configuration in a file.
pub(super) fn read(path: &Path) -> Result<Config, Failure> {
    Config::read(path).map_err(|error| {
        let shown = path.display();
        Failure::new(
            "config",
            format!("`{shown}`: {error}"),
            "correct it, and look at it with `ensue serve --config FILE --check`",
        )
    })
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new("config", error.to_string(), "correct the configuration")
    }
}

impl From<ServerError> for Failure {
    fn from(error: ServerError) -> Self {
        match error {
            ServerError::Listen { .. } => {
                let advice = "stop what is there, or give another --listen";
                Self::new("listen", error.to_string(), advice)
            }
            ServerError::Webhooks(error) => Self::from(error).within("cannot start the webhooks"),
            _ => Self::new("config", error.to_string(), "correct the configuration"),
        }
    }
}

impl Report for Serving {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        let engine = human::printable(&self.engine);
        let scheme = if self.tls { "https" } else { "http" };
        let who = match (self.is_loopback, self.authentication) {
            (true, false) => "this machine only, without authentication",
            (true, true) => "this machine only, with authentication",
            (false, true) if self.tls => "over the network, with TLS and authentication",
            (false, true) => "over the network, WITHOUT TLS",
            (false, false) => "EVERYONE who reaches it may do everything",
        };
        page.line(format_args!(
            "serving {engine} at {scheme}://{} ({who})",
            self.listening
        ))
    }
}

impl Report for Checked {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        page.line("# good: it can be served with. What holds, with all that it leaves out:")?;
        page.line(human::printable_lines(&self.0.to_string()))
    }
}
