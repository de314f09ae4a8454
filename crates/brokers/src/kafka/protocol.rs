//! The requests that are made of a broker, each in one version, which brokers from 2.1 to 4 take, and what
//! their answers say.

use bytes::{BufMut, Bytes};

use super::wire::{Garbled, Read, Reader, put_length, put_string};

/// An error as the protocol numbers it; 0 stands for success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Code(pub(super) i16);

impl Code {
    pub(super) const NONE: Self = Self(0);
    pub(super) const OFFSET_OUT_OF_RANGE: Self = Self(1);
    pub(super) const UNKNOWN_TOPIC: Self = Self(3);
    pub(super) const LEADER_NOT_AVAILABLE: Self = Self(5);
    pub(super) const NOT_LEADER: Self = Self(6);
    pub(super) const MESSAGE_TOO_LARGE: Self = Self(10);
    pub(super) const RECORD_LIST_TOO_LARGE: Self = Self(18);
    pub(super) const TOPIC_AUTHORIZATION_FAILED: Self = Self(29);
    pub(super) const CLUSTER_AUTHORIZATION_FAILED: Self = Self(31);
    pub(super) const UNSUPPORTED_SASL_MECHANISM: Self = Self(33);
    pub(super) const ILLEGAL_SASL_STATE: Self = Self(34);
    pub(super) const UNSUPPORTED_VERSION: Self = Self(35);
    pub(super) const TOPIC_EXISTS: Self = Self(36);
    pub(super) const INVALID_REPLICATION_FACTOR: Self = Self(38);
    pub(super) const POLICY_VIOLATION: Self = Self(44);
    pub(super) const SASL_AUTHENTICATION_FAILED: Self = Self(58);

    /// What it means, for those that are met.
    pub(super) fn meaning(self) -> &'static str {
        match self.0 {
            1 => "the offset is out of range",
            3 => "the topic is not there",
            5 => "the partition has no leader",
            6 => "another broker is the leader",
            7 => "it took too long",
            10 | 18 => "it is too large",
            19 | 20 => "too few replicas are in sync",
            29 => "the user may not do this to the topic",
            31 => "the user may not do this to the cluster",
            33 => "the login's mechanism is not enabled",
            34 => "it takes no logins at this port",
            35 => "the request's version is not supported",
            38 => "there are fewer brokers than `replication` asks for",
            44 => "a policy forbids it",
            56 => "the broker cannot write to its disk",
            58 => "the login was refused",
            _ => "the request failed",
        }
    }
}

/// A kind of request, in the one version of it that is spoken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Api {
    pub(super) number: i16,
    pub(super) version: i16,
    pub(super) name: &'static str,
}

impl Api {
    pub(super) const VERSIONS: Self = Self::new(18, 3, "ApiVersions");
    pub(super) const VERSIONS_OLDEST: Self = Self::new(18, 0, "ApiVersions");
    const PRODUCE: Self = Self::new(0, 7, "Produce");
    const FETCH: Self = Self::new(1, 4, "Fetch");
    const LIST_OFFSETS: Self = Self::new(2, 1, "ListOffsets");
    const METADATA: Self = Self::new(3, 4, "Metadata");
    const SASL_HANDSHAKE: Self = Self::new(17, 1, "SaslHandshake");
    const CREATE_TOPICS: Self = Self::new(19, 2, "CreateTopics");
    const DELETE_TOPICS: Self = Self::new(20, 1, "DeleteTopics");
    const DESCRIBE_CONFIGS: Self = Self::new(32, 1, "DescribeConfigs");
    const SASL_AUTHENTICATE: Self = Self::new(36, 0, "SaslAuthenticate");

    const fn new(number: i16, version: i16, name: &'static str) -> Self {
        Self {
            number,
            version,
            name,
        }
    }
}

/// One request: what it asks, and its body.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) api: Api,
    pub(super) body: Vec<u8>,
}

fn request(api: Api, write: impl FnOnce(&mut Vec<u8>)) -> Request {
    let mut body = Vec::new();
    write(&mut body);
    Request { api, body }
}

pub(super) fn sasl_handshake(mechanism: &str) -> Request {
    request(Api::SASL_HANDSHAKE, |out| put_string(out, mechanism))
}

