//! `ensue projection switch`.

use std::io;

use clap::Args;
use serde::Serialize;

use super::Database;
use crate::failure::Failure;
use crate::output::{Output, Page, Report};

/// Make a version the one that is read; the one before can be switched back to
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ensue projection switch orders 2 --database postgres://shop@localhost/shop
  ensue projection switch orders 1              back again")]
pub(super) struct Switch {
    /// The projection
    projection: String,
    /// The version
    #[arg(value_name = "VERSION")]
    number: i64,
    /// Also if it is far behind the one that is read
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    database: Database,
}

#[derive(Serialize)]
struct Switched {
    projection: String,
    version: i64,
}

impl Switch {
    pub(super) async fn run(self, out: &Output) -> Result<(), Failure> {
        let projections = self.database.projections().await?;
        let (projection, version) = (self.projection, self.number);
        projections.switch(&projection, version, self.force).await?;
        out.report(&Switched {
            projection,
            version,
        })
    }
}

impl Report for Switched {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        page.line(format_args!(
            "version {} of `{}` is read",
            self.version, self.projection
        ))
    }
}
