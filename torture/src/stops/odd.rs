//! What does not do what it should: errors that cannot be printed, and things that panic when they
//! are let go of.

use std::error::Error;
use std::fmt;
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};

use super::act::Act;

/// What the payload of every deliberate panic begins with.
const DELIBERATE: &str = "deliberate:";

/// Whether all misbehaviour is over.
static IS_CALM: AtomicBool = AtomicBool::new(false);

pub(super) fn be_calm(is_calm: bool) {
    IS_CALM.store(is_calm, Ordering::Release);
}

pub(super) fn is_wild() -> bool {
    !IS_CALM.load(Ordering::Acquire)
}

/// Keeps panics that are meant from filling the terminal.
pub(super) fn hush_deliberate_panics() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let payload = info.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        if text.is_some_and(|text| !text.starts_with(DELIBERATE)) {
            usual(info);
        }
    }));
}

#[allow(clippy::panic, reason = "this is what the attack is about")]
pub(super) fn deliberately_panic(place: &str) -> ! {
    panic!("{DELIBERATE} {place}")
}

/// Panics, unless that would end the process.
pub(super) fn panic_in_drop(place: &str) {
    if !std::thread::panicking() {
        deliberately_panic(place);
    }
}

/// Panics when it is dropped, if it is armed.
pub(super) struct Bomb(pub(super) bool);

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.0 {
            panic_in_drop("a drop");
        }
    }
}

/// A panic whose payload panics when it is dropped.
pub(super) struct Grenade;

impl Drop for Grenade {
    fn drop(&mut self) {
        panic_in_drop("the panic's drop");
    }
}

/// An error that does not do what errors do.
pub(super) struct Odd(pub(super) Act);

impl fmt::Display for Odd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Act::DisplayFails => Err(fmt::Error),
            Act::DisplayPanics => deliberately_panic("display"),
            Act::LongText => f.write_str(&"reason ".repeat(100_000)),
            act => write!(f, "{act:?}"),
        }
    }
}

impl fmt::Debug for Odd {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        deliberately_panic("debug")
    }
}

impl Error for Odd {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self.0 {
            Act::SourcePanics => deliberately_panic("source"),
            Act::SourceIsItself => Some(self),
            _ => None,
        }
    }
}

impl Drop for Odd {
    fn drop(&mut self) {
        if self.0 == Act::ErrorDropPanics {
            panic_in_drop("the error's drop");
        }
    }
}

/// An error with many causes.
#[derive(Debug)]
pub(super) struct Chain(Option<Box<Chain>>);

impl Chain {
    pub(super) fn of(length: usize) -> Self {
        (0..length).fold(Self(None), |inner, _| Self(Some(Box::new(inner))))
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("because")
    }
}

impl Error for Chain {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.as_ref().map(|inner| &**inner as &dyn Error)
    }
}
