//! `ensue tail`: events as they are in the log, and as they are appended.

mod last;
mod lines;

use clap::Args;
use ensue::engine::Driver;
use ensue::engine::Query;
use ensue::error::ReadError;
use ensue::{Cursor, Error, Start, Timestamp, TopicPattern};

use self::lines::Lines;
use crate::args::StartArg;
use crate::failure::Failure;
use crate::output::Output;
use crate::target::Target;

/// Show events: the last ones, those of a range, or new ones as they come
#[derive(Args, Debug)]
#[command(after_help = "Without --from, the last 10 events that match are shown.
With --json every event is one line: a CloudEvent whose extensions `ensueposition` and
`ensueappended` say where and when it was appended. Its payload is in it byte by byte: as `data`,
or as `data_base64` if it is not JSON or text, or has several lines of JSON.

Examples:
  ensue tail
  ensue tail 'orders.>' --follow
  ensue tail orders --type order.created --key o-17 --payload
  ensue tail --from 15m --until 5m
  ensue --json tail --from earliest | ensue --engine embedded:./copy publish --cloudevents -")]
pub(crate) struct Tail {
    /// Only topics that match: `*` is one part, a final `>` the rest
    pattern: Option<TopicPattern>,
    /// Only events of this type; may be repeated
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Only events with this key
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Begin here: `earliest`, `latest`, a position or a time (2026-05-17T09:30:00Z, 15m)
    #[arg(long, value_name = "WHERE", conflicts_with = "last")]
    from: Option<StartArg>,
    /// End before this position or time
    #[arg(long, value_name = "WHERE", conflicts_with = "follow")]
    until: Option<StartArg>,
    /// Begin so many matching events before the end
    #[arg(long, short = 'n', value_name = "N")]
    last: Option<usize>,
    /// Stop after so many events
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Go on with new events as they are appended
    #[arg(long, short = 'f')]
    follow: bool,
    /// Show whole payloads below their events
    #[arg(long)]
    payload: bool,
}

/// How many events `tail` shows when it is told nothing else.
const LAST_DEFAULT: usize = 10;
/// How many events are read at once: enough to be quick, few enough to appear at once.
const PAGE_EVENTS: usize = 1_000;

impl Tail {
    pub(crate) async fn run(self, target: &Target, out: &Output) -> Result<(), Failure> {
        let reader = target.reader().await?;
        let mut query = self.query(&*reader, reader.clock().now()).await?;
        let mut left = self.limit.unwrap_or(usize::MAX);
        let mut lines = Lines::new(out.is_json(), self.payload);
        let mut shown = 0;
        while left > 0 {
            query.limit = PAGE_EVENTS.min(left);
            let page = match reader.read(query.clone()).await {
                // Retention was faster than this command; a position that was asked for is told.
                Err(Error::Read(ReadError::Trimmed { first, .. }))
                    if self.from.is_none() || shown > 0 =>
                {
                    out.note(format_args!(
                        "retention removed events before position {first} that were not shown yet"
                    ));
                    query.from = first.into();
                    continue;
                }
                page => page?,
            };
            out.write(|to| lines.print(to, &page.events))?;
            shown += page.events.len();
            left = left.saturating_sub(page.events.len());
            let until = query.until.as_ref();
            let is_past = until.is_some_and(|until| page.next >= *until);
            let is_stuck = page.events.is_empty() && page.next == query.from;
            query.from = page.next.clone();
            if self.follow && page.is_end && left > 0 {
                reader.wait(page.next).await?;
            } else if page.is_end || is_past || (is_stuck && !self.follow) {
                break;
            }
        }
        if shown == 0 {
            out.note(
                "no event matches; `ensue topics` shows what there is, --follow waits for more",
            );
        }
        Ok(())
    }

    /// Which events are meant, and where they begin.
    async fn query(&self, engine: &dyn Driver, now: Timestamp) -> Result<Query, Failure> {
        let mut query = Query {
            topics: self.pattern.clone(),
            key: self.key.clone(),
            types: self.types.clone(),
            ..Query::default()
        };
        match self.until.clone().map(|until| until.resolve(now)) {
            None | Some(Start::Latest) => {}
            Some(Start::Earliest) => query.until = Some(Cursor::START),
            Some(Start::Cursor(until)) => query.until = Some(until),
            Some(Start::Time(before)) => query.before = Some(before),
        }
        let last = self.last.unwrap_or(LAST_DEFAULT);
        match self.from.clone().map(|from| from.resolve(now)) {
            None => query.from = last::start_of_last(engine, &query, last).await?.into(),
            Some(Start::Earliest) => {}
            Some(Start::Latest) => query.from = engine.health().await?.end,
            Some(Start::Cursor(from)) => query.from = from,
            Some(Start::Time(since)) => query.since = Some(since),
        }
        Ok(query)
    }
}
