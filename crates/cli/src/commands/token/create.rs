//! `ensue token create`.

use std::io;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use ensue::Timestamp;
use serde::Serialize;

use super::Place;
use crate::failure::Failure;
use crate::human;
use crate::output::{Output, Page, Report};

/// Make a token, and show it once
#[derive(Args, Debug)]
#[command(
    after_help = "The token is printed on stdout and is not kept: the file has its hash. A server that \
runs sees it within seconds.

Examples:
  ensue token create payments --role consumer --config ensue.toml
  ensue token create ci --role publisher --expires 1h --config ensue.toml > token"
)]
pub(crate) struct Create {
    /// Whose it is: the name that logs and the audit trail have
    name: String,
    /// A role of the configuration; several times for several
    #[arg(long = "role", value_name = "ROLE", required = true)]
    roles: Vec<String>,
    /// From when on it is refused, counted from now: 90d, 1h, never
    #[arg(long, value_name = "DURATION", default_value = "90d")]
    expires: Expires,
    #[command(flatten)]
    place: Place,
}

#[derive(Clone, Copy, Debug)]
enum Expires {
    After(Duration),
    Never,
}

impl FromStr for Expires {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "never" => Ok(Self::Never),
            text => match ensue::parse_duration(text) {
                Ok(after) => Ok(Self::After(after)),
                Err(error) => Err(error.to_string()),
            },
        }
    }
}

#[derive(Serialize)]
struct Created {
    token: String,
    id: String,
    name: String,
    roles: Vec<String>,
    expires: Option<Timestamp>,
}

impl Create {
    pub(super) fn run(self, out: &Output) -> Result<(), Failure> {
        let (config, file) = self.place.open()?;
        for role in &self.roles {
            if let Err(problem) = config.check_role(role) {
                return Err(Failure::without_advice("role", format!("--role {problem}")));
            }
        }
        let now = Timestamp::now();
        let expires = match self.expires {
            Expires::After(after) => Some(now.plus(after)),
            Expires::Never => None,
        };
        let (entry, token) = file.create(&self.name, &self.roles, expires, now)?;
        let until = match entry.expires {
            Some(at) => format!("until {}", human::time(at)),
            None => "without an end".to_owned(),
        };
        let (id, roles) = (&entry.id, entry.roles.join(", "));
        out.note(format_args!(
            "token {id} of `{}` ({roles}), valid {until}; it is not shown again:",
            entry.name
        ));
        out.report(&Created {
            token: token.reveal().to_owned(),
            id: entry.id,
            name: entry.name,
            roles: entry.roles,
            expires: entry.expires,
        })
    }
}

impl Report for Created {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        page.line(&self.token)
    }
}
