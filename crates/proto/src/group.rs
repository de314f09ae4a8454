//! Groups: subscriptions, deliveries, dead letters, resets. Commits are the server's and the client's own:
//! they name events by their position, and only the server knows what it has delivered.

use ensue_core::engine::{
    DeadLetter, DeadLetterFilter, DeathCause, Delivery, Effect, OnDead, ReplayEffects, ReplayState,
    Reset, ResetPlan, Run, StateWrite, Subscription,
};
use ensue_core::{Position, Start, Timestamp, TopicPattern};

use crate::event::stored;
use crate::malformed::Malformed;
use crate::v1;
use crate::v1::dead_letter::Content;
use crate::v1::start::Place;

/// How many events a member holds that does not say.
const IN_FLIGHT_DEFAULT: usize = 1_000;

impl From<&Start> for v1::Start {
    fn from(start: &Start) -> Self {
        Self {
            place: Some(match start {
                Start::Earliest => Place::Earliest(true),
                Start::Latest => Place::Latest(true),
                Start::Cursor(cursor) => Place::Cursor(cursor.to_string()),
                Start::Time(time) => Place::TimeUs(time.as_micros()),
            }),
        }
    }
}

fn start(start: Option<v1::Start>) -> Result<Start, Malformed> {
    match start.and_then(|start| start.place) {
        None | Some(Place::Earliest(true)) => Ok(Start::Earliest),
        Some(Place::Latest(true)) => Ok(Start::Latest),
        Some(Place::Cursor(cursor)) => Ok(Start::Cursor(cursor.parse()?)),
        Some(Place::TimeUs(time)) => Ok(Start::Time(Timestamp::from_micros(time))),
        Some(Place::Earliest(false) | Place::Latest(false)) => Err(Malformed::Field {
            name: "start",
            problem: "says where not to start: give `true`, a cursor or a time",
        }),
    }
}

impl From<&Subscription> for v1::Subscription {
    fn from(wanted: &Subscription) -> Self {
        Self {
            group: wanted.group.clone(),
            topics: wanted
                .topics
                .iter()
                .map(|it| it.as_str().to_owned())
                .collect(),
            types: wanted.types.clone().unwrap_or_default(),
            filters_types: wanted.types.is_some(),
            start: Some((&wanted.start).into()),
            in_flight_max: u32::try_from(wanted.in_flight_max).unwrap_or(u32::MAX),
        }
    }
}

impl TryFrom<v1::Subscription> for Subscription {
    type Error = Malformed;

    fn try_from(wanted: v1::Subscription) -> Result<Self, Malformed> {
        let topics = wanted.topics.iter().map(|it| it.parse::<TopicPattern>());
        Ok(Self {
            group: wanted.group,
            topics: topics.collect::<Result<_, _>>()?,
            types: (wanted.filters_types || !wanted.types.is_empty()).then_some(wanted.types),
            start: start(wanted.start)?,
            in_flight_max: match wanted.in_flight_max {
                0 => IN_FLIGHT_DEFAULT,
                max => max as usize,
            },
        })
    }
}

impl From<&Delivery> for v1::Delivery {
    fn from(delivery: &Delivery) -> Self {
        Self {
            event: Some((&delivery.envelope).into()),
            position: delivery.position.get(),
            attempt: delivery.attempt,
            generation: delivery.generation,
            run: Some(v1::Run {
                number: delivery.run.number,
                holds_back: delivery.run.holds_back,
            }),
        }
    }
}

impl TryFrom<v1::Delivery> for Delivery {
    type Error = Malformed;

    fn try_from(delivery: v1::Delivery) -> Result<Self, Malformed> {
        let run = delivery.run.unwrap_or_default();
        Ok(Self {
            envelope: stored(delivery.event)?,
            position: Position::new(delivery.position),
            attempt: delivery.attempt,
            generation: delivery.generation,
            run: Run {
                number: run.number,
                holds_back: run.holds_back,
            },
        })
    }
}

impl From<DeathCause> for v1::DeathCause {
    fn from(cause: DeathCause) -> Self {
        match cause {
            DeathCause::Undecodable => Self::Undecodable,
            DeathCause::Rejected => Self::Rejected,
            DeathCause::Exhausted => Self::Exhausted,
            DeathCause::Crashed => Self::Crashed,
            DeathCause::Refused => Self::Refused,
        }
    }
}

