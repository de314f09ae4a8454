//! What a check found, and where: checks return instead of panicking, because the suite is library
//! code that runs in other people's programs.

use std::fmt::{Debug, Display};
use std::panic::Location;

use ensue_core::error::Error;
use ensue_core::event::InvalidEvent;
use ensue_core::topic::InvalidTopic;

/// What a check, or a step of one, comes to.
pub(super) type Verdict<T = ()> = Result<T, Flaw>;

/// Something that is not as the contract says.
#[derive(Debug)]
pub(super) struct Flaw {
    pub(super) expected: String,
    pub(super) found: String,
    pub(super) at: &'static Location<'static>,
}

impl Flaw {
    #[track_caller]
    pub(super) fn new(expected: impl Display, found: impl Display) -> Self {
        Self {
            expected: expected.to_string(),
            found: found.to_string(),
            at: Location::caller(),
        }
    }
}

macro_rules! unexpected {
    ($($error:ty),+) => {$(
        impl From<$error> for Flaw {
            #[track_caller]
            fn from(error: $error) -> Self {
                Self::new("no error", format_args!("the error `{error}`"))
            }
        }
    )+};
}

unexpected!(Error, InvalidEvent, InvalidTopic, tokio::task::JoinError);

/// `holds`, or a flaw.
#[track_caller]
pub(super) fn ensure(holds: bool, expected: impl Display, found: impl Display) -> Verdict {
    if holds {
        Ok(())
    } else {
        Err(Flaw::new(expected, found))
    }
}

/// `found` equals `expected`, or a flaw about `what`.
#[track_caller]
pub(super) fn equal<T: PartialEq<U> + Debug, U: Debug>(
    what: impl Display,
    found: T,
    expected: U,
) -> Verdict {
    ensure(
        found == expected,
        format_args!("{what}: {}", brief(&expected)),
        format_args!("{}", brief(&found)),
    )
}

/// `found` is there, or a flaw.
#[track_caller]
pub(super) fn some<T>(what: impl Display, found: Option<T>) -> Verdict<T> {
    found.ok_or_else(|| Flaw::new(what, "none"))
}

/// `result` is an error that `is` recognises, or a flaw.
#[track_caller]
pub(super) fn fails<T: Debug>(
    expected: &str,
    result: Result<T, Error>,
    is: impl FnOnce(&Error) -> bool,
) -> Verdict {
    match result {
        Err(error) if is(&error) => Ok(()),
        Err(error) => Err(Flaw::new(expected, format_args!("the error `{error}`"))),
        Ok(value) => Err(Flaw::new(
            expected,
            format_args!("success: {}", brief(&value)),
        )),
    }
}

/// A value as text, cut to a readable length.
fn brief(value: &impl Debug) -> String {
    const SHOWN: usize = 1_500;
    let text = format!("{value:?}");
    match text.char_indices().nth(SHOWN) {
        None => text,
        Some((cut, _)) => format!("{}…", text.get(..cut).unwrap_or_default()),
    }
}
