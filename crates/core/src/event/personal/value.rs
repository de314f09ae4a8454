//! The personal values of an event, found by what `#[derive(Event)]` writes.

use super::{Opened, Personal, Sealed};
use crate::event::codec::EncodeError;

/// A field that is personal.
#[doc(hidden)]
pub struct PersonalField<'a> {
    /// Its name.
    pub name: &'static str,
    /// Whose it is.
    pub subject: String,
    /// The values in it.
    pub values: Vec<&'a mut dyn Sealable>,
}

/// What can be sealed and opened, whatever its type is.
#[doc(hidden)]
pub trait Sealable: Send + Sync {
    /// The value in bytes, if it is not sealed yet.
    fn plain(&self) -> Option<Result<Vec<u8>, EncodeError>>;

    /// Whether it was sealed, and not opened.
    fn is_masked(&self) -> bool;

    /// The ciphertext, if it was sealed.
    fn sealed(&self) -> Option<&Sealed>;

    /// Its ciphertext: from here on it can be written.
    fn put_sealed(&mut self, sealed: Sealed);

    /// What its ciphertext holds; whether that is of its type.
    fn put_opened(&mut self, opened: Opened) -> bool;
}

/// The type of a field that may be personal: [`Personal`], or an `Option` or a `Vec` of it.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "a field of the type `{Self}` cannot be personal",
    label = "not a `Personal<…>`",
    note = "its type is `Personal<T>`, `Option<Personal<T>>` or `Vec<Personal<T>>`"
)]
pub trait PersonalValue {
    /// The values in it.
    fn values(&mut self) -> Vec<&mut dyn Sealable>;
}

impl<T> PersonalValue for Personal<T>
where
    Self: Sealable,
{
    fn values(&mut self) -> Vec<&mut dyn Sealable> {
        vec![self]
    }
}

impl<P: PersonalValue> PersonalValue for Option<P> {
    fn values(&mut self) -> Vec<&mut dyn Sealable> {
        self.as_mut().map(P::values).unwrap_or_default()
    }
}

impl<P: PersonalValue> PersonalValue for Vec<P> {
    fn values(&mut self) -> Vec<&mut dyn Sealable> {
        self.iter_mut().flat_map(P::values).collect()
    }
}
