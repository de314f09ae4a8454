//! Configuration from the environment.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value};

use super::document::set;
use super::error::ConfigError;
use super::source::{ConfigSource, Document};

/// What stands between the names of tables and settings.
const BETWEEN: &str = "__";

/// The environment's variables that begin with a prefix: with `SHOP_`, `SHOP_PORT` is the setting `port`, and
/// `SHOP_DATABASE__POOL_SIZE` is `database.pool_size`. Values are texts; where another type is wanted they are
/// read as one (`true`, `17`, `1.5`, and JSON for lists). They are read once.
#[derive(Clone)]
pub struct EnvironmentSource {
    variables: Vec<(String, String)>,
    prefix: String,
    /// The name of one that is not a text.
    unreadable: Option<String>,
}

impl EnvironmentSource {
    /// The variables of this process as they are now.
    pub fn new(prefix: &str) -> Self {
        let mut unreadable = None;
        let mut variables = Vec::new();
        for (name, value) in std::env::vars_os() {
            let Some(name) = name.to_str().filter(|it| it.starts_with(prefix)) else {
                continue;
            };
            match value.into_string() {
                Ok(value) => variables.push((name.to_owned(), value)),
                Err(_) => unreadable = Some(name.to_owned()),
            }
        }
        Self {
            unreadable,
            ..Self::of(prefix, variables)
        }
    }

    /// These variables, of which those count that begin with the prefix.
    pub fn of(prefix: &str, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut variables: Vec<_> = variables.into_iter().collect();
        // A table comes before what is in it.
        variables.sort();
        Self {
            variables,
            prefix: prefix.to_owned(),
            unreadable: None,
        }
    }

    fn document(&self) -> Result<Document, ConfigError> {
        if let Some(name) = &self.unreadable {
            return Err(ConfigError::Malformed {
                from: format!("the environment's variable `{name}`"),
                format: "a text",
                reason: "it is not UTF-8".to_owned(),
            });
        }
        let mut document = Document {
            settings: Value::Object(Map::new()),
            texts: Vec::new(),
        };
        for (name, text) in &self.variables {
            let Some(name) = name.strip_prefix(&self.prefix).filter(|it| !it.is_empty()) else {
                continue;
            };
            let path: Vec<String> = name.split(BETWEEN).map(str::to_lowercase).collect();
            set(&mut document.settings, &path, guess(text));
            document.texts.push((path, text.clone()));
        }
        Ok(document)
    }
}

/// What a text looks like.
fn guess(text: &str) -> Value {
    match serde_json::from_str(text.trim()) {
        Ok(value @ (Value::Bool(_) | Value::Number(_) | Value::Array(_))) => value,
        _ => Value::String(text.to_owned()),
    }
}

impl ConfigSource for EnvironmentSource {
    fn read(&self) -> BoxFuture<'_, Result<Document, ConfigError>> {
        std::future::ready(self.document()).boxed()
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        std::future::pending().boxed()
    }
}

/// Of the variables the names: their values may be secrets.
impl std::fmt::Debug for EnvironmentSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.variables.iter().map(|(name, _)| name);
        let names: Vec<_> = names.filter(|it| it.starts_with(&self.prefix)).collect();
        f.debug_struct("EnvironmentSource")
            .field("variables", &names)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_paths_and_values_are_what_they_look_like() {
        let variables = [
            ("SHOP_PORT", "4000"),
            ("SHOP_DATABASE__POOL_SIZE", "8"),
            ("SHOP_DATABASE__PASSWORD", "0042"),
            ("SHOP_HOSTS", "[\"a\", \"b\"]"),
            ("SHOP_", "nothing"),
            ("OTHER_PORT", "1"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let source = EnvironmentSource::of("SHOP_", variables);
        let expected = json!({
            "port": 4000,
            "database": {"pool_size": 8, "password": "0042"},
            "hosts": ["a", "b"],
        });
        assert_eq!(source.document().unwrap().settings, expected);
        assert!(!format!("{source:?}").contains("0042"));
    }
}
