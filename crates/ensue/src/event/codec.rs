//! How payloads become bytes and bytes become payloads.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The encoding of a payload, named by its media type in the envelope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// `application/json`: readable by everything. The default.
    #[default]
    Json,
    /// `application/msgpack`: smaller; fields keep their names, so versions can differ.
    MessagePack,
    /// `application/cbor`: smaller, an IETF standard (RFC 8949).
    Cbor,
}

impl Codec {
    /// Every codec there is.
    pub const ALL: [Self; 3] = [Self::Json, Self::MessagePack, Self::Cbor];

    /// The media type, as in the CloudEvents attribute `datacontenttype`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::MessagePack => "application/msgpack",
            Self::Cbor => "application/cbor",
        }
    }

    /// The codec of a media type; parameters such as `; charset=utf-8` are ignored.
    pub fn from_content_type(content_type: &str) -> Option<Self> {
        let media = content_type.split(';').next().unwrap_or_default().trim();
        Self::ALL
            .into_iter()
            .find(|codec| codec.content_type().eq_ignore_ascii_case(media))
    }

    /// Writes `value`.
    ///
    /// # Errors
    /// [`EncodeError`] when the value's own `Serialize` fails (a map whose keys are not text, say).
    pub fn encode<T: Serialize + ?Sized>(self, value: &T) -> Result<Vec<u8>, EncodeError> {
        let failed = |reason: String| EncodeError {
            codec: self,
            reason,
        };
        match self {
            Self::Json => serde_json::to_vec(value).map_err(|e| failed(e.to_string())),
            Self::MessagePack => rmp_serde::to_vec_named(value).map_err(|e| failed(e.to_string())),
            Self::Cbor => {
                let mut bytes = Vec::new();
                ciborium::into_writer(value, &mut bytes).map_err(|e| failed(e.to_string()))?;
                Ok(bytes)
            }
        }
    }

    /// Reads a value.
    ///
    /// # Errors
    /// [`DecodeError`] with what the decoder found and where.
    pub fn decode<T: DeserializeOwned>(self, payload: &[u8]) -> Result<T, DecodeError> {
        let failed = |reason: String| DecodeError {
            reason: format!("the payload is not {self}: {reason}"),
        };
        match self {
            Self::Json => serde_json::from_slice(payload).map_err(|e| failed(e.to_string())),
            Self::MessagePack => rmp_serde::from_slice(payload).map_err(|e| failed(e.to_string())),
            Self::Cbor => ciborium::from_reader(payload).map_err(|e| failed(e.to_string())),
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "the JSON expected",
            Self::MessagePack => "the MessagePack expected",
            Self::Cbor => "the CBOR expected",
        })
    }
}

/// A value that its codec could not write.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the payload could not be written as {}: {reason}", codec.content_type())]
pub struct EncodeError {
    codec: Codec,
    reason: String,
}

/// A payload that is not what its reader expects. Never retried: the bytes will not change.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct DecodeError {
    reason: String,
}

impl DecodeError {
    /// A payload of a schema version that this program does not know.
    pub fn unknown_version(name: &str, found: u16, newest: u16) -> Self {
        let advice = if found > newest {
            "it was written by a newer program: update this one"
        } else {
            "declare the older type with `previous = …` in #[event(…)]"
        };
        Self {
            reason: format!(
                "`{name}` has version {found}, this program reads version {newest}; {advice}"
            ),
        }
    }

    /// A payload in an encoding that has no codec here.
    pub fn unknown_content_type(content_type: &str) -> Self {
        Self {
            reason: format!(
                "the content type `{content_type}` has no codec; known are application/json, \
                 application/msgpack and application/cbor"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_codec_reads_what_it_wrote() {
        for codec in Codec::ALL {
            let value = (7_u32, "text".to_owned(), vec![1.5_f64]);
            let bytes = codec.encode(&value).unwrap();
            assert_eq!(
                codec.decode::<(u32, String, Vec<f64>)>(&bytes).unwrap(),
                value
            );
            assert!(
                codec
                    .decode::<(u32, String, Vec<f64>)>(b"\xffgarbage")
                    .is_err()
            );
            assert_eq!(Codec::from_content_type(codec.content_type()), Some(codec));
        }
        assert_eq!(
            Codec::from_content_type("application/json; charset=utf-8"),
            Some(Codec::Json)
        );
        assert_eq!(Codec::from_content_type("text/plain"), None);
    }
}
