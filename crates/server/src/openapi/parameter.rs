//! The parameters of requests: their names, what they mean, and what they look like.

use serde_json::{Value, json};

use super::values;

/// Where a parameter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Path,
    Query,
    Header,
    Cookie,
}

/// A parameter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameter {
    name: &'static str,
    kind: Kind,
    what: &'static str,
    is_required: bool,
    is_repeatable: bool,
}

/// What a parameter looks like.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Text,
    /// A text that is not empty.
    Name,
    /// Words that say why, percent-encoded.
    Reason,
    Topic,
    TopicPattern,
    Flag,
    /// A number from `min`; a limit of the configuration may be the most.
    Number {
        min: u64,
        max: Option<u64>,
        default: Option<u64>,
    },
    Position,
    Cursor,
    /// A cursor, a time, or one of these words.
    Start,
    /// What the last event of a key is.
    Expectation,
    Time,
    Duration,
}

impl Parameter {
    pub(crate) const fn new(name: &'static str, kind: Kind, what: &'static str) -> Self {
        Self {
            name,
            kind,
            what,
            is_required: false,
            is_repeatable: false,
        }
    }

    /// It has to be there.
    pub(crate) const fn required(self) -> Self {
        Self {
            is_required: true,
            ..self
        }
    }

    /// It may be there several times.
    pub(crate) const fn repeatable(self) -> Self {
        Self {
            is_repeatable: true,
            ..self
        }
    }

    pub(crate) const fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) const fn is_repeatable(&self) -> bool {
        self.is_repeatable
    }

    /// The parameter of a path that has this name.
    pub(super) fn of_path(name: &str) -> Option<Self> {
        let known = [
            Self::new("group", Kind::Name, "The name of a group."),
            Self::new("saga", Kind::Name, "The name of a saga: that of its group."),
            Self::new("member", Kind::Name, "The member that joining gave."),
            Self::new("position", Kind::Position, "The position of an event."),
            Self::new("name", Kind::Name, "The name in the configuration."),
        ];
        let mut known = known.into_iter();
        known.find(|it| it.name == name).map(Self::required)
    }

    /// The parameter as it stands in the document.
    pub(super) fn to_json(self, place: Place) -> Value {
        let mut schema = self.kind.schema();
        if self.is_repeatable {
            schema = json!({ "type": "array", "items": schema });
        }
        json!({
            "name": self.name,
            "in": place.as_str(),
            "description": self.what,
            "required": self.is_required,
            "schema": schema,
        })
    }
}

impl Place {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Header => "header",
            Self::Cookie => "cookie",
        }
    }
}

impl Kind {
    fn schema(self) -> Value {
        match self {
            Self::Text => json!({ "type": "string" }),
            Self::Name => json!({ "type": "string", "minLength": 1 }),
            Self::Reason => {
                json!({ "type": "string", "pattern": "^[!-~]([\\t -~]*[!-~])?$", "maxLength": 3000 })
            }
            Self::Topic => json!({ "type": "string", "pattern": values::TOPIC, "maxLength": 200 }),
            Self::TopicPattern => {
                json!({ "type": "string", "pattern": values::TOPIC_PATTERN, "maxLength": 200 })
            }
            Self::Flag => json!({ "type": "boolean" }),
            Self::Number { min, max, default } => {
                let limits = [
                    ("minimum", Some(min)),
                    ("maximum", max),
                    ("default", default),
                ];
                let kind = ("type", Value::from("integer"));
                let limits = limits.into_iter();
                let limits = limits.filter_map(|(name, value)| Some((name, Value::from(value?))));
                std::iter::once(kind).chain(limits).collect()
            }
            Self::Position => json!({ "type": "string", "pattern": values::POSITION }),
            Self::Cursor => json!({ "type": "string", "pattern": values::CURSOR }),
            Self::Start => values::start().to_value(),
            Self::Expectation => json!({ "anyOf": [
                { "const": "absent" },
                { "type": "string", "pattern": values::POSITION },
            ]}),
            Self::Time => json!({ "type": "string", "format": "date-time" }),
            Self::Duration => json!({ "type": "string", "pattern": values::DURATION }),
        }
    }
}