impl From<v1::DeathCause> for DeathCause {
    fn from(cause: v1::DeathCause) -> Self {
        match cause {
            v1::DeathCause::Undecodable => Self::Undecodable,
            v1::DeathCause::Rejected | v1::DeathCause::Unspecified => Self::Rejected,
            v1::DeathCause::Exhausted => Self::Exhausted,
            v1::DeathCause::Crashed => Self::Crashed,
            v1::DeathCause::Refused => Self::Refused,
        }
    }
}

impl From<OnDead> for v1::OnDead {
    fn from(on_dead: OnDead) -> Self {
        match on_dead {
            OnDead::Park => Self::Park,
            OnDead::Skip => Self::Skip,
        }
    }
}

impl From<v1::OnDead> for OnDead {
    fn from(on_dead: v1::OnDead) -> Self {
        match on_dead {
            v1::OnDead::Park | v1::OnDead::Unspecified => Self::Park,
            v1::OnDead::Skip => Self::Skip,
        }
    }
}

impl From<&Effect> for v1::Effect {
    fn from(effect: &Effect) -> Self {
        Self {
            effect: Some(match effect {
                Effect::Append(append) => v1::effect::Effect::Append(append.into()),
                Effect::Cancel(name) => v1::effect::Effect::Cancel(name.into()),
            }),
        }
    }
}

impl TryFrom<v1::Effect> for Effect {
    type Error = Malformed;

    fn try_from(effect: v1::Effect) -> Result<Self, Malformed> {
        match effect.effect {
            Some(v1::effect::Effect::Append(append)) => Ok(Self::Append(append.try_into()?)),
            Some(v1::effect::Effect::Cancel(name)) => Ok(Self::Cancel(name.into())),
            None => Err(Malformed::missing("effect")),
        }
    }
}

impl From<&StateWrite> for v1::StateWrite {
    fn from(write: &StateWrite) -> Self {
        Self {
            topic: write.topic.clone(),
            key: write.key.clone(),
            name: write.name.clone(),
            value: write.value.clone(),
        }
    }
}

impl From<v1::StateWrite> for StateWrite {
    fn from(write: v1::StateWrite) -> Self {
        Self {
            topic: write.topic,
            key: write.key,
            name: write.name,
            value: write.value,
        }
    }
}

impl From<&DeadLetterFilter> for v1::DeadLetterFilter {
    fn from(filter: &DeadLetterFilter) -> Self {
        Self {
            positions: filter.positions.iter().map(|it| it.get()).collect(),
            ids: filter.ids.clone(),
            source: filter.source.clone(),
            types: filter.types.clone(),
            key: filter.key.clone(),
            reason: filter.reason.clone(),
            since_us: filter.since.map(Timestamp::as_micros),
            limit: filter.limit as u64,
        }
    }
}

/// Which dead letters are meant.
pub fn filter(filter: Option<v1::DeadLetterFilter>) -> DeadLetterFilter {
    let filter = filter.unwrap_or_default();
    DeadLetterFilter {
        positions: filter.positions.into_iter().map(Position::new).collect(),
        ids: filter.ids,
        source: filter.source,
        types: filter.types,
        key: filter.key,
        reason: filter.reason,
        since: filter.since_us.map(Timestamp::from_micros),
        limit: usize::try_from(filter.limit).unwrap_or(usize::MAX),
    }
}

impl From<&DeadLetter> for v1::DeadLetter {
    fn from(letter: &DeadLetter) -> Self {
        Self {
            group: letter.group.clone(),
            id: Some((&letter.event).into()),
            topic: letter.topic.clone(),
            r#type: letter.event_type.clone(),
            key: letter.key.clone(),
            content: Some(match &letter.envelope {
                Ok(envelope) => Content::Event(envelope.into()),
                Err(damage) => Content::Damage(damage.clone()),
            }),
            position: letter.position.get(),
            attempts: letter.attempts,
            cause: v1::DeathCause::from(letter.cause).into(),
            reason: letter.reason.clone(),
            died_us: letter.died.as_micros(),
            parked: letter.parked as u64,
            redriven: letter.redriven,
        }
    }
}

