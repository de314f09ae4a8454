//! The body of a commit: what a client says of its deliveries.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ensue::consumer::{Handled, Outcome, json_cell};
use ensue::engine::{DeathCause, EFFECTS_MAX};
use ensue::{Clock, Due, Effects, EnvelopeBuilder, EventId, OnDead, Outgoing, Timestamp};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::bounded::{Left, Written};
use crate::http::place::Place;
use crate::openapi::{Anything, Base64Text, DurationText, EffectEvent, ReplyEvent, Time};
use crate::problem::{Code, Problem};
use crate::security::{Action, Caller};

/// The topic of a reply is where its requester waits, whatever it says.
const REPLY_TOPIC: &str = "reply";

/// What became of deliveries, and what follows from them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Commit")]
pub(in crate::http::members) struct Body {
    /// Its name, by which it is done once.
    pub(super) id: Option<String>,
    /// Those that are done.
    #[serde(default)]
    settle: Vec<Settle>,
    /// Those that are to be tried again.
    #[serde(default)]
    retry: Vec<Retry>,
    /// Those that cannot be handled.
    #[serde(default)]
    dead: Vec<Dead>,
}

/// A delivery that is done.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SettledDelivery")]
struct Settle {
    position: Place,
    generation: u64,
    /// What follows from it.
    #[serde(default)]
    effects: Written<Vec<Effect>>,
    /// Cells of the state of its key; `null` removes one.
    #[serde(default)]
    state: Written<BTreeMap<String, Anything>>,
    /// Cells that are not JSON.
    #[serde(default)]
    state_base64: Written<BTreeMap<String, Base64Text>>,
}

/// One that is to be tried again.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RetriedDelivery")]
struct Retry {
    position: Place,
    generation: u64,
    /// After how long; at once without.
    #[schemars(with = "Option<DurationText>")]
    after: Option<String>,
    /// When, in place of `after`.
    #[schemars(with = "Option<Time>")]
    at: Option<Timestamp>,
    reason: String,
}

/// One that cannot be handled.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "DeadDelivery")]
struct Dead {
    position: Place,
    generation: u64,
    reason: String,
    #[serde(default)]
    cause: Cause,
    #[serde(default)]
    on_dead: Successors,
}

/// Why a client makes a dead letter.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum Cause {
    #[default]
    Rejected,
    Undecodable,
    Exhausted,
    Crashed,
}

/// What happens to later events of the key.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum Successors {
    #[default]
    Park,
    Skip,
}

/// One thing that follows: an event, a reply, or a cancellation.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Effect {
    /// An event to append.
    #[schemars(with = "Option<EffectEvent>")]
    event: Option<Box<RawValue>>,
    /// After how long the event is appended.
    #[schemars(with = "Option<DurationText>")]
    after: Option<String>,
    /// When the event is appended, in place of `after`.
    #[schemars(with = "Option<Time>")]
    at: Option<Timestamp>,
    /// The name of the timer that the event sets or moves.
    timer: Option<String>,
    /// The answer to the request at hand.
    #[schemars(with = "Option<ReplyEvent>")]
    reply: Option<Box<RawValue>>,
    /// The timer to cancel, or the id of an event that waits for its time.
    cancel: Option<String>,
    /// Of what is cancelled, if that is not this group.
    source: Option<String>,
}

impl Body {
    /// What the client says, in the engine's words.
    pub(in crate::http::members) fn handled(
        self,
        clock: &Clock,
        caller: &Caller,
    ) -> Result<Vec<Handled>, Problem> {
        let count = self.settle.len() + self.retry.len() + self.dead.len();
        let mut handled = Vec::with_capacity(count);
        let mut left = [
            Left::new("effects", EFFECTS_MAX),
            Left::new("cells of state", EFFECTS_MAX),
        ];
        for (index, settle) in self.settle.into_iter().enumerate() {
            let at = format!("settle[{index}]");
            handled.push(Handled {
                position: settle.position.0,
                generation: settle.generation,
                outcome: Outcome::Settled(settle.effects(&at, caller, &mut left)?),
            });
        }
        for (index, retry) in self.retry.into_iter().enumerate() {
            let due = due(retry.at, retry.after.as_deref());
            let due = due.map_err(|problem| invalid(&format!("retry[{index}]"), &problem))?;
            handled.push(Handled {
                position: retry.position.0,
                generation: retry.generation,
                outcome: Outcome::Retry {
                    due: due.map(|due| match due {
                        Due::At(at) => at,
                        Due::After(after) => clock.now().plus(after),
                    }),
                    reason: retry.reason,
                },
            });
        }
        handled.extend(self.dead.into_iter().map(Dead::handled));
        Ok(handled)
    }
}

