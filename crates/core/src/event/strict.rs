//! A serializer around a codec's own that refuses what would be written but could not be read.
//!
//! Costs next to nothing while a value is fine: where a refused one is gets known on the way out.

use std::cell::{Cell, RefCell};
use std::fmt::Display;

use hashbrown::HashSet;
use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// How deep a value may nest: deserializers refuse what is deeper, JSON's at 128.
const NESTING_MAX: usize = 127;

/// What is known of the value being written.
pub(super) struct Watch {
    finite_only: bool,
    depth: Cell<usize>,
    refusal: RefCell<Option<Refusal>>,
}

struct Refusal {
    reason: String,
    /// The innermost part first.
    path: Vec<String>,
}

impl Watch {
    /// For a codec that cannot hold infinities and NaN, or for one that can.
    pub(super) fn new(finite_only: bool) -> Self {
        Self {
            finite_only,
            depth: Cell::new(0),
            refusal: RefCell::new(None),
        }
    }

    /// `value`, watched while it is written.
    pub(super) fn over<'a, T: ?Sized>(&'a self, value: &'a T) -> Watched<'a, T> {
        Watched { value, watch: self }
    }

    /// What was refused and where, if anything was; otherwise `failure`.
    pub(super) fn explain(self, failure: &dyn Display) -> String {
        match self.refusal.into_inner() {
            None => failure.to_string(),
            Some(Refusal { reason, path }) if path.is_empty() => reason,
            Some(Refusal { reason, path }) => {
                let path: String = path.into_iter().rev().collect();
                let path = path.trim_start_matches('.');
                format!("`{path}` {reason}")
            }
        }
    }

    fn refuse<E: serde::ser::Error>(&self, reason: String) -> E {
        let error = E::custom(&reason);
        let path = Vec::new();
        self.refusal.replace(Some(Refusal { reason, path }));
        error
    }

    /// Notes the way to a part that was refused.
    fn through<T, E>(&self, result: Result<T, E>, part: impl FnOnce() -> String) -> Result<T, E> {
        if result.is_err()
            && let Some(refusal) = self.refusal.borrow_mut().as_mut()
        {
            refusal.path.push(part());
        }
        result
    }

    fn enter<E: serde::ser::Error>(&self) -> Result<(), E> {
        let depth = self.depth.get() + 1;
        if depth > NESTING_MAX {
            return Err(self.refuse(format!(
                "is nested more than {NESTING_MAX} levels deep, which cannot be read back"
            )));
        }
        self.depth.set(depth);
        Ok(())
    }

    fn leave(&self) {
        self.depth.set(self.depth.get().saturating_sub(1));
    }

    fn float<E: serde::ser::Error>(&self, value: f64) -> Result<(), E> {
        if value.is_finite() || !self.finite_only {
            return Ok(());
        }
        Err(self.refuse(format!(
            "is {value}, which JSON cannot hold: it would be read as nothing; make it an \
             `Option`, or give the event another codec"
        )))
    }
}

pub(super) struct Watched<'a, T: ?Sized> {
    value: &'a T,
    watch: &'a Watch,
}

impl<T: Serialize + ?Sized> Serialize for Watched<'_, T> {
    fn serialize<S: Serializer>(&self, inner: S) -> Result<S::Ok, S::Error> {
        let watch = self.watch;
        self.value.serialize(Strict { inner, watch })
    }
}

struct Strict<'a, S> {
    inner: S,
    watch: &'a Watch,
}

/// A value with parts that is being written.
struct Parts<'a, S> {
    inner: S,
    watch: &'a Watch,
    /// How many parts there were.
    count: usize,
    /// The keys so far, where nothing but the value's own `Serialize` keeps them apart.
    keys: Option<HashSet<String, foldhash::fast::RandomState>>,
    /// The key whose value comes next.
    key: String,
}

impl<'a, S> Parts<'a, S> {
    fn new(inner: S, watch: &'a Watch) -> Self {
        Self {
            inner,
            watch,
            count: 0,
            keys: None,
            key: String::new(),
        }
    }

    fn key<T: Serialize + ?Sized, E: serde::ser::Error>(&mut self, key: &T) -> Result<(), E> {
        let Some(keys) = &mut self.keys else {
            return Ok(());
        };
        let text = serde_json::to_string(key).unwrap_or_default();
        self.key = text.trim_matches('"').to_owned();
        if !text.is_empty() && !keys.insert(text) {
            let error = self
                .watch
                .refuse("is there twice; is a flattened map's key also a field?".into());
            return self.watch.through(Err(error), || format!(".{}", self.key));
        }
        Ok(())
    }
}

macro_rules! forward {
    ($($method:ident: $type:ty),+ $(,)?) => {$(
        fn $method(self, value: $type) -> Result<Self::Ok, Self::Error> {
            self.inner.$method(value)
        }
    )+};
}