impl TryFrom<v1::DeadLetter> for DeadLetter {
    type Error = Malformed;

    fn try_from(letter: v1::DeadLetter) -> Result<Self, Malformed> {
        let cause = letter.cause().into();
        Ok(Self {
            group: letter.group,
            event: letter.id.ok_or(Malformed::missing("id"))?.into(),
            topic: letter.topic,
            event_type: letter.r#type,
            key: letter.key,
            envelope: match letter.content {
                Some(Content::Event(event)) => Ok(stored(Some(event))?),
                Some(Content::Damage(damage)) => Err(damage),
                None => return Err(Malformed::missing("content")),
            },
            position: Position::new(letter.position),
            attempts: letter.attempts,
            cause,
            reason: letter.reason,
            died: Timestamp::from_micros(letter.died_us),
            parked: letter.parked as usize,
            redriven: letter.redriven,
        })
    }
}

fn effects_of(effects: ReplayEffects) -> v1::ReplayEffects {
    match effects {
        ReplayEffects::HoldBack => v1::ReplayEffects::HoldBack,
        ReplayEffects::Publish => v1::ReplayEffects::Publish,
    }
}

fn effects_from(effects: v1::ReplayEffects) -> ReplayEffects {
    match effects {
        v1::ReplayEffects::HoldBack | v1::ReplayEffects::Unspecified => ReplayEffects::HoldBack,
        v1::ReplayEffects::Publish => ReplayEffects::Publish,
    }
}

fn state_of(state: Option<ReplayState>) -> v1::ReplayState {
    match state {
        None => v1::ReplayState::Unspecified,
        Some(ReplayState::Keep) => v1::ReplayState::Keep,
        Some(ReplayState::Afresh) => v1::ReplayState::Afresh,
    }
}

fn state_from(state: v1::ReplayState) -> Option<ReplayState> {
    match state {
        v1::ReplayState::Unspecified => None,
        v1::ReplayState::Keep => Some(ReplayState::Keep),
        v1::ReplayState::Afresh => Some(ReplayState::Afresh),
    }
}

impl From<&Reset> for v1::Reset {
    fn from(reset: &Reset) -> Self {
        Self {
            to: Some((&reset.to).into()),
            effects: effects_of(reset.effects).into(),
            state: state_of(reset.state).into(),
        }
    }
}

/// How a group is moved.
///
/// # Errors
/// [`Malformed`] when it does not say where to: a default would be the beginning.
pub fn reset(reset: Option<v1::Reset>) -> Result<Reset, Malformed> {
    let reset = reset.ok_or(Malformed::missing("reset"))?;
    let (effects, state) = (reset.effects(), reset.state());
    let to = reset.to.filter(|to| to.place.is_some());
    let to = to.ok_or(Malformed::missing("reset.to"))?;
    Ok(Reset {
        to: start(Some(to))?,
        effects: effects_from(effects),
        state: state_from(state),
    })
}

impl From<&ResetPlan> for v1::ResetPlan {
    fn from(plan: &ResetPlan) -> Self {
        Self {
            group: plan.group.clone(),
            from: plan.from.to_string(),
            to: plan.to.to_string(),
            again: plan.again,
            skipped: plan.skipped,
            dropped: plan.dropped as u64,
            dead_again: plan.dead_again as u64,
            dead_kept: plan.dead_kept as u64,
            cells: plan.cells as u64,
            effects: effects_of(plan.effects).into(),
            state: state_of(plan.state).into(),
            scheduled: plan.scheduled as u64,
        }
    }
}

impl TryFrom<v1::ResetPlan> for ResetPlan {
    type Error = Malformed;

    fn try_from(plan: v1::ResetPlan) -> Result<Self, Malformed> {
        let (effects, state) = (plan.effects(), plan.state());
        Ok(Self {
            group: plan.group,
            from: plan.from.parse()?,
            to: plan.to.parse()?,
            again: plan.again,
            skipped: plan.skipped,
            dropped: plan.dropped as usize,
            dead_again: plan.dead_again as usize,
            dead_kept: plan.dead_kept as usize,
            cells: plan.cells as usize,
            effects: effects_from(effects),
            state: state_from(state),
            scheduled: plan.scheduled as usize,
        })
    }
}