impl Dead {
    fn handled(self) -> Handled {
        let cause = match self.cause {
            Cause::Rejected => DeathCause::Rejected,
            Cause::Undecodable => DeathCause::Undecodable,
            Cause::Exhausted => DeathCause::Exhausted,
            Cause::Crashed => DeathCause::Crashed,
        };
        let on_dead = match self.on_dead {
            Successors::Park => OnDead::Park,
            Successors::Skip => OnDead::Skip,
        };
        Handled {
            position: self.position.0,
            generation: self.generation,
            outcome: Outcome::Dead {
                cause,
                reason: self.reason,
                on_dead,
            },
        }
    }
}

impl Settle {
    fn effects(
        self,
        at: &str,
        caller: &Caller,
        [effects_left, cells_left]: &mut [Left; 2],
    ) -> Result<Effects, Problem> {
        let unread = |field: &str, error: serde_json::Error| {
            invalid(&format!("{at}.{field}"), &error.to_string())
        };
        let list = self.effects.text();
        let list = list.map(|list| effects_left.items::<Effect>(list));
        let list = list.transpose().map_err(|error| unread("effects", error))?;
        let mut effects = Effects::none();
        for (index, effect) in list.into_iter().flatten().enumerate() {
            effects = effect.add(effects, &format!("{at}.effects[{index}]"), caller)?;
        }
        let state = self.state.text();
        let state = state.map(|state| cells_left.members::<Box<RawValue>>(state));
        let state = state.transpose().map_err(|error| unread("state", error))?;
        let bytes = self.state_base64.text();
        let bytes = bytes.map(|bytes| cells_left.members::<String>(bytes));
        let bytes = bytes
            .transpose()
            .map_err(|error| unread("state_base64", error))?;
        for (name, value) in state.into_iter().flatten() {
            check_cell(at, &name)?;
            let json = value.get();
            let cell = (json != "null").then(|| json_cell(json));
            effects = effects.set_raw_state(&name, cell);
        }
        for (name, value) in bytes.into_iter().flatten() {
            check_cell(at, &name)?;
            let bytes = BASE64.decode(value).map_err(|error| {
                let problem = format!("the cell `{}` is not base64: {error}", shown(&name));
                invalid(at, &problem)
            })?;
            effects = effects.set_raw_state(&name, Some(bytes.into()));
        }
        Ok(effects)
    }
}

impl Effect {
    fn add(self, effects: Effects, at: &str, caller: &Caller) -> Result<Effects, Problem> {
        let is_timed = self.after.is_some() || self.at.is_some() || self.timer.is_some();
        match (self.event, self.reply, self.cancel) {
            (Some(event), None, None) if self.source.is_none() => {
                let event = read(&event, None, at)?;
                match event.given_source() {
                    Some(source) => caller.must_publish(event.topic_name(), source)?,
                    // The server fills it in.
                    None => caller.must(Action::Publish, event.topic_name())?,
                }
                let event = Outgoing::raw(event);
                let due = due(self.at, self.after.as_deref());
                let due = due.map_err(|problem| invalid(at, &problem))?;
                Ok(effects.publish(match (due, self.timer) {
                    (Some(due), Some(timer)) => event.timer(timer, due),
                    (Some(Due::At(time)), None) => event.at(time),
                    (Some(Due::After(delay)), None) => event.after(delay),
                    (None, Some(_)) => {
                        return Err(invalid(at, "a `timer` needs `at` or `after`"));
                    }
                    (None, None) => event,
                }))
            }
            (None, Some(reply), None) if !is_timed && self.source.is_none() => {
                Ok(effects.reply_raw(read(&reply, Some(REPLY_TOPIC), at)?))
            }
            (None, None, Some(name)) if !is_timed => Ok(match self.source {
                Some(source) => {
                    // Of which topic it is has to be looked up, which a commit does not.
                    caller.must_cover(Action::Operate, &[])?;
                    effects.cancel_event(EventId::new(source, name))
                }
                None => effects.cancel(name),
            }),
            _ => Err(invalid(
                at,
                "an effect is one of `event` (with `at` or `after`, and `timer`), `reply`, and `cancel` \
                 (with `source`)",
            )),
        }
    }
}

fn read(event: &RawValue, topic: Option<&str>, at: &str) -> Result<EnvelopeBuilder, Problem> {
    let event = EnvelopeBuilder::from_cloudevent(event.get().as_bytes(), topic);
    event.map_err(|error| Problem::new(Code::InvalidEvent, format!("{at}: {error}")))
}

fn due(at: Option<Timestamp>, after: Option<&str>) -> Result<Option<Due>, String> {
    match (at, after.map(ensue::parse_duration)) {
        (Some(_), Some(_)) => Err("`after` contradicts `at`; give one of them".to_owned()),
        (_, Some(Err(error))) => Err(format!("`after` cannot be read: {error}")),
        (at, after) => Ok(at
            .map(Due::At)
            .or(after.and_then(Result::ok).map(Due::After))),
    }
}

