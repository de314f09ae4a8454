//! The events and the queries of requests, for fuzzers.

use axum::http::{HeaderMap, Uri};
use ensue::{Cursor, Envelope, Timestamp};

use super::form::Form;
use super::{batch, options, page, selection, single, stream};
use crate::http::query::{Parameters as _, Query};
use crate::scan::Filter;
use crate::webhooks::fuzzing::request;

/// How many events a batch has at the most.
const EVENTS_MAX: usize = 1_000;

/// Headers, a line each, an empty line, and a body.
pub(in crate::http) fn event(bytes: &[u8]) -> bool {
    let (headers, body) = request(bytes);
    let Ok(form) = Form::of(&headers) else {
        return false;
    };
    if form == Form::Batch {
        let Ok(Some(events)) = batch::split(body, EVENTS_MAX) else {
            return false;
        };
        return events.iter().all(|event| {
            let event = Envelope::from_cloudevent(event.get().as_bytes(), Some("topic"));
            event.is_ok_and(|event| is_written_as_it_is(&event))
        });
    }
    let event = single::of_form(form, &headers, body.to_vec(), Some("topic"));
    event.is_ok_and(|event| event.is_ok_and(|event| is_written_as_it_is(&event)))
}

/// What a reader is given is read as the same event.
fn is_written_as_it_is(event: &Envelope) -> bool {
    let written = event.to_cloudevent();
    for text in [written.to_string(), written.on_one_line().to_string()] {
        let again = Envelope::from_cloudevent(text.as_bytes(), None);
        let again = again.unwrap_or_else(|error| unreadable(&text, &error));
        let of = |it: &Envelope| {
            (
                [it.topic(), it.key(), it.id(), it.source(), it.event_type()].map(str::to_owned),
                it.time(),
                it.payload().to_vec(),
            )
        };
        assert_eq!(of(&again), of(event), "{text}");
    }
    true
}

#[allow(clippy::panic, reason = "a fuzzer finds what panics")]
fn unreadable(text: &str, error: &ensue::InvalidEvent) -> ! {
    panic!("{error}: {text}")
}

/// The query of an append or a read.
pub(in crate::http) fn query(bytes: &[u8]) -> bool {
    let path = [&b"/v1/events?"[..], bytes].concat();
    let Ok(uri) = Uri::try_from(path) else {
        return false;
    };
    // Everything that the query of an append or a read may have.
    let known = [options::Appending::KNOWN, page::Paging::KNOWN].concat();
    let Ok(query) = Query::of(&uri, &known) else {
        return false;
    };
    let now = Timestamp::from_micros(1_700_000_000_000_000);
    let append = options::expect(&query).is_ok() && options::schedule(&query, now).is_ok();
    let mut headers = HeaderMap::new();
    if let Some(cursor) = query.text("cursor").and_then(|it| it.parse().ok()) {
        headers.insert(stream::LAST_EVENT_ID, cursor);
    }
    let resumed = stream::resumed(&headers);
    if let Ok(Some(cursor)) = &resumed {
        let again = cursor.to_string().parse::<Cursor>();
        assert_eq!(
            again.ok().as_ref(),
            Some(cursor),
            "a cursor is read as it is written"
        );
    }
    let filter = query.text("filter").map(Filter::parse).transpose();
    let places = ["from", "until"].map(|name| selection::start(&query, name).is_ok());
    append && resumed.is_ok() && filter.is_ok() && places == [true, true]
}
