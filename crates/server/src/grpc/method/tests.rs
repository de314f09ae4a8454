use std::collections::HashMap;

use ensue_proto::DESCRIPTORS;
use prost::Message as _;

use super::*;

/// As much of a file descriptor set as is looked at.
#[derive(Clone, PartialEq, prost::Message)]
struct Files {
    #[prost(message, repeated, tag = "1")]
    files: Vec<File>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct File {
    #[prost(message, repeated, tag = "4")]
    messages: Vec<Described>,
    #[prost(message, repeated, tag = "6")]
    services: Vec<Service>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Described {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    fields: Vec<DescribedField>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct DescribedField {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint32, tag = "3")]
    number: u32,
    #[prost(int32, tag = "4")]
    label: i32,
    #[prost(int32, tag = "5")]
    kind: i32,
    #[prost(string, tag = "6")]
    type_name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Service {
    #[prost(message, repeated, tag = "2")]
    methods: Vec<DescribedMethod>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct DescribedMethod {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    input: String,
    #[prost(bool, tag = "5")]
    client_streaming: bool,
}

const REPEATED: i32 = 3;
const MESSAGE: i32 = 11;
const VARIABLE: [i32; 2] = [9, 12];

type Messages = HashMap<String, Described>;

/// Whether a message has anything that repeats.
fn repeats(messages: &Messages, name: &str) -> bool {
    messages[name].fields.iter().any(|field| {
        field.label == REPEATED || (field.kind == MESSAGE && repeats(messages, &field.type_name))
    })
}

fn check(messages: &Messages, name: &str, layout: &Layout) {
    for field in &messages[name].fields {
        let at = format!("{name}.{}", field.name);
        let found = layout.fields.iter().find(|it| it.number == field.number);
        let (repeated, is_message) = (field.label == REPEATED, field.kind == MESSAGE);
        let inner = is_message && repeats(messages, &field.type_name);
        assert_eq!(found.is_some(), repeated || inner, "{at}");
        let Some(found) = found else {
            continue;
        };
        assert_eq!(found.part.is_some(), repeated, "{at}");
        assert_eq!(found.layout.is_some(), is_message, "{at}");
        if let Some(part) = found.part {
            let is_number = !is_message && !VARIABLE.contains(&field.kind);
            assert_eq!(part.is_number(), is_number, "{at}");
        }
        if let Some(inner) = found.layout {
            check(messages, &field.type_name, inner);
        }
    }
    let known = |number| messages[name].fields.iter().any(|it| it.number == number);
    assert!(layout.fields.iter().all(|it| known(it.number)), "{name}");
}

#[test]
fn every_call_of_the_protocol_is_here_with_everything_that_repeats_in_it() {
    let files = Files::decode(DESCRIPTORS).unwrap().files;
    let messages = files.iter().flat_map(|file| &file.messages);
    let messages: Messages = messages
        .map(|it| (format!(".ensue.v1.{}", it.name), it.clone()))
        .collect();
    let services = files.iter().flat_map(|file| &file.services);
    let methods: Vec<_> = services.flat_map(|service| &service.methods).collect();
    assert_eq!(methods.len(), ALL.len());
    for method in methods {
        let known = at(&format!("/ensue.v1.EngineService/{}", method.name));
        assert_eq!(known.name, method.name);
        assert_eq!(known.is_stream, method.client_streaming, "{}", method.name);
        check(&messages, &method.input, known.layout);
    }
    assert_eq!(at("/ensue.v1.EngineService/Nothing").name, "");
}
