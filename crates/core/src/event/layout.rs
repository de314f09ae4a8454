//! The fixed part of an envelope: 24 bytes, little-endian, which say how long each piece is.
//!
//! | bytes | what |
//! | --- | --- |
//! | 0 | version of this layout, 2 |
//! | 1 | codec: 0 none, 1 JSON, 2 MessagePack, 3 CBOR |
//! | 2–3 | version of the payload's schema |
//! | 4–11 | the event's time, microseconds since the Unix epoch |
//! | 12–17 | length of type, id, source, correlation, causation, content type |
//! | 18 | length of the trace context, 0 or 25 |
//! | 19 | bits 0–1: form of the payload, 0 by its type, 1 text, 2 binary; bit 2: the key is a `partitionkey` |
//! | 20–21 | length of the extensions |
//! | 22–23 | zero |
//!
//! The content type is empty if it is the codec's own, or if it is not given. An extension is the
//! length of its name (u8), its kind (0 text, 1 boolean, 2 integer, 3 an attribute that is hardly
//! ever there), the length of its value (u16), its name and its value as text.

pub(super) const LAYOUT_VERSION: u8 = 2;
pub(super) const FIXED_BYTES: usize = 24;
/// Where the lengths of the trace context and of the extensions are.
pub(super) const TRACE_AT: usize = 18;
pub(super) const EXTENSIONS_AT: usize = 20;

pub(super) const FORM_BITS: u8 = 0b11;
pub(super) const PARTITION_KEY_BIT: u8 = 0b100;

/// Whether a payload is text or bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PayloadForm {
    /// As its content type says.
    #[default]
    ByType,
    /// Text.
    Text,
    /// Bytes.
    Binary,
}
