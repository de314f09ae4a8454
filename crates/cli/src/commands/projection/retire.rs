//! `ensue projection retire`.

use std::io;

use clap::Args;
use serde::Serialize;

use super::Database;
use crate::commands::confirm::confirm;
use crate::failure::Failure;
use crate::output::{Output, Page, Report};

/// End a version that is not read: no one builds it, or can switch to it, any more
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ensue projection retire orders 1 --yes --database postgres://shop@localhost/shop
Its tables and its group stay: `DROP TABLE orders_v1`, and `ensue delete orders-v1`, without which the
group keeps the log.")]
pub(super) struct Retire {
    /// The projection
    projection: String,
    /// The version
    #[arg(value_name = "VERSION")]
    number: i64,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    database: Database,
}

#[derive(Serialize)]
struct Retired {
    projection: String,
    version: i64,
}

impl Retire {
    pub(super) async fn run(self, out: &Output) -> Result<(), Failure> {
        let projections = self.database.projections().await?;
        let (projection, version) = (self.projection, self.number);
        let what = format!("version {version} of `{projection}` is built no more, for good");
        confirm(&what, self.yes)?;
        projections.retire(&projection, version).await?;
        out.report(&Retired {
            projection,
            version,
        })
    }
}

impl Report for Retired {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        page.line(format_args!(
            "version {0} of `{1}` is retired; remove its tables (`…_v{0}`) and its group (`ensue delete \
             {1}-v{0}`) when nobody reads them",
            self.version, self.projection
        ))
    }
}
