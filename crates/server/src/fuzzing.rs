//! What reads what clients send and what operators write, for fuzzers. Each says whether the bytes were
//! taken; none may panic or allocate more than the bytes justify.

use futures_util::FutureExt as _;

use crate::config::Config;
use crate::preface::Begun;
use crate::{http, webhooks};

/// Says whether it takes the bytes.
pub type Decoder = fn(&[u8]) -> bool;

/// The decoders by name; `fuzz/corpus` has a directory for each.
pub const TARGETS: [(&str, Decoder); 8] = [
    ("http_event", http::fuzzing::event),
    ("http_query", http::fuzzing::query),
    ("http_commit", http::fuzzing::commit),
    ("http_join", http::fuzzing::joining),
    ("webhook", webhooks::fuzzing::received),
    ("webhook_secrets", webhooks::fuzzing::secrets),
    ("config", config),
    ("preface", preface),
];

/// A file of settings.
#[must_use]
pub fn config(bytes: &[u8]) -> bool {
    let config = std::str::from_utf8(bytes).map(str::parse::<Config>);
    matches!(config, Ok(Ok(_)))
}

/// The first bytes of a connection: all of them are read again.
#[must_use]
pub fn preface(bytes: &[u8]) -> bool {
    let Some(Ok((begun, _))) = Begun::read(bytes).now_or_never() else {
        return false;
    };
    begun.is_followed_by(bytes)
}

/// Whether a decoder takes the bytes.
#[must_use]
pub fn decode(target: &str, bytes: &[u8]) -> bool {
    let mut targets = TARGETS.iter();
    let found = targets.find(|(name, _)| *name == target);
    found.is_some_and(|(_, decode)| decode(bytes))
}

/// Good inputs for each decoder, by name.
#[must_use]
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let texts = [
        (
            "http_event",
            "content-type: application/cloudevents+json\n\n{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\
             \"type\":\"t\",\"topic\":\"orders\",\"subject\":\"k\",\"time\":\"2030-01-31T12:00:00Z\",\"flag\":true,\
             \"data\":{\"total\":1.10}}",
        ),
        (
            "http_event",
            "content-type: application/cloudevents-batch+json\n\n[{\"specversion\":\"1.0\",\"id\":\"1\",\
             \"source\":\"/s\",\"type\":\"t\",\"data_base64\":\"AAE=\",\"datacontenttype\":\"image/png\"}]",
        ),
        (
            "http_event",
            "content-type: text/plain; charset=latin1\nce-specversion: 1.0\nce-id: \"1 %C3%BC\"\nce-source: /s\n\
             ce-type: t\nce-topic: orders\nce-colour: red\n\n\u{0}bytes",
        ),
        (
            "http_query",
            "topic=orders&atomic=true&expect=7&after=1h&timer=soon&filter=id+LIKE+%27e-_%27&type=a&type=b",
        ),
        (
            "http_query",
            "at=2030-01-31T12:00:00Z&from=earliest&until=12&cursor=12&expect=absent",
        ),
        (
            "http_commit",
            "{\"id\":\"c\",\"settle\":[{\"position\":\"1\",\"generation\":2,\"effects\":[{\"event\":{\"type\":\"e\",\
             \"topic\":\"out\",\"data\":1.10},\"after\":\"1h\",\"timer\":\"soon\"},{\"cancel\":\"x\"},{\"reply\":\
             {\"type\":\"r\"}}],\"state\":{\"count\":1,\"old\":null},\"state_base64\":{\"b\":\"AAE=\"}}],\"retry\":\
             [{\"position\":3,\"generation\":2,\"reason\":\"no\",\"after\":\"5s\"}],\"dead\":[{\"position\":4,\
             \"generation\":2,\"reason\":\"no\",\"cause\":\"exhausted\",\"on_dead\":\"skip\"}]}",
        ),
        (
            "http_join",
            "{\"topics\":[\"orders.>\",\"*\"],\"types\":[\"t\"],\"start\":\"2030-01-31T12:00:00Z\",\"lease\":\"5m\",\
             \"in_flight_max\":10,\"key_events_max\":2}",
        ),
        (
            "config",
            "engine = \"embedded:./data\"\nlisten = \"127.0.0.1:3678\"\nhosts = [\"ensue.example\"]\n[limits]\n\
             connections_max = 7\nscan_timeout = \"5s\"\n[auth]\ntokens = \"tokens.json\"\n[roles.reader]\n\
             read = [\"orders.>\"]\n",
        ),
        ("preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nframes"),
        ("preface", "GET / HTTP/1.1\r\n\r\n"),
        (
            "webhook_secrets",
            "# new\nwhsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw until 2030-01-31T12:00:00Z\n",
        ),
    ];
    let mut seeds: Vec<_> = texts
        .into_iter()
        .map(|(target, text)| (target, text.as_bytes().to_vec()))
        .collect();
    seeds.extend(webhooks::fuzzing::seed().map(|bytes| ("webhook", bytes)));
    seeds
}
