//! A row that waits, and the event that it is.

use ensue::{Envelope, InvalidEvent, PAYLOAD_BYTES_MAX, Timestamp};
use ensue_core::topic::is_reserved;

use super::progress::SOURCE;
use super::schema::{OUTBOX, PARKED, RELAY};
use crate::database::{Cell, Database, Row};
use crate::dialect::Dialect;
use crate::error::Result;

/// The content type of a row whose data is the whole event, in the JSON format of CloudEvents.
pub(super) const CLOUD_EVENT: &str = "application/cloudevents+json";
/// What is read of a row at the most: the largest payload, in base64, with the largest attributes.
const DATA_BYTES_MAX: usize = PAYLOAD_BYTES_MAX / 3 * 4 + 256 * 1024;
/// After so many bytes of data a batch ends.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// The longest reason that is kept, in characters.
const REASON_CHARS: usize = 500;

/// A row, and what the engine would be given for it.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) id: i64,
    pub(super) topic: String,
    pub(super) key: String,
    /// Whether its key has a row that was refused.
    pub(super) is_behind: bool,
    /// How many batches the database had followed in the moment that has the row.
    pub(super) batch: i64,
    /// The event, or why it can never be one.
    pub(super) event: Result<Envelope, String>,
}

/// Selects up to so many rows behind a number, as one moment has them, for [`Waiting::read`].
///
/// Where one transaction had committed before another wrote, a moment that has the rows of the later one has
/// those of the earlier one, too, with lower numbers. Nothing is said of rows that this moment does not have:
/// they may get numbers in between, and are found the next time.
pub(super) fn select<DB: Database>() -> String {
    let dialect = Dialect::of::<DB>();
    let (data, bytes) = (dialect.data(), dialect.data_bytes());
    format!(
        "SELECT o.id, o.event_id, o.topic, o.type, o.event_key, o.source, o.content_type, o.written, t.bytes, \
           CASE WHEN t.bytes <= {DATA_BYTES_MAX} THEN {data} END AS data, \
           CASE WHEN EXISTS (SELECT 1 FROM {PARKED} p \
             WHERE p.topic = o.topic AND p.event_key = o.event_key) THEN 1 ELSE 0 END AS is_behind, \
           (SELECT batch FROM {RELAY} WHERE seat = 1) AS batch \
         FROM {OUTBOX} o JOIN (SELECT id, bytes, SUM(bytes) OVER (ORDER BY id) AS upto FROM (\
           SELECT id, {bytes} AS bytes FROM {OUTBOX} WHERE id > ? ORDER BY id LIMIT ?) w) t ON t.id = o.id \
         WHERE t.upto - t.bytes < {BATCH_BYTES} ORDER BY o.id"
    )
}

impl Waiting {
    pub(super) fn read(cells: Vec<Cell>) -> Result<Self> {
        let mut row = Row::new(OUTBOX, cells);
        let id = row.integer()?;
        let parts = Parts {
            event_id: row.text()?,
            topic: row.text()?,
            event_type: row.text()?,
            key: row.text()?,
            source: row.optional_text()?,
            content_type: row.text()?,
            written: row.integer()?,
            bytes: row.integer()?,
            data: row.optional_bytes()?,
        };
        let is_behind = row.integer()? != 0;
        let batch = row.integer()?;
        let event = parts.event();
        let Parts { topic, key, .. } = parts;
        Ok(Self {
            id,
            topic,
            key,
            is_behind,
            batch,
            event,
        })
    }

    /// From now on it is one that the engine refuses.
    pub(super) fn refuse(&mut self, why: &str) {
        self.event = Err(why.chars().take(REASON_CHARS).collect());
    }
}

/// The columns of a row.
struct Parts {
    event_id: String,
    topic: String,
    event_type: String,
    key: String,
    source: Option<String>,
    content_type: String,
    written: i64,
    bytes: i64,
    data: Option<Vec<u8>>,
}

impl Parts {
    fn event(&self) -> Result<Envelope, String> {
        let Some(data) = &self.data else {
            let bytes = self.bytes;
            return Err(format!(
                "its data has {bytes} bytes, the limit is {DATA_BYTES_MAX}; put it into an object store and \
                 its address into the event"
            ));
        };
        if is_reserved(&self.topic) {
            let reserved = InvalidEvent::ReservedTopic(self.topic.clone());
            return Err(reserved.to_string());
        }
        let event = if self.content_type == CLOUD_EVENT {
            Envelope::from_cloudevent(data, Some(&self.topic))
        } else {
            self.of_columns(data)
        };
        let event = event.map_err(|error| ensue::error::with_causes(&error))?;
        // Order goes by the columns.
        if event.topic() != self.topic || event.key() != self.key {
            return Err(format!(
                "the columns say topic `{}` and key `{}`, its data says topic `{}` and subject `{}`; write the \
                 same into both",
                self.topic,
                self.key,
                event.topic(),
                event.key()
            ));
        }
        Ok(event)
    }

    fn of_columns(&self, data: &[u8]) -> Result<Envelope, InvalidEvent> {
        Envelope::builder(self.topic.as_str(), self.event_type.as_str())
            .key(self.key.as_str())
            .id(self.event_id.as_str())
            .source(self.source.as_deref().unwrap_or(SOURCE))
            .time(Timestamp::from_micros(self.written))
            .opaque_payload(self.content_type.as_str(), data.to_vec())
            .build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(topic: &str, content_type: &str, data: Option<&str>) -> Vec<Cell> {
        let text = |text: &str| Cell::Text(text.to_owned());
        let data = data.map_or(Cell::Null, text);
        vec![
            Cell::Integer(1),
            text("id-1"),
            text(topic),
            text("order.paid"),
            text("o-1"),
            Cell::Null,
            text(content_type),
            Cell::Integer(1_000_000),
            Cell::Integer(99_000_000),
            data,
            Cell::Integer(0),
            Cell::Integer(0),
        ]
    }

    #[test]
    fn columns_and_a_whole_event_say_the_same() {
        let plain = cells("orders", "application/json", Some("{\"cents\":7}"));
        let plain = Waiting::read(plain).unwrap().event.unwrap();
        assert_eq!((plain.id(), plain.key()), ("id-1", "o-1"));
        assert_eq!(plain.payload(), b"{\"cents\":7}");
        let whole = plain.to_cloudevent().to_string();
        let whole = Waiting::read(cells("orders", CLOUD_EVENT, Some(&whole))).unwrap();
        assert_eq!(whole.event.unwrap().content(), plain.content());
    }

    #[test]
    fn what_can_never_be_an_event_says_why() {
        let event = "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\",\"subject\":\"other\"}";
        for (topic, content_type, data, why) in [
            ("no topic", "application/json", Some("{}"), "not a topic"),
            ("_outbox", "application/json", Some("{}"), "_outbox"),
            ("orders", "application/json", None, "99000000 bytes"),
            ("orders", CLOUD_EVENT, Some("{}"), "specversion"),
            ("orders", CLOUD_EVENT, Some(event), "subject `other`"),
        ] {
            let row = Waiting::read(cells(topic, content_type, data)).unwrap();
            let reason = row.event.unwrap_err();
            assert!(reason.contains(why), "{reason}");
        }
    }
}
