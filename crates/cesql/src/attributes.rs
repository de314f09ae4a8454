//! What an expression sees of an event (specification 3.2).

use std::collections::BTreeMap;

use crate::value::Value;

/// The attributes and extensions of one event.
///
/// The language has no access to the event's data. A map and an array of names and values are
/// attributes, too.
pub trait Attributes {
    /// The value of the attribute or extension of this name, which is in lower case; `None` if the
    /// event does not have it.
    ///
    /// What is neither an integer of 32 bits nor a boolean is text. Asked twice, it answers the same.
    fn attribute(&self, name: &str) -> Option<Value<'_>>;
}

impl<N: std::borrow::Borrow<str> + Ord> Attributes for BTreeMap<N, Value<'_>> {
    fn attribute(&self, name: &str) -> Option<Value<'_>> {
        self.get(name).map(Value::borrowed)
    }
}

impl<const N: usize> Attributes for [(&str, Value<'_>); N] {
    fn attribute(&self, name: &str) -> Option<Value<'_>> {
        let mut all = self.iter();
        let (_, value) = all.find(|(known, _)| *known == name)?;
        Some(value.borrowed())
    }
}
