//! A broker of a test's making: it takes the versions that it is told to, and has one empty topic.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::BufMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::engine::Url;
use crate::kafka::protocol::Code;
use crate::kafka::wire::{put_length, put_string};

const FETCH: i16 = 1;
const LIST_OFFSETS: i16 = 2;
const METADATA: i16 = 3;
const VERSIONS: i16 = 18;
const DELETE_TOPICS: i16 = 20;
const DESCRIBE_CONFIGS: i16 = 32;

/// What Kafka 4 takes of the requests that are made.
const TAKEN: [(i16, RangeInclusive<i16>); 9] = [
    (0, 3..=13),
    (FETCH, 4..=18),
    (LIST_OFFSETS, 1..=11),
    (METADATA, 0..=13),
    (17, 0..=1),
    (19, 2..=7),
    (DELETE_TOPICS, 1..=6),
    (DESCRIBE_CONFIGS, 1..=4),
    (36, 0..=2),
];

/// How a broker answers the question which versions it takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// As Kafka 2.4 and later do.
    Compact,
    /// As older ones do, which refuse the newer question first.
    Oldest,
}

#[derive(Debug)]
pub(super) struct Broker {
    taken: Vec<(i16, RangeInclusive<i16>)>,
    form: Form,
    /// After the topic was deleted, how often it is shown all the same.
    shown_for: AtomicUsize,
    is_deleted: AtomicBool,
}

impl Broker {
    pub(super) fn new() -> Self {
        Self {
            taken: TAKEN.to_vec(),
            form: Form::Compact,
            shown_for: AtomicUsize::new(0),
            is_deleted: AtomicBool::new(false),
        }
    }

    /// It takes a request in these versions; in none without them.
    pub(super) fn taking(mut self, api: i16, versions: Option<RangeInclusive<i16>>) -> Self {
        self.taken.retain(|(number, _)| *number != api);
        self.taken.extend(versions.map(|versions| (api, versions)));
        self
    }

    pub(super) fn answering(mut self, form: Form) -> Self {
        self.form = form;
        self
    }

    pub(super) fn showing_a_deleted_topic(mut self, times: usize) -> Self {
        self.shown_for = AtomicUsize::new(times);
        self
    }

    /// Starts it, at the URL that is returned.
    pub(super) async fn start(self) -> Url {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("kafka://{}", listener.local_addr().unwrap());
        let broker = Arc::new(self);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(broker.clone().serve(stream));
            }
        });
        Url::parse(&url).unwrap()
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        while let Ok(length) = stream.read_i32().await {
            let mut request = vec![0; length as usize];
            stream.read_exact(&mut request).await.unwrap();
            let [api, version] =
                [0, 2].map(|at| i16::from_be_bytes([request[at], request[at + 1]]));
            let mut answer = request[4..8].to_vec();
            match api {
                VERSIONS => self.put_versions(&mut answer, version),
                METADATA => self.put_metadata(&mut answer),
                LIST_OFFSETS => put_end(&mut answer),
                DESCRIBE_CONFIGS => put_settings(&mut answer),
                DELETE_TOPICS => {
                    self.is_deleted.store(true, Ordering::Relaxed);
                    put_deleted(&mut answer);
                }
                // As Kafka does with a request that it does not know.
                _ => return,
            }
            stream.write_i32(answer.len() as i32).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        }
    }

    fn put_versions(&self, answer: &mut Vec<u8>, version: i16) {
        let is_compact = version == 3 && matches!(self.form, Form::Compact);
        // An older broker says no more than that it does not know version 3.
        let is_refused = version != 0 && !is_compact;
        if is_refused {
            answer.put_i16(Code::UNSUPPORTED_VERSION.0);
            put_length(answer, 0);
            return;
        }
        answer.put_i16(0);
        if is_compact {
            answer.put_u8(self.taken.len() as u8 + 1);
        } else {
            put_length(answer, self.taken.len());
        }
        for (api, versions) in &self.taken {
            for number in [*api, *versions.start(), *versions.end()] {
                answer.put_i16(number);
            }
            if is_compact {
                answer.put_u8(0);
            }
        }
        if is_compact {
            answer.put_i32(0);
            answer.put_u8(0);
        }
    }

    fn shows_once_more(&self) -> bool {
        let times = &self.shown_for;
        let counted = times.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |times| {
            times.checked_sub(1)
        });
        counted.is_ok()
    }

    /// One broker, which leads the topic's one partition.
    fn put_metadata(&self, answer: &mut Vec<u8>) {
        let is_shown = !self.is_deleted.load(Ordering::Relaxed) || self.shows_once_more();
        answer.put_i32(0);
        put_length(answer, 1);
        answer.put_i32(1);
        put_string(answer, "127.0.0.1");
        answer.put_i32(9092);
        put_none(answer);
        put_none(answer);
        answer.put_i32(1);
        put_length(answer, 1);
        answer.put_i16(if is_shown { 0 } else { Code::UNKNOWN_TOPIC.0 });
        put_string(answer, "topic");
        answer.put_i8(0);
        put_length(answer, usize::from(is_shown));
        if is_shown {
            answer.put_i16(0);
            for number in [0, 1, 1, 1, 1, 1] {
                answer.put_i32(number);
            }
        }
    }
}

/// The log is empty.
fn put_end(answer: &mut Vec<u8>) {
    put_length(answer, 1);
    put_string(answer, "topic");
    put_length(answer, 1);
    answer.put_i32(0);
    answer.put_i16(0);
    answer.put_i64(-1);
    answer.put_i64(0);
}

/// No setting is there.
fn put_settings(answer: &mut Vec<u8>) {
    answer.put_i32(0);
    put_length(answer, 1);
    answer.put_i16(0);
    put_none(answer);
    answer.put_i8(2);
    put_string(answer, "topic");
    put_length(answer, 0);
}

fn put_deleted(answer: &mut Vec<u8>) {
    answer.put_i32(0);
    put_length(answer, 1);
    put_string(answer, "topic");
    answer.put_i16(0);
}

/// A text that is not there.
fn put_none(answer: &mut Vec<u8>) {
    answer.put_i16(-1);
}