/// An error, and the mechanisms that are enabled.
pub(super) fn read_sasl_handshake(mut answer: Reader) -> Read<(Code, Vec<String>)> {
    let code = Code(answer.i16()?);
    let mechanisms = answer.array(|it| Ok(it.string()?.unwrap_or_default()))?;
    Ok((code, mechanisms))
}

pub(super) fn sasl_authenticate(token: &[u8]) -> Request {
    request(Api::SASL_AUTHENTICATE, |out| {
        put_length(out, token.len());
        out.put_slice(token);
    })
}

pub(super) fn read_sasl_authenticate(mut answer: Reader) -> Read<(Code, Bytes)> {
    let code = Code(answer.i16()?);
    let _message = answer.string()?;
    Ok((code, answer.blob()?))
}

/// A broker's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broker {
    pub(super) id: i32,
    pub(super) host: String,
    pub(super) port: u16,
}

/// What the cluster says of itself and of the topic's one partition.
#[derive(Clone, Debug)]
pub(super) struct Metadata {
    pub(super) brokers: Vec<Broker>,
    pub(super) controller: i32,
    pub(super) topic: Code,
    /// The topic's partitions: their error, leader, number of replicas and of those in sync.
    pub(super) partitions: Vec<(Code, i32, usize, usize)>,
}

pub(super) fn metadata(topic: &str) -> Request {
    request(Api::METADATA, |out| {
        put_length(out, 1);
        put_string(out, topic);
        // Never made by asking: it must have its settings from the start.
        out.put_u8(0);
    })
}

pub(super) fn read_metadata(mut answer: Reader) -> Read<Metadata> {
    let _throttled = answer.i32()?;
    let brokers = answer.array(|it| {
        let (id, host, port) = (it.i32()?, it.string()?, it.i32()?);
        let _rack = it.string()?;
        Ok(Broker {
            id,
            host: host.unwrap_or_default(),
            port: u16::try_from(port).map_err(|_| Garbled("a port is out of range"))?,
        })
    })?;
    let _cluster = answer.string()?;
    let controller = answer.i32()?;
    let topics = answer.array(|it| {
        let code = Code(it.i16()?);
        let _name = it.string()?;
        let _is_internal = it.i8()?;
        let partitions = it.array(|it| {
            let code = Code(it.i16()?);
            let (_index, leader) = (it.i32()?, it.i32()?);
            let replicas = it.array(Reader::i32)?.len();
            Ok((code, leader, replicas, it.array(Reader::i32)?.len()))
        })?;
        Ok((code, partitions))
    })?;
    let topic = topics.into_iter().next();
    let (topic, partitions) = topic.ok_or(Garbled("the topic is not in the answer"))?;
    Ok(Metadata {
        brokers,
        controller,
        topic,
        partitions,
    })
}

pub(super) fn create_topic(
    topic: &str,
    replication: i16,
    settings: &[(&str, &str)],
    timeout_ms: i32,
) -> Request {
    request(Api::CREATE_TOPICS, |out| {
        put_length(out, 1);
        put_string(out, topic);
        out.put_i32(1);
        out.put_i16(replication);
        put_length(out, 0);
        put_length(out, settings.len());
        for (name, value) in settings {
            put_string(out, name);
            put_string(out, value);
        }
        out.put_i32(timeout_ms);
        out.put_u8(0);
    })
}

pub(super) fn read_create_topic(mut answer: Reader) -> Read<(Code, Option<String>)> {
    let _throttled = answer.i32()?;
    let topics = answer.array(|it| {
        let _name = it.string()?;
        Ok((Code(it.i16()?), it.string()?))
    })?;
    only(topics)
}

pub(super) fn delete_topic(topic: &str, timeout_ms: i32) -> Request {
    request(Api::DELETE_TOPICS, |out| {
        put_length(out, 1);
        put_string(out, topic);
        out.put_i32(timeout_ms);
    })
}

pub(super) fn read_delete_topic(mut answer: Reader) -> Read<Code> {
    let _throttled = answer.i32()?;
    only(answer.array(|it| {
        let _name = it.string()?;
        Ok(Code(it.i16()?))
    })?)
}

const TOPIC_RESOURCE: i8 = 2;
pub(super) const BROKER_RESOURCE: i8 = 4;

pub(super) fn describe_topic(topic: &str) -> Request {
    describe(TOPIC_RESOURCE, topic)
}

