//! Which events a reader wants: what the query of a read says.

use ensue::engine;
use ensue::{Cursor, Timestamp, TopicPattern};

use super::filter::Filter;
use crate::context::Context;
use crate::http::deadline;
use crate::http::query::{Query, invalid};
use crate::problem::Problem;

/// What every read knows.
pub(super) const PARAMETERS: [&str; 6] = ["topic", "key", "type", "filter", "from", "until"];

/// Which events a reader wants.
#[derive(Debug)]
pub(super) struct Selection {
    /// Where, and what the engine looks at.
    pub(super) query: engine::Query,
    /// What it does not.
    pub(super) filter: Option<Filter>,
}

impl Selection {
    /// What `query` says; `from` is where it begins if it does not say that.
    pub(super) async fn of(context: &Context, query: &Query, from: Place) -> Result<Self, Problem> {
        let topics = query
            .text("topic")
            .map(str::parse::<TopicPattern>)
            .transpose();
        let topics =
            topics.map_err(|error| invalid("topic", &format!("is not a pattern: {error}")))?;
        let filter = query.text("filter").map(Filter::parse).transpose()?;
        let mut wanted = engine::Query {
            topics,
            key: query.text("key").map(str::to_owned),
            types: query.texts("type").map(str::to_owned).collect(),
            ..engine::Query::default()
        };
        match place(query, "from")?.unwrap_or(from) {
            Place::Earliest => {}
            Place::Latest => {
                let status = deadline::within(context, context.engine().status()).await?;
                wanted.from = status.end;
            }
            Place::At(cursor) => wanted.from = cursor,
            Place::Since(time) => wanted.since = Some(time),
        }
        match place(query, "until")? {
            None | Some(Place::Latest) => {}
            Some(Place::At(cursor)) => wanted.until = Some(cursor),
            Some(Place::Since(time)) => wanted.before = Some(time),
            Some(Place::Earliest) => return Err(invalid("until", "cannot be `earliest`")),
        }
        Ok(Self {
            query: wanted,
            filter,
        })
    }
}

/// A place in the log.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Place {
    Earliest,
    Latest,
    At(Cursor),
    Since(Timestamp),
}

fn place(query: &Query, name: &str) -> Result<Option<Place>, Problem> {
    let Some(text) = query.text(name) else {
        return Ok(None);
    };
    let place = match text {
        "earliest" => Place::Earliest,
        "latest" => Place::Latest,
        text => match (text.parse(), text.parse()) {
            (Ok(cursor), _) => Place::At(cursor),
            (_, Ok(time)) => Place::Since(time),
            _ => {
                let expected = "is not a place: expected `earliest`, `latest`, a cursor or position, or a \
                                time such as 2030-01-31T12:00:00Z (write `+` as %2B)";
                return Err(invalid(name, expected));
            }
        },
    };
    Ok(Some(place))
}
