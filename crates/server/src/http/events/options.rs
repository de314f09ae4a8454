//! What the query of an append says of all its events.

use std::time::Duration;

use ensue::engine::{Append, Schedule};
use ensue::{Expect, Position, Timestamp};

use crate::context::Context;
use crate::http::query::{Asked, Parameters, Query, invalid};
use crate::openapi::{Kind, Parameter};
use crate::problem::{Code, Problem};

/// The query of an append.
#[derive(Debug)]
pub(super) enum Appending {}

impl Parameters for Appending {
    const KNOWN: &'static [&'static [Parameter]] = &[&[
        Parameter::new("topic", Kind::Topic, "The topic of events that name none."),
        Parameter::new(
            "atomic",
            Kind::Flag,
            "`false`: events of a batch stand for themselves, and each has its receipt or its problem.",
        ),
        Parameter::new(
            "expect",
            Kind::Expectation,
            "Append only if this is the position of the last event of the key, or `absent` and the key has none.",
        ),
        Parameter::new(
            "at",
            Kind::Time,
            "When to append; what is due is appended now.",
        ),
        Parameter::new(
            "after",
            Kind::Duration,
            "The same as a duration from now, such as `90s` or `2h`.",
        ),
        Parameter::new(
            "timer",
            Kind::Name,
            "With `at` or `after`: the name of the timer that this sets. The event takes the place of what the timer \
             would have appended.",
        ),
    ]];
}

/// What the query says.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) topic: Option<String>,
    pub(super) is_atomic: bool,
    expect: Option<Expect>,
    schedule: Option<Schedule>,
    now: Timestamp,
}

impl Options {
    pub(super) fn of(context: &Context, query: &Asked<Appending>) -> Result<Self, Problem> {
        let now = context.engine().clock().now();
        let options = Self {
            topic: query.text("topic").map(str::to_owned),
            is_atomic: query
                .value("atomic", "expected true or false")?
                .unwrap_or(true),
            expect: expect(query)?,
            schedule: schedule(query, now)?,
            now,
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
        if self.schedule.is_some() && !promised.schedules {
            return Err(lacks("schedules"));
        }
        if self.expect.is_some() && !self.is_atomic {
            return Err(invalid(
                "expect",
                "needs an atomic append; remove `atomic=false`",
            ));
        }
        Ok(())
    }

    /// When they are appended, if that is not now.
    pub(super) fn due(&self) -> Option<Timestamp> {
        let at = self.schedule.as_ref().map(|schedule| schedule.at);
        at.filter(|at| *at > self.now)
    }

    /// Adds to a batch what the query says of it.
    pub(super) fn apply(&self, batch: &mut [Append]) -> Result<(), Problem> {
        let timer = self.schedule.as_ref().and_then(|it| it.timer.as_ref());
        if timer.is_some() && batch.len() > 1 {
            return Err(invalid(
                "timer",
                "is for one event; append one for each timer",
            ));
        }
        for append in batch.iter_mut() {
            append.schedule.clone_from(&self.schedule);
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

pub(super) fn expect(query: &Query) -> Result<Option<Expect>, Problem> {
    if query.text("expect") == Some("absent") {
        return Ok(Some(Expect::Absent));
    }
    let expected = "expected `absent` or the position of the key's last event";
    let position = query.value::<u64>("expect", expected)?;
    Ok(position.map(|position| Expect::At(Position::new(position))))
}

pub(super) fn schedule(query: &Query, now: Timestamp) -> Result<Option<Schedule>, Problem> {
    let timer = query.text("timer").map(str::to_owned);
    if let Some(timer) = &timer {
        ensue_core::event::check_name("timer", timer)?;
    }
    match (at(query, now)?, timer) {
        (Some(at), timer) => Ok(Some(Schedule { at, timer })),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(invalid("timer", "needs a time: give `at` or `after`")),
    }
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
