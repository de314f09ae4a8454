//! The document: every route there is.

use serde_json::{Map, Value, json};

use super::operation::Operation;
use super::parameter::{Parameter, Place};
use super::refusals;
use super::schemas::Schemas;
use crate::problem::{Code, Problem};
use crate::security::{Access, SESSION_COOKIE};

/// What the API as a whole is.
const ABOUT: &str = "\
Events are [CloudEvents 1.0](https://cloudevents.io), in the structured, the binary and the batched mode; payloads \
pass byte by byte. When an append is answered, its events are on stable storage.

A request that is refused is answered with a problem document (RFC 9457): `code` is its stable name, and `in_doubt` \
says whether what was asked for may have happened all the same. Positions are strings, as some readers of JSON round \
numbers beyond 2^53.

The same server speaks gRPC, which this document has nothing of.";

/// What routes have to do with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
}

/// What a route is for, in words, and with which codes it refuses what others do not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About {
    id: &'static str,
    what: &'static str,
    refusals: &'static [Code],
}

/// What a route is for: a name that programs made from the document call it by, and a sentence.
pub(crate) const fn about(id: &'static str, what: &'static str) -> About {
    About {
        id,
        what,
        refusals: &[],
    }
}

impl About {
    /// With which codes it refuses, besides those that its types have.
    pub(crate) const fn refuses(self, refusals: &'static [Code]) -> Self {
        Self { refusals, ..self }
    }
}

/// A route, as far as it is described.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Described {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    pub(crate) tag: Tag,
    pub(crate) about: About,
    /// Says what the types of the handler mean.
    pub(crate) types: fn(&mut Operation),
}

/// The document of these routes.
pub(crate) fn document(routes: &[Described]) -> Value {
    let (paths, schemas) = paths(routes);
    let mut schemas = schemas.finish();
    schemas.insert("Problem".to_owned(), Problem::schema());
    let mut tags: Vec<Tag> = Vec::new();
    for route in routes {
        if !tags.contains(&route.tag) {
            tags.push(route.tag);
        }
    }
    let tags = tags.into_iter();
    let tags = tags.map(|tag| json!({ "name": tag.name, "description": tag.what }));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Ensue",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "A durable log of events, and the groups that consume it.",
            "description": ABOUT,
            "license": { "name": "MIT or Apache-2.0", "identifier": env!("CARGO_PKG_LICENSE") },
        },
        "externalDocs": { "url": env!("CARGO_PKG_REPOSITORY") },
        "servers": [{ "url": "/", "description": "The server that publishes this." }],
        "tags": tags.collect::<Value>(),
        "paths": paths,
        "components": { "schemas": schemas, "securitySchemes": security_schemes() },
    })
}

/// The names of schemas that are something else where they are read than where they are written.
#[cfg(test)]
pub(crate) fn ambiguous(routes: &[Described]) -> Vec<String> {
    paths(routes).1.ambiguous()
}

fn paths(routes: &[Described]) -> (Value, Schemas) {
    let mut paths = Map::new();
    let mut schemas = Schemas::default();
    for route in routes {
        let members;
        (members, schemas) = operation(route, schemas);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(route.method.to_ascii_lowercase(), members.into());
        }
    }
    (paths.into(), schemas)
}

fn operation(route: &Described, schemas: Schemas) -> (Map<String, Value>, Schemas) {
    let mut operation = Operation::new(schemas);
    for name in names(route.path) {
        if let Some(parameter) = Parameter::of_path(name) {
            operation.takes(Place::Path, &parameter);
        }
    }
    (route.types)(&mut operation);
    operation.refuses(&refusals::of_access(route.access));
    operation.refuses(route.about.refusals);
    let (mut members, schemas) = operation.finish();
    for (name, value) in [
        ("operationId", json!(route.about.id)),
        ("summary", json!(route.about.what)),
        ("tags", json!([route.tag.name])),
        ("security", security(route.access)),
    ] {
        members.insert(name.to_owned(), value);
    }
    (members, schemas)
}

/// The names in braces.
fn names(path: &'static str) -> impl Iterator<Item = &'static str> {
    let parts = path.split('/');
    parts.filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

/// Who may send it: everyone, or one who proves who they are in one of these ways, unless the server asks for none
/// of them. What their roles have to allow stands beside.
fn security(access: Access) -> Value {
    let allows = match access {
        Access::Public => return json!([]),
        Access::Known => json!([]),
        Access::May(action) => json!([action.as_str()]),
    };
    let ways = ["bearer", "session", "certificate"].map(|way| json!({ way: allows }));
    let none = json!({});
    ways.into_iter().chain([none]).collect()
}

fn security_schemes() -> Value {
    json!({
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "A token of `ensue token create`, or a JSON Web Token of the issuer in `[auth.jwt]`.",
        },
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": SESSION_COOKIE,
            "description": "The session of a person, from `/v1/login`; without TLS its name is `ensue`.",
        },
        "certificate": {
            "type": "mutualTLS",
            "description": "A client certificate whose name `[auth.certificates]` has.",
        },
    })
}
