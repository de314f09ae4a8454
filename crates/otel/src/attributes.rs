//! What spans say: in names of our own, which stay, and in those of OpenTelemetry's conventions for
//! messaging (v1.44), which are not stable yet and have to be asked for.

use std::borrow::Cow;

use ensue::{Context, Envelope, EnvelopeBuilder, Outgoing};
use opentelemetry::KeyValue;

/// What `messaging.system` is.
const SYSTEM: &str = "ensue";
/// A topic that is made for one requester: its name would be another one each time.
const TEMPORARY: &str = "(temporary)";

/// Which attributes spans have.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Conventions {
    /// Those of messaging.
    pub(crate) messaging: bool,
}

/// What is done with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// It is made, by a handler.
    Create,
    /// It is appended.
    Send,
    /// It is handled.
    Process,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Send => "send",
            Self::Process => "process",
        }
    }

    /// The name of a span.
    pub(crate) fn of(self, topic: &str) -> String {
        format!("{} {}", self.name(), destination(topic))
    }
}

fn is_temporary(topic: &str) -> bool {
    topic.starts_with(ensue_core::topic::REPLIES)
}

fn destination(topic: &str) -> &str {
    if is_temporary(topic) {
        TEMPORARY
    } else {
        topic
    }
}

/// The topic of an event that is on its way out. A reply's is its requester's.
pub(crate) fn topic_of(event: &Outgoing) -> Cow<'_, str> {
    if event.is_reply() {
        return Cow::Borrowed(ensue_core::topic::REPLIES);
    }
    let topic = event.envelope().map(EnvelopeBuilder::topic_name);
    Cow::Borrowed(topic.unwrap_or_default())
}

/// What is known of an event.
pub(crate) struct Of<'a> {
    pub(crate) topic: &'a str,
    pub(crate) event_type: &'a str,
    pub(crate) id: Option<&'a str>,
    pub(crate) correlation: Option<&'a str>,
    pub(crate) bytes: Option<usize>,
}

impl<'a> Of<'a> {
    pub(crate) fn envelope(event: &'a Envelope) -> Self {
        Self {
            topic: event.topic(),
            event_type: event.event_type(),
            id: Some(event.id()),
            correlation: Some(event.correlation()),
            bytes: Some(event.payload().len()),
        }
    }

    pub(crate) fn outgoing(event: &'a Outgoing, topic: &'a str) -> Self {
        let envelope = event.envelope();
        Self {
            topic,
            event_type: envelope.map(EnvelopeBuilder::type_name).unwrap_or_default(),
            id: envelope.and_then(EnvelopeBuilder::id_text),
            correlation: None,
            bytes: None,
        }
    }
}

impl Conventions {
    pub(crate) fn of_event(self, operation: Operation, event: &Of<'_>) -> Vec<KeyValue> {
        let mut said = vec![
            KeyValue::new("ensue.topic", destination(event.topic).to_owned()),
            KeyValue::new("ensue.event.type", event.event_type.to_owned()),
        ];
        if let Some(id) = event.id {
            said.push(KeyValue::new("ensue.event.id", id.to_owned()));
        }
        if let Some(correlation) = event.correlation {
            said.push(KeyValue::new("ensue.correlation", correlation.to_owned()));
        }
        if self.messaging {
            of_messaging(operation, event, &mut said);
        }
        said
    }

    pub(crate) fn of_attempt(self, context: &Context, handler: &str) -> Vec<KeyValue> {
        let event = context.envelope();
        let mut said = self.of_event(Operation::Process, &Of::envelope(event));
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        said.extend([
            KeyValue::new("ensue.group", context.group().to_owned()),
            KeyValue::new("ensue.handler", handler.to_owned()),
            KeyValue::new("ensue.attempt", i64::from(context.attempt())),
            KeyValue::new("ensue.position", number(context.position().get())),
        ]);
        if self.messaging {
            let group = context.group().to_owned();
            said.push(KeyValue::new("messaging.consumer.group.name", group));
        }
        said
    }
}

fn of_messaging(operation: Operation, event: &Of<'_>, said: &mut Vec<KeyValue>) {
    said.extend([
        KeyValue::new("messaging.system", SYSTEM),
        KeyValue::new("messaging.operation.name", operation.name()),
        KeyValue::new("messaging.operation.type", operation.name()),
        KeyValue::new(
            "messaging.destination.name",
            destination(event.topic).to_owned(),
        ),
    ]);
    if is_temporary(event.topic) {
        said.push(KeyValue::new("messaging.destination.temporary", true));
    }
    if let Some(id) = event.id {
        said.push(KeyValue::new("messaging.message.id", id.to_owned()));
    }
    if let Some(correlation) = event.correlation {
        let correlation = correlation.to_owned();
        said.push(KeyValue::new(
            "messaging.message.conversation_id",
            correlation,
        ));
    }
    if let Some(bytes) = event.bytes {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        said.push(KeyValue::new("messaging.message.body.size", bytes));
    }
}
