//! How payloads become bytes and bytes become payloads.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::strict::Watch;

/// Room for most payloads: what is larger is moved while it is written.
const JSON_BYTES: usize = 512;

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

    /// The codec of a media type: of its own, of those that are used for the same, and of those
    /// that are made of it (`application/vnd.acme+json`). None of another `charset` than UTF-8.
    pub fn from_content_type(content_type: &str) -> Option<Self> {
        let media = content_type.split(';').next().unwrap_or_default().trim();
        let media = media.to_ascii_lowercase();
        let suffix = media.rsplit_once('+').map(|(_, suffix)| suffix);
        let codec = match (media.as_str(), suffix) {
            ("application/json" | "text/json", _) | (_, Some("json")) => Self::Json,
            ("application/cbor", _) | (_, Some("cbor")) => Self::Cbor,
            ("application/msgpack" | "application/vnd.msgpack" | "application/x-msgpack", _) => {
                Self::MessagePack
            }
            _ => return None,
        };
        let is_foreign = charset(content_type).is_some_and(|charset| !is_utf8(charset));
        (!is_foreign).then_some(codec)
    }

    /// Writes `value`.
    ///
    /// # Errors
    /// [`EncodeError`] when the value's own `Serialize` fails (a map whose keys are not text, say),
    /// and when it could be written but not read: an infinity or NaN in JSON, a key that is there
    /// twice, more than 127 levels.
    pub fn encode<T: Serialize + ?Sized>(self, value: &T) -> Result<Vec<u8>, EncodeError> {
        let watch = Watch::new(self == Self::Json);
        let written = {
            let value = watch.over(value);
            match self {
                Self::Json => {
                    let mut bytes = Vec::with_capacity(JSON_BYTES);
                    match serde_json::to_writer(&mut bytes, &value) {
                        Ok(()) => Ok(bytes),
                        Err(error) => Err(Unwritten::from(error)),
                    }
                }
                Self::MessagePack => rmp_serde::to_vec_named(&value).map_err(Unwritten::from),
                Self::Cbor => {
                    let mut bytes = Vec::new();
                    match ciborium::into_writer(&value, &mut bytes) {
                        Ok(()) => Ok(bytes),
                        Err(error) => Err(Unwritten::from(error)),
                    }
                }
            }
        };
        written.map_err(|error| EncodeError {
            codec: self,
            reason: watch.explain(&error),
        })
    }

    /// Writes `value` and, in a debug build, reads it back: a type whose `Deserialize` does not
    /// take what its `Serialize` writes is found by the first test that publishes one.
    ///
    /// # Errors
    /// As for [`Codec::encode`], and [`EncodeError`] when it cannot be read back.
    pub(crate) fn encode_readable<T: Serialize + DeserializeOwned>(
        self,
        value: &T,
    ) -> Result<Vec<u8>, EncodeError> {
        let bytes = self.encode(value)?;
        if cfg!(debug_assertions)
            && let Err(error) = self.decode::<T>(&bytes)
        {
            return Err(EncodeError {
                codec: self,
                reason: format!(
                    "what its `Serialize` writes, its `Deserialize` does not read: {error}"
                ),
            });
        }
        Ok(bytes)
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
            Self::MessagePack => {
                let mut rest = payload;
                let value = rmp_serde::from_read(&mut rest).map_err(|e| failed(e.to_string()))?;
                whole(value, rest).map_err(failed)
            }
            Self::Cbor => {
                let mut rest = payload;
                let value = ciborium::from_reader(&mut rest).map_err(|e| failed(e.to_string()))?;
                whole(value, rest).map_err(failed)
            }
        }
    }
}

/// A value behind which nothing is left.
fn whole<T>(value: T, rest: &[u8]) -> Result<T, String> {
    match rest.len() {
        0 => Ok(value),
        left => Err(format!("{left} bytes follow the value")),
    }
}

type Unwritten = Box<dyn std::error::Error + Send + Sync>;

/// The parameter `charset` of a media type.
pub(super) fn charset(content_type: &str) -> Option<&str> {
    let parameters = content_type.split(';').skip(1);
    let mut parameters = parameters.filter_map(|parameter| parameter.split_once('='));
    let (_, charset) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))?;
    Some(charset.trim().trim_matches('"'))
}

