//! What the query of an append says of all its events.

use std::time::Duration;

use axum::http::Uri;
use ensue::engine::Append;
use ensue::{Expect, Position, Timestamp};

use crate::context::Context;
use crate::http::query::{Query, invalid};
use crate::problem::{Code, Problem};

const KNOWN: [&str; 6] = ["topic", "atomic", "expect", "at", "after", "timer"];

/// What the query says.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) topic: Option<String>,
    pub(super) is_atomic: bool,
    expect: Option<Expect>,
    /// When to append them, if that is not now.
    pub(super) at: Option<Timestamp>,
    timer: Option<String>,
}

impl Options {
    pub(super) fn of(context: &Context, uri: &Uri) -> Result<Self, Problem> {
        let query = Query::of(uri, &KNOWN)?;
        let now = context.engine().clock().now();
        let options = Self {
            topic: query.text("topic").map(str::to_owned),
            is_atomic: query
                .value("atomic", "expected true or false")?
                .unwrap_or(true),
            expect: expect(&query)?,
            // What is due is appended now.
            at: at(&query, now)?.filter(|at| *at > now),
            timer: query.text("timer").map(str::to_owned),
        };
        options.check(context)?;
        Ok(options)
    }

    fn check(&self, context: &Context) -> Result<(), Problem> {
        let promised = context.engine().guarantees();
        let lacks = |what: &str| {
            let engine = context.engine().url();
            Problem::new(
                Code::Unsupported,
                format!("the engine `{engine}` does not offer {what}"),
            )
        };
        if self.expect.is_some() && !promised.conditional_append {
            return Err(lacks("conditional append"));
        }
        if (self.at.is_some() || self.timer.is_some()) && !promised.schedules {
            return Err(lacks("schedules"));
        }
        if let Some(timer) = &self.timer {
            ensue_core::event::check_name("timer", timer)?;
        }
        if self.expect.is_some() && !self.is_atomic {
            return Err(invalid(
                "expect",
                "needs an atomic append; remove `atomic=false`",
            ));
        }
        Ok(())
    }

    /// Adds to a batch what the query says of it.
    pub(super) fn apply(&self, batch: &mut [Append]) -> Result<(), Problem> {
        if self.timer.is_some() && batch.len() > 1 {
            return Err(invalid(
                "timer",
                "is for one event; append one for each timer",
            ));
        }
        for append in batch.iter_mut() {
            append.at = self.at;
            append.timer.clone_from(&self.timer);
        }
        let Some((first, others)) = batch.split_first_mut() else {
            return Ok(());
        };
        let of = |append: &Append| {
            (
                append.envelope.topic().to_owned(),
                append.envelope.key().to_owned(),
            )
        };
        if self.expect.is_some() && others.iter().any(|other| of(other) != of(first)) {
            return Err(invalid(
                "expect",
                "is about one key of one topic; append events of several keys without it, or one by one",
            ));
        }
        // What the key has before the batch.
        first.expect = self.expect;
        Ok(())
    }
}

fn expect(query: &Query) -> Result<Option<Expect>, Problem> {
    if query.text("expect") == Some("absent") {
        return Ok(Some(Expect::Absent));
    }
    let expected = "expected `absent` or the position of the key's last event";
    let position = query.value::<u64>("expect", expected)?;
    Ok(position.map(|position| Expect::At(Position::new(position))))
}

fn at(query: &Query, now: Timestamp) -> Result<Option<Timestamp>, Problem> {
    let at: Option<Timestamp> = query.value(
        "at",
        "expected a time such as 2030-01-31T12:00:00Z (write `+` as %2B)",
    )?;
    let after: Option<Duration> = match query.text("after").map(ensue::parse_duration) {
        None => None,
        Some(Ok(after)) => Some(after),
        Some(Err(error)) => return Err(invalid("after", &format!("cannot be read: {error}"))),
    };
    match (at, after) {
        (Some(_), Some(_)) => Err(invalid("after", "contradicts `at`; give one of them")),
        (at, after) => Ok(at.or(after.map(|after| now.plus(after)))),
    }
}
