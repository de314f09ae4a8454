//! What reads bytes from a disk or a wire, for fuzzers. Each says whether the bytes were taken;
//! none may panic or allocate more than the bytes justify.

use bytes::Bytes;

use crate::event::{Codec, Envelope};

/// Says whether it takes the bytes.
pub type Decoder = fn(&[u8]) -> bool;

/// The decoders by name; `fuzz/corpus` has a directory for each.
pub const TARGETS: [(&str, Decoder); 3] = [
    ("envelope", envelope),
    ("cloudevent", cloudevent),
    ("control_record", control_record),
];

/// An event as it is stored: the first two bytes are the lengths of topic and key.
#[must_use]
pub fn envelope(bytes: &[u8]) -> bool {
    let Some(([topic, key], content)) = bytes.split_first_chunk() else {
        return false;
    };
    let content = Bytes::copy_from_slice(content);
    let envelope = Envelope::from_content(content, usize::from(*topic), usize::from(*key));
    envelope.is_ok_and(|envelope| {
        read(&envelope);
        true
    })
}

/// Everything an event can be asked.
fn read(envelope: &Envelope) {
    let _ = (envelope.topic(), envelope.key(), envelope.event_type());
    let _ = (envelope.id(), envelope.source(), envelope.time());
    let _ = (envelope.correlation(), envelope.causation());
    let _ = (envelope.content_type(), envelope.codec(), envelope.trace());
    let _ = (envelope.version(), envelope.data_schema());
    let _ = (envelope.extensions().count(), envelope.extension("a"));
    let _ = (
        envelope.payload(),
        envelope.body(),
        envelope.to_cloudevent().to_string(),
    );
    let _ = envelope.to_builder().build();
}

/// A CloudEvent in JSON, or a batch of them.
#[must_use]
pub fn cloudevent(bytes: &[u8]) -> bool {
    if let Ok(batch) = Envelope::from_cloudevent_batch(bytes, Some("topic")) {
        batch.iter().for_each(read);
        return true;
    }
    let envelope = Envelope::from_cloudevent(bytes, Some("topic"));
    envelope.is_ok_and(|envelope| {
        read(&envelope);
        true
    })
}

/// A control record of the embedded engine: the first byte is its kind.
#[must_use]
pub fn control_record(bytes: &[u8]) -> bool {
    ensue_engine::fuzzing::control_record(bytes)
}

/// Good inputs for each decoder, by name.
#[must_use]
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let built = Envelope::builder("orders", "order.created")
        .key("order-1")
        .id("id-1")
        .source("/a/source")
        .correlation("c")
        .causation("d")
        .extension("colour", "red")
        .payload(Codec::Json, br#"{"total":3}"#.to_vec())
        .build();
    let Ok(envelope) = built else {
        return Vec::new();
    };
    let lengths = [envelope.topic().len() as u8, envelope.key().len() as u8];
    let mut seeds = vec![
        ("envelope", [&lengths[..], envelope.content()].concat()),
        (
            "cloudevent",
            envelope.to_cloudevent().to_string().into_bytes(),
        ),
    ];
    let control = ensue_engine::fuzzing::seeds(&envelope);
    seeds.extend(control.into_iter().map(|bytes| ("control_record", bytes)));
    seeds
}
