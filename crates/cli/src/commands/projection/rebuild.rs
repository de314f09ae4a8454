//! `ensue projection rebuild`.

use std::io;

use clap::Args;
use serde::Serialize;

use super::Database;
use super::progress::follow;
use crate::failure::Failure;
use crate::output::{Output, Page, Report};

/// Have the program build another version of the tables, beside the one that is read
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ensue projection rebuild orders --database postgres://shop@localhost/shop
  ensue projection rebuild orders --follow      until it has caught up, with a progress bar")]
pub(super) struct Rebuild {
    /// The projection
    projection: String,
    /// Wait until the version has caught up, and show how far it is
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    database: Database,
}

#[derive(Serialize)]
struct Rebuilt {
    projection: String,
    version: i64,
    caught_up: bool,
}

impl Rebuild {
    pub(super) async fn run(self, out: &Output) -> Result<(), Failure> {
        let projections = self.database.projections().await?;
        let version = projections.rebuild(&self.projection).await?;
        if self.follow {
            follow(&projections, &self.projection, version).await?;
        }
        out.report(&Rebuilt {
            projection: self.projection,
            version,
            caught_up: self.follow,
        })
    }
}

impl Report for Rebuilt {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        let (projection, version) = (&self.projection, self.version);
        match self.caught_up {
            true => page.line(format_args!(
                "version {version} of `{projection}` has caught up; compare it, then switch to it"
            )),
            false => page.line(format_args!(
                "version {version} of `{projection}` is built by the program that runs the projection; `ensue \
                 projection list {projection}` shows how far it is"
            )),
        }
    }
}
