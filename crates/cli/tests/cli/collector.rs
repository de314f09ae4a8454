//! A receiver of OTLP over HTTP, with a reader of its protobuf of its own: what is tested is not its own
//! judge.

#![allow(clippy::disallowed_types, reason = "it is a receiver")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use crate::shop::PATIENCE;

/// A span, as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Span {
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) kind: Kind,
    pub(crate) attributes: BTreeMap<String, String>,
    /// The ids of the spans that it is linked to.
    pub(crate) links: Vec<String>,
    pub(crate) is_error: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    #[default]
    Unspecified,
    Server,
    Client,
    Producer,
    Consumer,
}

/// A log record, as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    pub(crate) body: String,
    pub(crate) trace: String,
    pub(crate) span: String,
}

#[derive(Default)]
struct Received {
    spans: Vec<Span>,
    records: Vec<Record>,
}

#[derive(Clone)]
pub(crate) struct Collector {
    pub(crate) url: String,
    shared: Arc<(Mutex<Received>, Condvar)>,
}

impl Collector {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let collector = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            shared: Arc::default(),
        };
        let this = collector.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let this = this.clone();
                std::thread::spawn(move || this.serve(&stream));
            }
        });
        collector
    }

    /// Answers requests until the connection ends.
    fn serve(&self, mut stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some((path, body)) = request(&mut reader) {
            let mut received = self.shared.0.lock().unwrap();
            match path.as_str() {
                "/v1/traces" => received.spans.extend(spans(&body)),
                "/v1/logs" => received.records.extend(records(&body)),
                other => panic!("{other} is not a path of OTLP"),
            }
            drop(received);
            self.shared.1.notify_all();
            let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }

    /// The spans, as soon as they are so.
    pub(crate) fn spans(&self, are: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        let (received, changed) = &*self.shared;
        let waits = |received: &mut Received| !are(&received.spans);
        let received = received.lock().unwrap();
        let (received, timeout) = changed
            .wait_timeout_while(received, PATIENCE, waits)
            .unwrap();
        assert!(!timeout.timed_out(), "{:#?}", received.spans);
        received.spans.clone()
    }

    /// The first log record that is so.
    pub(crate) fn record(&self, is: impl Fn(&Record) -> bool) -> Record {
        let (received, changed) = &*self.shared;
        let waits = |received: &mut Received| !received.records.iter().any(&is);
        let received = received.lock().unwrap();
        let (received, timeout) = changed
            .wait_timeout_while(received, PATIENCE, waits)
            .unwrap();
        assert!(!timeout.timed_out(), "{:#?}", received.records);
        received.records.iter().find(|it| is(it)).unwrap().clone()
    }
}

/// The path and the body of a request; nothing when the connection has ended.
fn request(reader: &mut BufReader<&TcpStream>) -> Option<(String, Vec<u8>)> {
    let (mut path, mut length, mut is_protobuf) = (String::new(), 0, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some(rest) = line.strip_prefix("POST ") {
            path = rest.split(' ').next().unwrap().to_owned();
        }
        match line.to_ascii_lowercase().split_once(": ") {
            Some(("content-length", value)) => length = value.parse().unwrap(),
            Some(("content-type", value)) => is_protobuf = value == "application/x-protobuf",
            _ => {}
        }
    }
    assert!(is_protobuf, "{path}");
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, body))
}

/// What a field of a message is.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Number(number) => panic!("{number} is not bytes"),
        }
    }

    fn text(&self) -> String {
        String::from_utf8(self.bytes().to_vec()).unwrap()
    }

    fn hex(&self) -> String {
        self.bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    fn number(&self) -> u64 {
        match self {
            Self::Number(number) => *number,
            Self::Bytes(_) => panic!("bytes are not a number"),
        }
    }
}

/// The fields of a message, each with its number.
fn fields(mut rest: &[u8]) -> Vec<(u64, Value<'_>)> {
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let key = varint(&mut rest);
        let value = match key & 7 {
            0 => Value::Number(varint(&mut rest)),
            1 => Value::Number(u64::from_le_bytes(
                *take(&mut rest, 8).first_chunk().unwrap(),
            )),
            2 => {
                let length = varint(&mut rest);
                Value::Bytes(take(&mut rest, usize::try_from(length).unwrap()))
            }
            5 => {
                let bytes = take(&mut rest, 4).first_chunk().unwrap();
                Value::Number(u32::from_le_bytes(*bytes).into())
            }
            other => panic!("{other} is not a wire type"),
        };
        fields.push((key >> 3, value));
    }
    fields
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, after) = rest.split_at(count);
    *rest = after;
    taken
}

fn varint(rest: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return number;
        }
    }
    panic!("a number is too long")
}

/// The fields of a message that have this number.
fn all<'a>(message: &'a [u8], number: u64) -> impl Iterator<Item = Value<'a>> {
    let fields = fields(message).into_iter();
    fields
        .filter(move |(found, _)| *found == number)
        .map(|(_, value)| value)
}

/// An `AnyValue`.
fn any_value(message: &[u8]) -> String {
    match fields(message).first() {
        Some((1, text)) => text.text(),
        Some((2, flag)) => (flag.number() == 1).to_string(),
        Some((3, number)) => number.number().cast_signed().to_string(),
        _ => String::new(),
    }
}

/// A `KeyValue`.
fn attribute(message: &[u8]) -> (String, String) {
    let name = all(message, 1).next().unwrap().text();
    let value = all(message, 2).next().map(|value| any_value(value.bytes()));
    (name, value.unwrap_or_default())
}

/// An `ExportTraceServiceRequest`.
fn spans(request: &[u8]) -> Vec<Span> {
    let mut spans = Vec::new();
    for of_resource in all(request, 1) {
        let of_resource = of_resource.bytes();
        let resource = all(of_resource, 1).next().unwrap();
        let mut attributes = all(resource.bytes(), 1).map(|it| attribute(it.bytes()));
        let service = attributes.find(|(name, _)| name == "service.name");
        let service = service.map(|(_, value)| value).unwrap_or_default();
        for of_scope in all(of_resource, 2) {
            for message in all(of_scope.bytes(), 2) {
                spans.push(Span {
                    service: service.clone(),
                    ..span(message.bytes())
                });
            }
        }
    }
    spans
}

fn span(message: &[u8]) -> Span {
    let mut span = Span::default();
    for (number, value) in fields(message) {
        match number {
            1 => span.trace = value.hex(),
            2 => span.id = value.hex(),
            4 => span.parent = value.hex(),
            5 => span.name = value.text(),
            6 => {
                span.kind = match value.number() {
                    2 => Kind::Server,
                    3 => Kind::Client,
                    4 => Kind::Producer,
                    5 => Kind::Consumer,
                    _ => Kind::Unspecified,
                }
            }
            9 => {
                let (name, value) = attribute(value.bytes());
                span.attributes.insert(name, value);
            }
            13 => span.links.extend(all(value.bytes(), 2).map(|id| id.hex())),
            15 => span.is_error = all(value.bytes(), 3).any(|code| code.number() == 2),
            _ => {}
        }
    }
    span
}

/// An `ExportLogsServiceRequest`.
fn records(request: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    for of_resource in all(request, 1) {
        for of_scope in all(of_resource.bytes(), 2) {
            for message in all(of_scope.bytes(), 2) {
                let mut record = Record::default();
                for (number, value) in fields(message.bytes()) {
                    match number {
                        5 => record.body = any_value(value.bytes()),
                        9 => record.trace = value.hex(),
                        10 => record.span = value.hex(),
                        _ => {}
                    }
                }
                records.push(record);
            }
        }
    }
    records
}
