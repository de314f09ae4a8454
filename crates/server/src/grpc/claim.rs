//! What clients may append, and the events that a commit is about.

use std::collections::{BTreeMap, BTreeSet};

use ensue::engine::{Append, Commit, Death, Delivery, Effect, OnDead, Retry, StateWrite};
use ensue::error::GroupError;
use ensue::{Envelope, Error, InvalidEvent, Position, Timestamp};
use ensue_core::event::check_name;
use ensue_core::request::{answered, reply_topic};
use ensue_core::topic::{REPLIES, is_reserved};
use ensue_proto::v1::ErrorDetail;
use ensue_proto::{Malformed, detail_of, v1};

use super::answer::{detail_of_malformed, problem_detail};
use crate::problem::{Code, Problem};
use crate::security::{Action, Caller};

/// Events in the hands of a member, by position.
pub(super) type InHand = BTreeMap<Position, Delivery>;

/// An event that others may publish: a reply to a request is one.
pub(super) fn append(append: v1::Append) -> Result<Append, Malformed> {
    let append = Append::try_from(append)?;
    let topic = append.envelope.topic();
    if is_reserved(topic) && !topic.starts_with(REPLIES) {
        return Err(InvalidEvent::ReservedTopic(topic.to_owned()).into());
    }
    Ok(append)
}

/// The commit that a client means, of the events in its hands.
pub(super) fn commit(
    group: &str,
    caller: &Caller,
    in_hand: &InHand,
    commit: v1::Commit,
) -> Result<Commit, Box<ErrorDetail>> {
    let find = |position: u64| {
        let found = in_hand.get(&Position::new(position));
        found.ok_or_else(|| {
            let group = group.to_owned();
            Box::new(detail_of(&Error::Group(GroupError::Fenced { group })))
        })
    };
    // What follows from an event is looked at only if the member holds it: otherwise it is fenced.
    for position in &commit.settled {
        find(*position)?;
    }
    let malformed = |error| Box::new(detail_of_malformed(error));
    let mut claimed = Commit {
        settled: commit.settled.into_iter().map(Position::new).collect(),
        ..Commit::default()
    };
    for retry in commit.retries {
        let delivery = find(retry.position)?;
        claimed.retries.push(Retry {
            envelope: delivery.envelope.clone(),
            position: delivery.position,
            attempt: retry.attempt,
            due: Timestamp::from_micros(retry.due_us),
            reason: retry.reason,
        });
    }
    for position in commit.parked {
        claimed.parked.push(find(position)?.clone());
    }
    for death in commit.dead {
        let delivery = find(death.position)?;
        claimed.dead.push(Death {
            envelope: delivery.envelope.clone(),
            position: delivery.position,
            attempts: death.attempts,
            cause: death.cause().into(),
            on_dead: death.on_dead().into(),
            reason: death.reason,
        });
    }
    let handled = handled(&claimed).filter_map(|position| in_hand.get(&position));
    let handled: Vec<&Delivery> = handled.collect();
    let state = check_state(&handled, commit.state)?;
    let requests = requests(&handled);
    let mut effects = Vec::with_capacity(commit.effects.len());
    for effect in commit.effects {
        effects.push(match effect.effect {
            Some(v1::effect::Effect::Append(it)) => {
                let append = append(it).map_err(malformed)?;
                check_effect(caller, &requests, &append.envelope)?;
                Effect::Append(append)
            }
            // What is cancelled may be of any topic.
            _ => {
                let allowed = caller.must_cover(Action::Operate, &[]);
                allowed.map_err(|problem| Box::new(problem_detail(&problem)))?;
                Effect::try_from(effect).map_err(malformed)?
            }
        });
    }
    (claimed.state, claimed.effects) = (state, effects);
    Ok(claimed)
}

/// The requests among some events: where the reply to each goes.
type Requests<'a> = BTreeSet<(&'a str, &'a str, &'a str)>;

fn requests<'a>(handled: &[&'a Delivery]) -> Requests<'a> {
    let requests = handled.iter().filter_map(|delivery| {
        let request = &delivery.envelope;
        Some((reply_topic(request)?, request.source(), request.id()))
    });
    requests.collect()
}

/// A member that handles requests replies to them; anything else is published.
fn check_effect(
    caller: &Caller,
    requests: &Requests<'_>,
    event: &Envelope,
) -> Result<(), Box<ErrorDetail>> {
    if event.topic().starts_with(REPLIES) {
        let request = answered(event);
        let is_asked = request.is_some_and(|request| {
            requests.contains(&(event.topic(), request.source(), request.id()))
        });
        if is_asked {
            return Ok(());
        }
    }
    let allowed = caller.must_publish(event.topic(), event.source());
    allowed.map_err(|problem| Box::new(problem_detail(&problem)))
}

/// State is of the events that the commit is about: of others, it is not the member's.
fn check_state(
    handled: &[&Delivery],
    state: Vec<v1::StateWrite>,
) -> Result<Vec<StateWrite>, Box<ErrorDetail>> {
    if state.is_empty() {
        return Ok(Vec::new());
    }
    let keys = handled.iter().map(|delivery| &delivery.envelope);
    let keys: BTreeSet<_> = keys.map(|event| (event.topic(), event.key())).collect();
    let refused = |problem: &Problem| Box::new(problem_detail(problem));
    for write in &state {
        check_name("cell", &write.name).map_err(|error| refused(&error.into()))?;
        if !keys.contains(&(write.topic.as_str(), write.key.as_str())) {
            let shown = |text: &str| text.chars().take(80).collect::<String>();
            let (topic, key) = (shown(&write.topic), shown(&write.key));
            return Err(refused(&Problem::new(
                Code::Refused,
                format!(
                    "the commit handles no event of the key `{key}` in `{topic}`: state is set with an \
                     event of its key"
                ),
            )));
        }
    }
    Ok(state.into_iter().map(Into::into).collect())
}

/// Whether a later event of the key of this one has to wait after the commit.
pub(super) fn blocks(commit: &Commit, delivery: &Delivery) -> bool {
    let event = &delivery.envelope;
    let is_of = |failed: &Envelope| failed.topic() == event.topic() && failed.key() == event.key();
    let mut dead = commit.dead.iter();
    commit.retries.iter().any(|retry| is_of(&retry.envelope))
        || dead.any(|it| it.on_dead == OnDead::Park && is_of(&it.envelope))
}

/// Where the events are that a commit says the outcome of.
pub(super) fn handled(commit: &Commit) -> impl Iterator<Item = Position> {
    let settled = commit.settled.iter().copied();
    let retries = commit.retries.iter().map(|retry| retry.position);
    let dead = commit.dead.iter().map(|dead| dead.position);
    settled.chain(retries).chain(dead)
}

/// Where the events of a commit are.
pub(super) fn positions(commit: &Commit) -> impl Iterator<Item = Position> {
    let parked = commit.parked.iter().map(|parked| parked.position);
    handled(commit).chain(parked)
}
