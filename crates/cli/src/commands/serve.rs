//! `ensue serve`: the engine over HTTP.

use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::task::Poll;

use clap::Args;
use ensue_server::{Config, ConfigError, ListenAddress, Server, ServerError};
use serde::Serialize;

use crate::failure::Failure;
use crate::human;
use crate::output::{Output, Page, Report};
use crate::target::Target;

/// The largest configuration file, in bytes.
const CONFIG_BYTES_MAX: u64 = 1024 * 1024;

/// Serve the engine over HTTP, to programs in any language
#[derive(Args, Debug)]
#[command(
    after_help = "It listens on loopback addresses only: there is no TLS and no authentication yet.
A directory that does not exist is created. Ctrl-C and SIGTERM stop it: what is under way is answered.

The configuration file is TOML; flags and environment variables come before it:
  engine = \"embedded:./data\"
  listen = \"127.0.0.1:3678\"
  [limits]
  body_bytes_max = 16777216

Examples:
  ensue serve
  ensue --engine embedded:/srv/shop serve --listen 127.0.0.1:4000
  ensue serve --config ensue.toml --check"
)]
pub(crate) struct Serve {
    /// The loopback address to listen on [default: 127.0.0.1:3678]
    #[arg(long, env = "ENSUE_LISTEN", value_name = "ADDRESS")]
    listen: Option<ListenAddress>,
    /// A file with settings
    #[arg(long, env = "ENSUE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check the configuration, print it whole and end
    #[arg(long)]
    check: bool,
}

/// What is served, and where.
#[derive(Serialize)]
struct Serving {
    listening: String,
    engine: String,
    pid: u32,
}

/// A configuration that can be served with.
#[derive(Serialize)]
#[serde(transparent)]
struct Checked(Config);

impl Serve {
    pub(crate) async fn run(self, target: &Target, out: &Output) -> Result<(), Failure> {
        let config = self.settings(target)?;
        let url = config.engine.as_deref();
        let target = Target::new(url.unwrap_or(target.url()).to_owned());
        if self.check {
            return out.report(&Checked(config));
        }
        let engine = target.serve(out).await?;
        let running = match Server::new(engine.clone()).config(config).start().await {
            Ok(running) => running,
            Err(error) => {
                engine.close().await?;
                return Err(error.into());
            }
        };
        // Before it says that it listens: a program that reads that may stop it at once.
        let mut stop = Box::pin(ensue::asked_to_stop());
        let is_asked = poll_fn(|context| Poll::Ready(stop.as_mut().poll(context).is_ready())).await;
        let said = out.write(|page| {
            let serving = Serving {
                listening: running.address().to_string(),
                engine: engine.url().to_owned(),
                pid: std::process::id(),
            };
            if out.is_json() {
                page.json_line(&serving)
            } else {
                serving.print(page)
            }
        });
        if said.is_ok() && !is_asked {
            stop.await;
        }
        out.note("stopping: requests under way are answered");
        running.stop().await;
        engine.close().await?;
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
        if target.is_given() || config.engine.is_none() {
            config.engine = Some(target.url().to_owned());
        }
        Ok(config)
    }
}

fn read(path: &Path) -> Result<Config, Failure> {
    use io::Read as _;
    let shown = path.display().to_string();
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(CONFIG_BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(|error| Failure::io(&format!("cannot read `{shown}`"), &error))?;
    text.parse().map_err(|error: ConfigError| {
        Failure::new(
            "config",
            format!("`{shown}`: {error}"),
            "correct it, and look at it with `ensue serve --config FILE --check`",
        )
    })
}

impl From<ServerError> for Failure {
    fn from(error: ServerError) -> Self {
        let (kind, advice) = match &error {
            ServerError::Listen { .. } => {
                ("listen", "stop what is there, or give another --listen")
            }
            _ => ("config", "correct the configuration"),
        };
        Self::new(kind, error.to_string(), advice)
    }
}

impl Report for Serving {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        let engine = human::printable(&self.engine);
        page.line(format_args!(
            "serving {engine} at http://{} (this machine only, without authentication)",
            self.listening
        ))
    }
}

impl Report for Checked {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        page.json_line(self)
    }
}