pub(super) fn describe(kind: i8, name: &str) -> Request {
    request(Api::DESCRIBE_CONFIGS, |out| {
        put_length(out, 1);
        out.put_i8(kind);
        put_string(out, name);
        // All settings, without where they come from.
        out.put_i32(-1);
        out.put_u8(0);
    })
}

/// An error, and all settings that have a value.
pub(super) fn read_describe(mut answer: Reader) -> Read<(Code, Vec<(String, String)>)> {
    let _throttled = answer.i32()?;
    only(answer.array(|it| {
        let code = Code(it.i16()?);
        let _message = it.string()?;
        let _kind = it.i8()?;
        let _name = it.string()?;
        let settings = it.array(|it| {
            let (name, value) = (it.string()?, it.string()?);
            // Read-only, source, secret.
            it.bytes(3)?;
            it.array(|it| {
                let _synonym = (it.string()?, it.string()?, it.i8()?);
                Ok(())
            })?;
            Ok(name.zip(value))
        })?;
        Ok((code, settings.into_iter().flatten().collect()))
    })?)
}

/// Appends a batch, acknowledged by all replicas in sync.
pub(super) fn produce(topic: &str, batch: &[u8], timeout_ms: i32) -> Request {
    request(Api::PRODUCE, |out| {
        out.reserve(batch.len() + topic.len() + 64);
        // No transaction.
        out.put_i16(-1);
        out.put_i16(-1);
        out.put_i32(timeout_ms);
        put_length(out, 1);
        put_string(out, topic);
        put_length(out, 1);
        out.put_i32(0);
        put_length(out, batch.len());
        out.put_slice(batch);
    })
}

/// An error, and the first message's offset.
pub(super) fn read_produce(mut answer: Reader) -> Read<(Code, i64)> {
    only(only(answer.array(|it| {
        let _topic = it.string()?;
        it.array(|it| {
            let _index = it.i32()?;
            let produced = (Code(it.i16()?), it.i64()?);
            let (_time, _start) = (it.i64()?, it.i64()?);
            Ok(produced)
        })
    })?)?)
}

/// At least one batch from `offset` on, and more up to `bytes_max`.
pub(super) fn fetch(topic: &str, offset: i64, bytes_max: i32, wait_ms: i32) -> Request {
    request(Api::FETCH, |out| {
        out.put_i32(-1);
        out.put_i32(wait_ms);
        // Answer as soon as there is a byte.
        out.put_i32(1);
        out.put_i32(bytes_max);
        // Nothing here is in a transaction.
        out.put_i8(0);
        put_length(out, 1);
        put_string(out, topic);
        put_length(out, 1);
        out.put_i32(0);
        out.put_i64(offset);
        out.put_i32(bytes_max);
    })
}

/// An error, and batches, the last of which may be cut off.
pub(super) fn read_fetch(mut answer: Reader) -> Read<(Code, Bytes)> {
    let _throttled = answer.i32()?;
    only(only(answer.array(|it| {
        let _topic = it.string()?;
        it.array(|it| {
            let _index = it.i32()?;
            let code = Code(it.i16()?);
            let (_high, _stable) = (it.i64()?, it.i64()?);
            it.array(|it| Ok((it.i64()?, it.i64()?)))?;
            Ok((code, it.blob()?))
        })
    })?)?)
}

/// Which offset [`offset`] asks for.
#[derive(Clone, Copy, Debug)]
pub(super) enum At {
    /// The oldest message's.
    Start,
    /// After the newest message.
    End,
}

pub(super) fn offset(topic: &str, at: At) -> Request {
    request(Api::LIST_OFFSETS, |out| {
        out.put_i32(-1);
        put_length(out, 1);
        put_string(out, topic);
        put_length(out, 1);
        out.put_i32(0);
        out.put_i64(match at {
            At::Start => -2,
            At::End => -1,
        });
    })
}

pub(super) fn read_offset(mut answer: Reader) -> Read<(Code, i64)> {
    only(only(answer.array(|it| {
        let _topic = it.string()?;
        it.array(|it| {
            let _index = it.i32()?;
            let code = Code(it.i16()?);
            let _time = it.i64()?;
            Ok((code, it.i64()?))
        })
    })?)?)
}

/// The one item that was asked for.
fn only<T>(items: Vec<T>) -> Read<T> {
    let mut items = items.into_iter();
    match (items.next(), items.next()) {
        (Some(item), None) => Ok(item),
        _ => Err(Garbled("it is not about what was asked")),
    }
}
