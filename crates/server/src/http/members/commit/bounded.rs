//! Lists in JSON of which there is a limit: a few bytes of text are hundreds in memory.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A list or an object as it was written, which is read when it is known how many more there may be. The
/// document of the API calls it a `T`.
#[derive(Debug)]
pub(super) struct Written<T>(Option<Box<RawValue>>, PhantomData<T>);

impl<T> Written<T> {
    /// `None`: it was left out.
    pub(super) fn text(&self) -> Option<&RawValue> {
        self.0.as_deref()
    }
}

impl<T> Default for Written<T> {
    fn default() -> Self {
        Self(None, PhantomData)
    }
}

impl<'de, T> Deserialize<'de> for Written<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(from)?;
        Ok(Self(Some(text), PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Written<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// How many more of something a body may have, whichever of its lists they are in.
#[derive(Debug)]
pub(super) struct Left {
    what: &'static str,
    max: usize,
    left: usize,
}

impl Left {
    /// `what` is their name, for who sends too many.
    pub(super) fn new(what: &'static str, max: usize) -> Self {
        Self {
            what,
            max,
            left: max,
        }
    }

    /// The items of a list as it was written.
    ///
    /// # Errors
    /// It is not a list of these, or has too many.
    pub(super) fn items<T: for<'de> Deserialize<'de>>(
        &mut self,
        list: &RawValue,
    ) -> serde_json::Result<Vec<T>> {
        let mut text = serde_json::Deserializer::from_str(list.get());
        Items(self, PhantomData).deserialize(&mut text)
    }

    /// The members of an object as it was written.
    ///
    /// # Errors
    /// It is not an object of these, or has too many.
    pub(super) fn members<T: for<'de> Deserialize<'de>>(
        &mut self,
        object: &RawValue,
    ) -> serde_json::Result<BTreeMap<String, T>> {
        let mut text = serde_json::Deserializer::from_str(object.get());
        Members(self, PhantomData).deserialize(&mut text)
    }

    fn take<E: Error>(&mut self) -> Result<(), E> {
        let (what, max) = (self.what, self.max);
        let too_many = || {
            E::custom(format!(
                "a commit has up to {max} {what}; send fewer at a time"
            ))
        };
        self.left = self.left.checked_sub(1).ok_or_else(too_many)?;
        Ok(())
    }
}

struct Items<'a, T>(&'a mut Left, PhantomData<T>);

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Items<'_, T> {
    type Value = Vec<T>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Vec<T>, D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<'_, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            self.0.take()?;
            items.push(item);
        }
        Ok(items)
    }
}

struct Members<'a, T>(&'a mut Left, PhantomData<T>);

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Members<'_, T> {
    type Value = BTreeMap<String, T>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<'_, T> {
    type Value = BTreeMap<String, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut members = BTreeMap::new();
        while let Some((name, value)) = object.next_entry()? {
            self.0.take()?;
            members.insert(name, value);
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn what_all_lists_have_together_is_limited() {
        let mut left = Left::new("numbers", 5);
        assert_eq!(left.items::<u8>(&raw("[1, 2]")).unwrap(), [1, 2]);
        let members = left.members::<u8>(&raw(r#"{"a": 1, "b": 2}"#)).unwrap();
        assert_eq!(members.into_values().sum::<u8>(), 3);
        let refused = left.items::<u8>(&raw("[1, 2]")).unwrap_err().to_string();
        assert!(refused.contains("up to 5 numbers"), "{refused}");
        for bad in ["{}", "null", "[true]"] {
            assert!(
                Left::new("numbers", 5).items::<u8>(&raw(bad)).is_err(),
                "{bad}"
            );
        }
        assert!(left.members::<u8>(&raw("[]")).is_err());
    }

    #[test]
    fn what_is_too_much_is_not_read_to_its_end() {
        // What comes after the limit is not even looked at.
        let refused = Left::new("numbers", 1).items::<u8>(&raw("[1, 2, true]"));
        assert!(refused.unwrap_err().to_string().contains("up to 1 numbers"));
    }
}