impl<'a, S: Serializer> Serializer for Strict<'a, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Parts<'a, S::SerializeSeq>;
    type SerializeTuple = Parts<'a, S::SerializeTuple>;
    type SerializeTupleStruct = Parts<'a, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Parts<'a, S::SerializeTupleVariant>;
    type SerializeMap = Parts<'a, S::SerializeMap>;
    type SerializeStruct = Parts<'a, S::SerializeStruct>;
    type SerializeStructVariant = Parts<'a, S::SerializeStructVariant>;

    forward! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32,
        serialize_i64: i64, serialize_i128: i128, serialize_u8: u8, serialize_u16: u16,
        serialize_u32: u32, serialize_u64: u64, serialize_u128: u128, serialize_char: char,
        serialize_str: &str, serialize_bytes: &[u8], serialize_unit_struct: &'static str,
    }

    fn serialize_f32(self, value: f32) -> Result<S::Ok, S::Error> {
        self.watch.float(value.into())?;
        self.inner.serialize_f32(value)
    }

    fn serialize_f64(self, value: f64) -> Result<S::Ok, S::Error> {
        self.watch.float(value)?;
        self.inner.serialize_f64(value)
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_none()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.serialize_some(&self.watch.over(value))
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit_variant(name, index, variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.inner
            .serialize_newtype_struct(name, &self.watch.over(value))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let watch = self.watch;
        watch.enter()?;
        let value = watch.over(value);
        let written = self
            .inner
            .serialize_newtype_variant(name, index, variant, &value);
        watch.leave();
        watch.through(written, || format!(".{variant}"))
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        self.watch.enter()?;
        Ok(Parts::new(self.inner.serialize_seq(len)?, self.watch))
    }

    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        self.watch.enter()?;
        Ok(Parts::new(self.inner.serialize_tuple(len)?, self.watch))
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleStruct, S::Error> {
        self.watch.enter()?;
        let inner = self.inner.serialize_tuple_struct(name, len)?;
        Ok(Parts::new(inner, self.watch))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        self.watch.enter()?;
        let inner = self
            .inner
            .serialize_tuple_variant(name, index, variant, len)?;
        Ok(Parts::new(inner, self.watch))
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        self.watch.enter()?;
        let mut parts = Parts::new(self.inner.serialize_map(len)?, self.watch);
        // A map that knows how long it is has its own keys; one that does not is put together.
        parts.keys = len.is_none().then(HashSet::default);
        Ok(parts)
    }

    fn serialize_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStruct, S::Error> {
        self.watch.enter()?;
        let inner = self.inner.serialize_struct(name, len)?;
        Ok(Parts::new(inner, self.watch))
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        self.watch.enter()?;
        let inner = self
            .inner
            .serialize_struct_variant(name, index, variant, len)?;
        Ok(Parts::new(inner, self.watch))
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.collect_str(value)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// Parts without names.
macro_rules! listed {
    ($($part:ident :: $method:ident),+ $(,)?) => {$(
        impl<S: $part> $part for Parts<'_, S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
                let index = self.count;
                self.count += 1;
                let written = self.inner.$method(&self.watch.over(value));
                self.watch.through(written, || format!("[{index}]"))
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.watch.leave();
                self.inner.end()
            }
        }
    )+};
}

listed! {
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field,
}

/// Parts that the type names.
macro_rules! named {
    ($($part:ident),+) => {$(
        impl<S: $part> $part for Parts<'_, S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), S::Error> {
                let written = self.inner.serialize_field(key, &self.watch.over(value));
                self.watch.through(written, || format!(".{key}"))
            }

            fn skip_field(&mut self, key: &'static str) -> Result<(), S::Error> {
                self.inner.skip_field(key)
            }

            fn end(self) -> Result<S::Ok, S::Error> {
                self.watch.leave();
                self.inner.end()
            }
        }
    )+};
}

named!(SerializeStruct, SerializeStructVariant);

impl<S: SerializeMap> SerializeMap for Parts<'_, S> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), S::Error> {
        self.key(key)?;
        self.inner.serialize_key(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        let written = self.inner.serialize_value(&self.watch.over(value));
        self.watch.through(written, || format!(".{}", self.key))
    }

    fn serialize_entry<K: Serialize + ?Sized, V: Serialize + ?Sized>(
        &mut self,
        key: &K,
        value: &V,
    ) -> Result<(), S::Error> {
        self.key(key)?;
        let written = self.inner.serialize_entry(key, &self.watch.over(value));
        self.watch.through(written, || {
            let key = serde_json::to_string(key).unwrap_or_default();
            format!(".{}", key.trim_matches('"'))
        })
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.watch.leave();
        self.inner.end()
    }
}
