//! `ensue audit verify`.

use std::io;

use clap::Args;
use ensue::TopicPattern;
use ensue::engine::Query;
use ensue_server::{AUDIT_TOPIC, AuditChain, AuditFinding, AuditHead, AuditReport};
use serde::Serialize;

use crate::failure::Failure;
use crate::human;
use crate::output::{Output, Page, Report, Tone};
use crate::target::Target;

/// How many entries are read at a time.
const PAGE: usize = 1000;

/// Verify that the audit trail is whole: nothing in it was changed, removed or moved
#[derive(Args, Debug)]
#[command(
    after_help = "Each entry has the hash of the one before it. Exits with 1 when something is wrong, and names
the entry. That the newest entries were cut off, or the whole trail was written again, is seen only by who
knows an entry from elsewhere: keep the head that this prints, and give it with --known the next time.
The entries themselves: `ensue tail _audit --from earliest`.

Examples:
  ensue audit verify
  ensue audit verify --known 17:6f1c…
  ensue --json audit verify | jq -r '.head | \"\\(.number):\\(.hash)\"'"
)]
pub(crate) struct Verify {
    /// An entry that is known from elsewhere
    #[arg(long, value_name = "NUMBER:HASH")]
    known: Option<AuditHead>,
}

#[derive(Serialize)]
struct Verified {
    good: bool,
    #[serde(flatten)]
    report: AuditReport,
}

impl Verify {
    pub(super) async fn run(self, target: &Target, out: &Output) -> Result<(), Failure> {
        let reader = target.reader().await?;
        let first = reader.health().await?.first;
        let mut chain = AuditChain::new(self.known);
        let topic: TopicPattern = AUDIT_TOPIC
            .parse()
            .map_err(|error| ensue::Error::from(ensue::error::ReadError::Topic(error)))?;
        let mut query = Query {
            topics: Some(topic),
            limit: PAGE,
            ..Query::default()
        };
        loop {
            let page = reader.read(query.clone()).await?;
            for found in &page.events {
                chain.add(found.position, &found.envelope);
            }
            if page.is_end {
                break;
            }
            query.from = page.next;
        }
        let report = chain.finish(first.position().get() > 0);
        if report.entries == 0 {
            out.note("there is no audit trail: a server writes one when it has `[auth]`, or `audit = true`");
        }
        let verified = Verified {
            good: report.is_good(),
            report,
        };
        out.report(&verified)?;
        if verified.good {
            Ok(())
        } else {
            Err(Failure::Reported)
        }
    }
}

impl Report for Verified {
    fn print(&self, page: &mut Page<'_>) -> io::Result<()> {
        let report = &self.report;
        let mut pairs = vec![("entries", human::count(report.entries))];
        if let Some(first) = report.first.filter(|first| *first > 1) {
            let removed = format!("{first}; retention removed those before");
            pairs.push(("oldest", removed));
        }
        if let Some(head) = &report.head {
            pairs.push(("head", head.to_string()));
        }
        page.pairs(&pairs)?;
        for finding in &report.findings {
            let text = AuditFinding::to_string(finding);
            let text = page.paint(Tone::Bad, &text);
            page.line(text)?;
        }
        if report.findings_more > 0 {
            page.line(format_args!(
                "and {} more",
                human::count(report.findings_more)
            ))?;
        }
        let verdict = if self.good {
            page.paint(Tone::Good, "the audit trail is whole")
        } else {
            page.paint(Tone::Bad, "the audit trail is not whole")
        };
        page.line(verdict)
    }
}
