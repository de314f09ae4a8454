//! A tree of settings as the program's type.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::document::set;
use super::error::ConfigError;
use super::source::Document;

/// The settings as a `T`, and the tree that it was read from: in it, texts are texts.
pub(super) fn typed<T: DeserializeOwned>(document: &Document) -> Result<(T, Value), ConfigError> {
    let mut tree = document.settings.clone();
    let mut texts: Vec<_> = document.texts.iter().collect();
    loop {
        let (setting, reason) = match serde_path_to_error::deserialize(tree.clone()) {
            Ok(typed) => return Ok((typed, tree)),
            Err(error) => (error.path().to_string(), error.inner().to_string()),
        };
        // It looks like a number, and a text is wanted: it is one of the environment's, which are all texts.
        let place = texts.iter().position(|(path, _)| path.join(".") == setting);
        let Some(place) = place else {
            return Err(ConfigError::Setting {
                setting,
                reason: without_value(&reason),
            });
        };
        let (path, text) = texts.swap_remove(place);
        set(&mut tree, path, Value::String(text.clone()));
    }
}

/// What serde says of a value, without the value: it may be a secret.
fn without_value(reason: &str) -> String {
    for kind in ["invalid type: ", "invalid value: ", "unknown variant "] {
        let Some((_, expected)) = reason
            .strip_prefix(kind)
            // The value may have these words in it, too.
            .and_then(|rest| rest.rsplit_once(", expected "))
        else {
            continue;
        };
        let found = reason.get(kind.len()..).unwrap_or_default();
        let found = found
            .split(['"', '`'])
            .next()
            .unwrap_or_default()
            .trim_end();
        return match found {
            "" => format!("it is something else than {expected}"),
            found => format!("it is {found}, expected {expected}"),
        };
    }
    reason.to_owned()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Shop {
        database: Database,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Database {
        password: String,
        port: u16,
    }

    fn read(settings: Value, texts: &[(&str, &str)]) -> Result<Shop, ConfigError> {
        let texts = texts.iter().map(|(path, text)| {
            let path = path.split('.').map(str::to_owned).collect();
            (path, (*text).to_owned())
        });
        let document = Document {
            settings,
            texts: texts.collect(),
        };
        let (shop, tree) = typed(&document)?;
        // What is kept of it can be read without the environment.
        let kept = Document {
            settings: tree,
            texts: Vec::new(),
        };
        assert_eq!(typed::<Shop>(&kept)?.0, shop);
        Ok(shop)
    }

    #[test]
    fn a_text_that_looks_like_a_number_is_a_text_where_one_is_wanted() {
        let settings = json!({"database": {"password": 12345, "port": 5432}});
        let texts = [("database.password", "12345"), ("database.port", "5432")];
        let shop = read(settings.clone(), &texts).unwrap();
        assert_eq!(shop.database.password, "12345");
        assert_eq!(shop.database.port, 5432);
        // Where it was written as a number, it is a mistake.
        assert!(read(settings, &[]).is_err());
    }

    #[test]
    fn an_error_names_the_setting_and_not_its_value() {
        let wrong = [
            json!({"database": {"password": "p", "port": "hunter2, expected u16"}}),
            json!({"database": {"password": "p", "port": "u16, expected hunter2"}}),
            json!({"database": {"password": 424242, "port": 1}}),
            json!({"database": {"password": "p", "port": 424242}}),
        ];
        for wrong in wrong {
            let said = read(wrong, &[]).unwrap_err().to_string();
            assert!(said.contains("`database."), "{said}");
            assert!(
                !said.contains("hunter2") && !said.contains("424242"),
                "{said}"
            );
        }
        let missing = read(json!({"database": {"port": 1}}), &[]).unwrap_err();
        assert!(missing.to_string().contains("password"), "{missing}");
    }
}