/// Whether texts in this character set are UTF-8.
pub(super) fn is_utf8(charset: &str) -> bool {
    ["utf-8", "us-ascii"]
        .iter()
        .any(|it| charset.eq_ignore_ascii_case(it))
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
            "declare the older type with `previous = …`"
        };
        Self {
            reason: format!(
                "`{name}` has version {found}, this program reads version {newest}; {advice}"
            ),
        }
    }

    /// A payload that was tried as JSON, because it declares nothing.
    pub(super) fn undeclared(self) -> Self {
        let reason = format!("the event declares no content type, and {}", self.reason);
        Self { reason }
    }

    /// A payload in an encoding that has no codec here.
    pub fn unknown_content_type(content_type: &str) -> Self {
        let known = "known are application/json, application/msgpack and application/cbor";
        let reason = match content_type {
            "" => format!("the event declares no content type; {known}"),
            content_type => format!("the content type `{content_type}` has no codec; {known}"),
        };
        Self { reason }
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
        assert_eq!(
            Codec::from_content_type("application/vnd.acme+JSON; v=2"),
            Some(Codec::Json)
        );
        assert_eq!(
            Codec::from_content_type("application/senml+cbor"),
            Some(Codec::Cbor)
        );
        assert_eq!(
            Codec::from_content_type("application/json; charset=\"utf-16\""),
            None
        );
    }

    #[derive(Serialize)]
    struct Outer {
        inner: Vec<Inner>,
    }

    #[derive(Serialize)]
    struct Inner {
        value: f64,
    }

    #[test]
    fn a_number_that_json_cannot_hold_is_refused_with_its_place() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let inner = vec![Inner { value: 1.0 }, Inner { value }];
            let error = Codec::Json.encode(&Outer { inner }).unwrap_err();
            assert!(error.to_string().contains("`inner[1].value`"), "{error}");
            for codec in [Codec::MessagePack, Codec::Cbor] {
                let bytes = codec.encode(&(value, value as f32)).unwrap();
                let (double, single): (f64, f32) = codec.decode(&bytes).unwrap();
                assert_eq!(double.to_bits(), value.to_bits());
                assert_eq!(f64::from(single).is_nan(), value.is_nan());
            }
        }
        let error = Codec::Json.encode(&f32::NAN).unwrap_err().to_string();
        assert!(error.contains("NaN"), "{error}");
        let by_key = std::collections::BTreeMap::from([("a", Some(f64::NAN))]);
        let error = Codec::Json.encode(&by_key).unwrap_err().to_string();
        assert!(error.contains("`a`"), "{error}");
    }

    #[test]
    fn a_key_that_is_there_twice_is_refused() {
        #[derive(Serialize)]
        struct Flat {
            a: u8,
            #[serde(flatten)]
            rest: std::collections::BTreeMap<String, u8>,
        }
        for codec in Codec::ALL {
            let flat = |key: &str| Flat {
                a: 1,
                rest: [(key.to_owned(), 2)].into(),
            };
            assert!(codec.encode(&flat("b")).is_ok());
            let error = codec.encode(&flat("a")).unwrap_err().to_string();
            assert!(error.contains("`a` is there twice"), "{error}");
        }
    }

    #[test]
    fn what_is_nested_too_deep_to_be_read_is_refused() {
        #[derive(Serialize, serde::Deserialize)]
        struct Nest(Vec<Nest>);
        let nest = |depth| (1..depth).fold(Nest(vec![]), |inner, _| Nest(vec![inner]));
        for codec in Codec::ALL {
            let bytes = codec.encode(&nest(127)).unwrap();
            codec.decode::<Nest>(&bytes).unwrap();
            let error = codec.encode(&nest(128)).unwrap_err().to_string();
            assert!(error.contains("127"), "{error}");
        }
    }

    #[test]
    fn what_follows_a_value_is_refused() {
        for codec in Codec::ALL {
            let mut bytes = codec.encode(&(1, "one")).unwrap();
            bytes.extend(codec.encode(&2).unwrap());
            let read = codec.decode::<(u8, String)>(&bytes);
            assert!(read.is_err(), "{codec:?}: {read:?}");
        }
    }

    #[test]
    fn a_value_that_cannot_be_read_back_is_found_by_a_test() {
        #[derive(Serialize, serde::Deserialize)]
        struct Forgetful {
            #[serde(skip_serializing)]
            lost: u8,
        }
        let forgetful = Forgetful { lost: 1 };
        for codec in Codec::ALL {
            let error = codec.encode_readable(&forgetful).unwrap_err().to_string();
            assert!(error.contains("lost"), "{error}");
        }
        assert_eq!(forgetful.lost, 1);
    }
}
