//! Code of users' where a panic would take others with it: contained.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `run`.
///
/// # Errors
/// What a panic said.
pub fn contained<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(message_of)
}

/// What a panic said.
pub fn message_of(panic: Box<dyn Any + Send>) -> String {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
        .to_owned();
    drop(Contained::new(panic));
    message
}

/// Something of a user's that may panic when it is dropped; dropping this does not.
#[derive(Debug)]
pub struct Contained<T>(Option<T>);

impl<T> Contained<T> {
    /// Contains it.
    pub fn new(inner: T) -> Self {
        Self(Some(inner))
    }

    /// What is contained. Always there: only dropping takes it.
    pub fn get(&self) -> Option<&T> {
        self.0.as_ref()
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.0.as_mut()
    }
}

impl<T> Drop for Contained<T> {
    fn drop(&mut self) {
        let inner = self.0.take();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(inner))) {
            // The hook has reported it. What it carries could panic again, so it is never dropped.
            std::mem::forget(panic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_that_carries_a_panic_is_contained() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                std::panic::panic_any(Bomb);
            }
        }
        let outcome = contained(|| std::panic::panic_any(Bomb));
        assert_eq!(outcome.unwrap_err(), "no message");
    }
}