fn check_cell(at: &str, name: &str) -> Result<(), Problem> {
    let checked = ensue_core::event::check_name("cell", name);
    checked.map_err(|error| invalid(at, &error.to_string()))
}

fn invalid(at: &str, problem: &str) -> Problem {
    Problem::new(Code::InvalidBody, format!("{at}: {problem}"))
}

/// As much of a text as an answer repeats.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn read(bytes: &[u8]) -> Option<Result<usize, Problem>> {
        let body: Body = serde_json::from_slice(bytes).ok()?;
        let caller = Caller::server();
        let handled = body.handled(&Clock::system(), &caller);
        Some(handled.map(|handled| handled.len()))
    }

    /// Values that stand where another one is expected, too.
    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<i64>().prop_map(|number| Value::from(number.to_string())),
            "[ -~]{0,12}".prop_map(Value::from),
            prop_oneof![
                Just("1h"),
                Just("2030-01-01T00:00:00Z"),
                Just("park"),
                Just("AA==")
            ]
            .prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            let name = prop_oneof![
                Just("position"),
                Just("generation"),
                Just("effects"),
                Just("state"),
                Just("event"),
                Just("state_base64"),
                Just("after"),
                Just("at"),
                Just("timer"),
                Just("reply"),
                Just("cancel"),
                Just("source"),
                Just("type"),
                Just("topic"),
                Just("data"),
                Just("reason"),
                Just("cause"),
                Just("on_dead"),
                Just("id"),
                Just("time"),
            ];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::vec((name, inner), 0..5).prop_map(|members| {
                    let members = members
                        .into_iter()
                        .map(|(name, value)| (name.to_owned(), value));
                    Value::Object(members.collect())
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_a_problem_or_a_commit(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }

        #[test]
        fn arbitrary_values_are_a_problem_or_a_commit(
            settle in prop::collection::vec(value(), 0..3),
            effects in value(),
            state in value(),
            retry in value(),
            dead in value(),
        ) {
            let _ = read(json!({"settle": settle, "retry": retry, "dead": dead}).to_string().as_bytes());
            let one = json!({"position": "1", "generation": 1, "effects": [effects], "state": state});
            let _ = read(json!({"settle": [one]}).to_string().as_bytes());
        }
    }

    #[test]
    fn effects_and_cells_of_a_commit_are_limited_before_they_are_read() {
        let many = |count: usize, one: &str| vec![one; count].join(",");
        let settled = |settle: &str| format!(r#"{{"position":1,"generation":0,{settle}}}"#);
        let half = settled(&format!(
            r#""effects":[{}]"#,
            many(EFFECTS_MAX / 2 + 1, r#"{"cancel":"x"}"#)
        ));
        let empty = settled(&format!(r#""effects":[{}]"#, many(EFFECTS_MAX + 1, "{}")));
        let cells: Vec<_> = (0..=EFFECTS_MAX).map(|it| format!(r#""{it}":1"#)).collect();
        let cells = settled(&format!(r#""state":{{{}}}"#, cells.join(",")));
        for (settle, part) in [
            (half.clone(), None),
            (
                format!("{half},{half}"),
                Some("settle[1].effects: a commit has up to 65536 effects"),
            ),
            (
                empty,
                Some("settle[0].effects: a commit has up to 65536 effects"),
            ),
            (
                cells,
                Some("settle[0].state: a commit has up to 65536 cells of state"),
            ),
            (
                settled(r#""effects":null"#),
                Some("settle[0].effects: invalid type: null"),
            ),
        ] {
            let said = read(format!(r#"{{"settle":[{settle}]}}"#).as_bytes()).unwrap();
            match (said, part) {
                (Ok(count), None) => assert_eq!(count, 1),
                (Err(refused), Some(part)) => {
                    assert!(refused.detail().contains(part), "{}", refused.detail());
                }
                (said, part) => panic!("{part:?}: {said:?}"),
            }
        }
    }

    #[test]
    fn a_whole_commit_is_read() {
        let body = br#"{"id": "c", "settle": [{"position": 1, "generation": 0, "effects": [
            {"event": {"type": "e", "topic": "t", "data": 1.10}, "after": "1h", "timer": "x"},
            {"event": {"type": "e", "topic": "t"}, "at": "2030-01-01T00:00:00Z"},
            {"reply": {"type": "e"}}, {"cancel": "x"}, {"cancel": "x", "source": "/s"}],
            "state": {"a": 1.10, "b": null}, "state_base64": {"c": "AA=="}}],
            "retry": [{"position": "2", "generation": 0, "reason": "r", "after": "1s"}],
            "dead": [{"position": "3", "generation": 0, "reason": "r", "on_dead": "skip"}]}"#;
        assert_eq!(read(body).unwrap().unwrap(), 3);
        assert_eq!(read(b"{}").unwrap().unwrap(), 0);
    }
}
