//! Reading: which events.

use ensue_core::engine::Query;
use ensue_core::{Cursor, Timestamp};

use crate::malformed::Malformed;
use crate::v1;

impl From<&Query> for v1::ReadRequest {
    /// Of one page.
    fn from(query: &Query) -> Self {
        Self {
            topics: query.topics.as_ref().map(|it| it.as_str().to_owned()),
            key: query.key.clone(),
            types: query.types.clone(),
            from: query.from.to_string(),
            until: query.until.as_ref().map(Cursor::to_string),
            since_us: query.since.map(Timestamp::as_micros),
            before_us: query.before.map(Timestamp::as_micros),
            limit: query.limit as u64,
            bytes_max: query.bytes_max as u64,
            one_page: true,
            follow: false,
            filter: String::new(),
        }
    }
}

impl TryFrom<&v1::ReadRequest> for Query {
    type Error = Malformed;

    fn try_from(request: &v1::ReadRequest) -> Result<Self, Malformed> {
        let from = match request.from.as_str() {
            "" => Cursor::START,
            text => text.parse()?,
        };
        Ok(Self {
            topics: request.topics.as_deref().map(str::parse).transpose()?,
            key: request.key.clone(),
            types: request.types.clone(),
            from,
            until: request.until.as_deref().map(str::parse).transpose()?,
            since: request.since_us.map(Timestamp::from_micros),
            before: request.before_us.map(Timestamp::from_micros),
            limit: usize::try_from(request.limit).unwrap_or(usize::MAX),
            bytes_max: usize::try_from(request.bytes_max).unwrap_or(usize::MAX),
        })
    }
}
