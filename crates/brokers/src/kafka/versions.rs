//! Which versions of each request a broker takes, and whether the one that is spoken here is among them.
//!
//! It is asked first thing on every connection: the brokers of a cluster are upgraded one after the other.
//! A request that a broker does not take is refused when it is made: a process that only reads needs none
//! of those that create or delete a topic.

use std::fmt;
use std::ops::RangeInclusive;

use bytes::BufMut;

use super::protocol::{Api, Code, Request};
use super::wire::{Garbled, Read, Reader};

/// What takes every request in the version that is spoken here.
pub(super) const FITTING: &str = "Kafka 2.1 to 4";

/// The question in the form of Kafka 2.4 and later.
pub(super) fn ask() -> Request {
    let mut body = Vec::new();
    // Compact strings: one more than the length, then the text; no tagged fields.
    for text in ["ensue", env!("CARGO_PKG_VERSION")] {
        body.put_u8(text.len() as u8 + 1);
        body.put_slice(text.as_bytes());
    }
    body.put_u8(0);
    let api = Api::VERSIONS;
    Request { api, body }
}

/// The question in its first form, which brokers understand that know no other.
pub(super) fn ask_oldest() -> Request {
    Request {
        api: Api::VERSIONS_OLDEST,
        body: Vec::new(),
    }
}

/// What a broker takes.
#[derive(Debug, Default)]
pub(super) struct Versions {
    ranges: Vec<(i16, RangeInclusive<i16>)>,
    /// The level of the cluster's metadata, which goes up with its version; `None` before KRaft.
    pub(super) metadata_level: Option<i16>,
}

impl Versions {
    /// The answer to [`ask`]; `None` from a broker that wants to be asked in the first form.
    pub(super) fn read(mut answer: Reader) -> Read<(Code, Option<Self>)> {
        let code = Code(answer.i16()?);
        if code == Code::UNSUPPORTED_VERSION {
            return Ok((Code::NONE, None));
        }
        let mut versions = Self::default();
        for _ in 0..answer.compact_length()? {
            versions.ranges.push(range(&mut answer)?);
            skip_tags(&mut answer)?;
        }
        let _throttled = answer.i32()?;
        for _ in 0..answer.unsigned_varint()? {
            let tag = answer.unsigned_varint()?;
            let length = usize::try_from(answer.unsigned_varint()?);
            let field = answer.bytes(length.map_err(|_| Garbled("a length is too large"))?)?;
            if tag == 2 {
                versions.metadata_level = finalized_metadata(Reader::new(field))?;
            }
        }
        Ok((code, Some(versions)))
    }

    /// The answer to [`ask_oldest`].
    pub(super) fn read_oldest(mut answer: Reader) -> Read<(Code, Self)> {
        let code = Code(answer.i16()?);
        let ranges = answer.array(range)?;
        let versions = Self {
            ranges,
            metadata_level: None,
        };
        Ok((code, versions))
    }

    /// Checks that a kind of request is taken in the version that is spoken here.
    pub(super) fn check(&self, api: Api) -> Result<(), Mismatch> {
        let mut ranges = self.ranges.iter();
        let taken = ranges.find(|(number, _)| *number == api.number);
        match taken.map(|(_, range)| range) {
            Some(range) if range.contains(&api.version) => Ok(()),
            taken => Err(Mismatch {
                api,
                taken: taken.cloned(),
            }),
        }
    }
}

/// A request that a broker takes in other versions only, or not at all.
#[derive(Debug)]
pub(super) struct Mismatch {
    api: Api,
    taken: Option<RangeInclusive<i16>>,
}

impl Mismatch {
    pub(super) fn advice(&self) -> String {
        match &self.taken {
            Some(taken) if *taken.start() > self.api.version => {
                format!("upgrade Ensue, or use {FITTING}")
            }
            Some(_) => format!("upgrade the broker: {FITTING} works"),
            None => format!("use {FITTING}, or enable these requests on the broker"),
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Api { name, version, .. } = self.api;
        let Some(taken) = &self.taken else {
            return write!(f, "the broker does not support `{name}` requests");
        };
        let (min, max) = (taken.start(), taken.end());
        let age = if *max < version { "old" } else { "new" };
        write!(
            f,
            "the broker is too {age}: it takes `{name}` requests of versions {min} to {max}, and this \
             build speaks version {version}"
        )
    }
}

/// An api's number and its versions.
fn range(answer: &mut Reader) -> Read<(i16, RangeInclusive<i16>)> {
    Ok((answer.i16()?, answer.i16()?..=answer.i16()?))
}

fn finalized_metadata(mut features: Reader) -> Read<Option<i16>> {
    for _ in 0..features.compact_length()? {
        let name = features.compact_string()?;
        let (max, _min) = (features.i16()?, features.i16()?);
        skip_tags(&mut features)?;
        if name == "metadata.version" {
            return Ok(Some(max));
        }
    }
    Ok(None)
}

fn skip_tags(reader: &mut Reader) -> Read<()> {
    for _ in 0..reader.unsigned_varint()? {
        let _tag = reader.unsigned_varint()?;
        let length = usize::try_from(reader.unsigned_varint()?);
        reader.bytes(length.map_err(|_| Garbled("a length is too large"))?)?;
    }
    Ok(())
}
