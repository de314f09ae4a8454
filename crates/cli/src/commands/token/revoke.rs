//! `ensue token revoke`.

use std::io;

use clap::Args;
use serde::Serialize;

use super::Place;
use crate::failure::Failure;
use crate::human;
use crate::output::{Output, Page, Report};

/// Revoke a token, or all tokens of a name
#[derive(Args, Debug)]
#[command(
    after_help = "A server that runs refuses the token within seconds, and ends its streams.

Examples:
  ensue token revoke 4f1c09aa27de --config ensue.toml
  ensue token revoke payments --config ensue.toml"
)]
pub(crate) struct Revoke {
    /// The id of the token, or the name whose tokens are meant
    token: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Serialize)]
struct Revoked {
    revoked: Vec<String>,
}

impl Revoke {
    pub(super) fn run(self, out: &Output) -> Result<(), Failure> {
        let (_, file) = self.place.open()?;
        let revoked = file.revoke(&self.token)?;
        out.report(&Revoked {
            revoked: revoked.into_iter().map(|token| token.id).collect(),
        })
    }
}

impl Report for Revoked {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        let count = human::counted(self.revoked.len(), "token");
        page.line(format_args!("revoked {count}: {}", self.revoked.join(", ")))
    }
}
