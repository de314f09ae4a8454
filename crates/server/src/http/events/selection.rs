//! Which events a reader wants: what the query of a read says.

use ensue::engine;
use ensue::error::ReadError;
use ensue::{Cursor, Error, Start, TopicPattern};

use crate::context::Context;
use crate::http::query::{Query, invalid};
use crate::http::{deadline, place};
use crate::openapi::{Kind, Parameter};
use crate::problem::Problem;
use crate::scan::{Filter, Scan};
use crate::security::Caller;

/// What every read knows.
pub(super) const PARAMETERS: [Parameter; 6] = [
    Parameter::new(
        "topic",
        Kind::TopicPattern,
        "A topic, or a pattern: `*` is one part of a name, `>` the rest. Every topic by default.",
    ),
    Parameter::new("key", Kind::Text, "One key."),
    Parameter::new("type", Kind::Text, "A type; several times for several.").repeatable(),
    Parameter::new(
        "filter",
        Kind::Name,
        "An expression of CloudEvents SQL over the attributes of events.",
    ),
    Parameter::new(
        "from",
        Kind::Start,
        "Where to begin: a cursor or a position, a time of appending, `earliest` or `latest`.",
    ),
    Parameter::new("until", Kind::Start, "Before what to end, as `from`."),
];

/// The events that `query` wants; `from` is where it begins if it does not say that.
pub(super) async fn scan(
    context: &Context,
    caller: &Caller,
    query: &Query,
    from: Start,
) -> Result<Scan, Problem> {
    let topics = query
        .text("topic")
        .map(str::parse::<TopicPattern>)
        .transpose();
    let topics = topics.map_err(|error| invalid("topic", &format!("is not a pattern: {error}")))?;
    let filter = query.text("filter").map(Filter::parse).transpose()?;
    let mut wanted = engine::Query {
        topics,
        key: query.text("key").map(str::to_owned),
        types: query.texts("type").map(str::to_owned).collect(),
        ..engine::Query::default()
    };
    match start(query, "from")?.unwrap_or(from) {
        Start::Earliest => {}
        Start::Latest => {
            let health = deadline::within(context, context.engine().health()).await?;
            wanted.from = health.end;
        }
        Start::Cursor(cursor) => wanted.from = cursor,
        Start::Time(time) => wanted.since = Some(time),
    }
    match start(query, "until")? {
        None | Some(Start::Latest) => {}
        Some(Start::Cursor(cursor)) => wanted.until = Some(cursor),
        Some(Start::Time(time)) => wanted.before = Some(time),
        Some(Start::Earliest) => return Err(invalid("until", "cannot be `earliest`")),
    }
    Scan::new(wanted, filter, caller.clone())
}

/// Refuses to go on from the very beginning when that is gone: the engine takes it for the oldest event that is kept.
pub(super) async fn must_go_on(context: &Context, cursor: &Cursor) -> Result<(), Problem> {
    if *cursor != Cursor::START {
        return Ok(());
    }
    let first = deadline::within(context, context.engine().health())
        .await?
        .first;
    if first == Cursor::START {
        return Ok(());
    }
    let (position, first) = (cursor.position(), first.position());
    Err(Error::Read(ReadError::Trimmed { position, first }).into())
}

pub(super) fn start(query: &Query, name: &str) -> Result<Option<Start>, Problem> {
    let Some(text) = query.text(name) else {
        return Ok(None);
    };
    let expected = "is not a place: expected `earliest`, `latest`, a cursor or position, or a time such as \
                    2030-01-31T12:00:00Z (write `+` as %2B)";
    let place = place::start(text).ok_or_else(|| invalid(name, expected))?;
    Ok(Some(place))
}
