//! `POST /v1/events`: appends events; they are durable when it answers.

use axum::extract::State;
use ensue::engine::Append;
use ensue::{Envelope, InvalidEvent};
use serde_json::json;
use serde_json::value::RawValue;

use super::form::Form;
use super::options::{Appending, Options};
use super::receipt::{Appended, Receipt};
use super::unread::{Events, SingleEvent};
use super::{batch, receipt, single};
use crate::context::Context;
use crate::http::query::Asked;
use crate::http::{body, deadline};
use crate::memory::Held;
use crate::problem::{Code, Problem};
use crate::security::Caller;
use crate::trace::RequestTrace;

/// How many invalid events of a batch are named.
const ERRORS_SHOWN_MAX: usize = 20;

/// An event of a request, or why it is not one, or not this caller's to publish.
type Item = Result<Append, Problem>;

/// The only event of a request, and what has to be kept as long as it is.
pub(in crate::http) async fn read_single(
    context: &Context,
    caller: &Caller,
    event: SingleEvent,
    topic: Option<&str>,
) -> Result<(Envelope, Held), Problem> {
    let (parts, body) = event.0.into_parts();
    let form = Form::of(&parts.headers)?;
    let (bytes, held) = body::read(context, &parts.headers, body)
        .await?
        .into_parts();
    let event = single::of_form(form, &parts.headers, bytes, topic)?;
    let trace = RequestTrace::of(&parts.extensions);
    Ok((checked((caller, &trace), event)?.envelope, held))
}

pub(super) async fn append(
    State(context): State<Context>,
    caller: Caller,
    query: Asked<Appending>,
    events: Events,
) -> Result<Appended, Problem> {
    let (parts, body) = events.0.into_parts();
    let options = Options::of(&context, &query)?;
    let topic = options.topic.as_deref();
    let form = Form::of(&parts.headers)?;
    let trace = RequestTrace::of(&parts.extensions);
    let whole = body::read(&context, &parts.headers, body).await?;
    if form == Form::Batch {
        let items = read_batch(&context, (&caller, &trace), whole.as_ref(), topic)?;
        return if options.is_atomic {
            append_all(&context, &options, items).await
        } else {
            append_each(&context, &options, items).await
        };
    }
    // What was read counts until it is answered.
    let (bytes, _held) = whole.into_parts();
    let event = single::of_form(form, &parts.headers, bytes, topic)?;
    let mut batch = vec![checked((&caller, &trace), event)?];
    options.apply(&mut batch)?;
    let appended = deadline::within(&context, context.engine().append(batch)).await?;
    context.counters().appended(&appended);
    let receipt = appended.first();
    let receipt = receipt.map(|appended| Receipt::of(*appended, options.due()));
    receipt.map(Appended::One).ok_or_else(short)
}

/// One result per event is the engine's contract.
fn short() -> Problem {
    Problem::new(
        Code::Internal,
        "the engine gave fewer results than there were events; report this fault",
    )
}

/// The events of a batch.
fn read_batch(
    context: &Context,
    from: (&Caller, &RequestTrace),
    bytes: &[u8],
    topic: Option<&str>,
) -> Result<Vec<Item>, Problem> {
    let events_max = context.limits().batch_events_max;
    if let Some(events) = Envelope::from_plain_batch(bytes, topic, events_max) {
        return Ok(events.into_iter().map(|it| checked(from, it)).collect());
    }
    let batch = batch::split(bytes, events_max).map_err(|error| {
        let detail = format!("the batch is not a JSON array of CloudEvents: {error}");
        Problem::new(Code::InvalidEvent, detail)
    })?;
    let Some(events) = batch else {
        let detail = format!(
            "the batch has more than {events_max} events, the limit `batch_events_max`; send several batches"
        );
        return Err(Problem::new(Code::BatchTooLarge, detail).with("max", events_max.into()));
    };
    let read = |event: &RawValue| {
        let event = Envelope::from_cloudevent(event.get().as_bytes(), topic);
        checked(from, event)
    };
    Ok(events.into_iter().map(read).collect())
}

/// An event that this caller may publish, in the trace of its request.
fn checked(
    (caller, trace): (&Caller, &RequestTrace),
    event: Result<Envelope, InvalidEvent>,
) -> Item {
    let event = event?;
    if ensue_core::topic::is_reserved(event.topic()) {
        return Err(InvalidEvent::ReservedTopic(event.topic().to_owned()).into());
    }
    caller.must_publish(event.topic(), event.source())?;
    Ok(trace.trace(event).into())
}

/// All of them or none.
async fn append_all(
    context: &Context,
    options: &Options,
    items: Vec<Item>,
) -> Result<Appended, Problem> {
    let mut batch = Vec::with_capacity(items.len());
    let mut errors = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        match item {
            Ok(append) => batch.push(append),
            Err(problem) => errors.push((index, problem)),
        }
    }
    if let Some((index, first)) = errors.first() {
        let (code, first) = (first.code(), first.detail());
        let detail = format!(
            "event {} of the batch: {first}; nothing was appended, as a batch is appended whole \
             (`atomic=false` appends the others)",
            index + 1
        );
        let shown = errors.iter().take(ERRORS_SHOWN_MAX);
        let shown = shown.map(|(index, it)| json!({ "index": index, "detail": it.detail() }));
        return Err(Problem::new(code, detail)
            .with("errors", shown.collect())
            .with("errors_total", errors.len().into()));
    }
    options.apply(&mut batch)?;
    let appended = deadline::within(context, context.engine().append(batch)).await?;
    context.counters().appended(&appended);
    let receipts = appended.into_iter();
    let receipts = receipts.map(|it| Receipt::of(it, options.due()));
    Ok(receipts.collect())
}

/// Those that are valid.
async fn append_each(
    context: &Context,
    options: &Options,
    items: Vec<Item>,
) -> Result<Appended, Problem> {
    let mut batch = Vec::with_capacity(items.len());
    let mut refused = Vec::with_capacity(items.len());
    for item in items {
        match item {
            Ok(append) => {
                batch.push(append);
                refused.push(None);
            }
            Err(problem) => refused.push(Some(problem)),
        }
    }
    options.apply(&mut batch)?;
    let appended = deadline::within(context, context.engine().append(batch)).await?;
    context.counters().appended(&appended);
    let mut appended = appended.into_iter();
    let mut result = |refused: Option<Problem>| match refused {
        Some(problem) => Err(problem),
        None => match appended.next() {
            Some(appended) => Ok(Receipt::of(appended, options.due())),
            None => Err(short()),
        },
    };
    receipt::each(refused.into_iter().map(&mut result).collect())
}
