//! Texts as trees of settings, and trees over each other.

use serde_json::{Map, Value};

use super::error::ConfigError;
use super::source::Document;

/// The largest configuration, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 1024 * 1024;

/// How configuration is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// TOML 1.0.
    Toml,
    /// JSON.
    Json,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::Toml => "TOML",
            Self::Json => "JSON",
        }
    }

    /// The tree in a text.
    pub(super) fn parse(self, text: &[u8], from: &str) -> Result<Document, ConfigError> {
        let malformed = |reason: String| ConfigError::Malformed {
            from: from.to_owned(),
            format: self.name(),
            reason,
        };
        if text.len() > TEXT_BYTES_MAX {
            let reason = format!("it has more than {TEXT_BYTES_MAX} bytes");
            return Err(malformed(reason));
        }
        let text = std::str::from_utf8(text).map_err(|error| malformed(error.to_string()))?;
        let settings = match self {
            Self::Json => {
                serde_json::from_str(text).map_err(|error| malformed(error.to_string()))?
            }
            Self::Toml => {
                // Its errors show the line, and with it the value.
                let table: toml::Table = toml::from_str(text).map_err(|error| {
                    let before = error.span().and_then(|it| text.get(..it.start));
                    let line = before.map_or(1, |it| it.matches('\n').count() + 1);
                    malformed(format!("line {line}: {}", error.message()))
                })?;
                serde_json::to_value(table).map_err(|error| malformed(error.to_string()))?
            }
        };
        match settings {
            Value::Object(_) => Ok(Document {
                settings,
                texts: Vec::new(),
            }),
            _ => Err(malformed("it is not an object".to_owned())),
        }
    }
}

/// Lays a document over another: objects are joined, everything else takes the place of what was there.
pub(super) fn lay_over(below: &mut Document, above: Document) {
    // What is replaced is no text of the environment's any more.
    below
        .texts
        .retain(|(path, _)| at(&above.settings, path).is_none());
    join(&mut below.settings, above.settings);
    below.texts.extend(above.texts);
}

fn join(below: &mut Value, above: Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (name, value) in above {
                join(below.entry(name).or_insert(Value::Null), value);
            }
        }
        (below, above) => *below = above,
    }
}

/// The value at a path.
fn at<'a>(tree: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(tree, |tree, name| tree.get(name))
}

/// Sets the value at a path, and makes the objects on the way.
pub(super) fn set(tree: &mut Value, path: &[String], value: Value) {
    let Some((last, way)) = path.split_last() else {
        return;
    };
    let mut place = tree;
    for name in way {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        let Value::Object(object) = place else {
            return;
        };
        place = object.entry(name.clone()).or_insert(Value::Null);
    }
    match place {
        Value::Object(object) => drop(object.insert(last.clone(), value)),
        place => *place = Value::Object(Map::from_iter([(last.clone(), value)])),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(settings: Value) -> Document {
        Document {
            settings,
            texts: Vec::new(),
        }
    }

    #[test]
    fn what_is_above_counts_and_the_rest_stays() {
        let mut below = document(json!({"a": {"b": 1, "c": [1, 2]}, "d": 1}));
        lay_over(
            &mut below,
            document(json!({"a": {"c": [3]}, "d": {"e": 2}})),
        );
        assert_eq!(
            below.settings,
            json!({"a": {"b": 1, "c": [3]}, "d": {"e": 2}})
        );
    }

    #[test]
    fn an_error_tells_the_line_and_not_what_is_in_it() {
        let secret = b"[database]\npassword = \"hunter2\nport = 1\n";
        let error = Format::Toml.parse(secret, "shop.toml").unwrap_err();
        let said = error.to_string();
        assert!(
            said.contains("shop.toml") && said.contains("line 2"),
            "{said}"
        );
        assert!(!said.contains("hunter2"), "{said}");
        let error = Format::Json.parse(b"[1]", "shop.json").unwrap_err();
        assert!(error.to_string().contains("not an object"), "{error}");
    }
}
