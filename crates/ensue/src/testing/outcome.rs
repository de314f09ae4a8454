//! What a handler returned, and assertions about it.

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures_util::FutureExt as _;

use crate::effect::{Cancel, Effects, Said};
use crate::engine::SharedEngine;
use crate::event::{Envelope, Event};
use crate::failure::Failure;
use crate::outgoing::Due;
use crate::personal::open_event;
use crate::state::State;

/// What a handler said.
#[derive(Debug)]
#[must_use = "an outcome that is not looked at tests nothing"]
pub struct Outcome {
    effects: Result<Effects, Failure>,
    /// What has the keys of what is personal in them.
    engine: Option<SharedEngine>,
    /// What assertions have looked at.
    asserted: Mutex<HashSet<Asserted>>,
}

/// An event that follows.
struct Following<E> {
    /// When it is due, if it is for later.
    due: Option<Due>,
    /// The timer that appends it.
    timer: Option<String>,
    event: E,
}

/// What an assertion looks at, all of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Asserted {
    /// The events of a type that follow now.
    Now(String),
    /// Those that are scheduled, by timers too.
    Later(String),
    /// Those that timers append.
    Timers(String),
    Cancellations,
    /// The changes of a cell of state.
    Cell(String),
}

/// The assertions of a test panic, as assertions do.
#[expect(clippy::panic, reason = "assertions for tests")]
impl Outcome {
    pub(super) fn new(effects: Result<Effects, Failure>, engine: Option<SharedEngine>) -> Self {
        Self {
            effects,
            engine,
            asserted: Mutex::default(),
        }
    }

    pub(super) fn failure(&self) -> Option<&Failure> {
        self.effects.as_ref().err()
    }

    /// Asserts that exactly these events of one type follow, now and in this order. Those for later
    /// are looked at by [`then_later`](Self::then_later).
    ///
    /// # Panics
    /// When they do not.
    #[track_caller]
    pub fn then<E: Event + PartialEq + Debug>(
        &self,
        expected: impl IntoIterator<Item = E>,
    ) -> &Self {
        self.asserted(Asserted::Now(E::TYPE.to_owned()));
        let expected: Vec<E> = expected.into_iter().collect();
        let found = self.events::<E>().into_iter();
        let found: Vec<E> = found
            .filter_map(|it| it.due.is_none().then_some(it.event))
            .collect();
        assert_eq!(found, expected, "the `{}` that follow", E::TYPE);
        self
    }

    /// Asserts that exactly these events of one type are scheduled, in this order: after a
    /// [`Duration`](std::time::Duration) or at a [`Timestamp`](crate::Timestamp).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ensue::prelude::*;
    /// # use ensue::testing::Scenario;
    /// # #[derive(Event, Serialize, Deserialize, Debug, PartialEq)]
    /// # #[event(type = "order.created", topic = "orders", key = 0)]
    /// # struct OrderCreated(String);
    /// # #[derive(Event, Serialize, Deserialize, Debug, PartialEq)]
    /// # #[event(type = "reminder.due", topic = "reminders", key = 0)]
    /// # struct ReminderDue(String);
    /// # struct Reminders;
    /// #[service]
    /// impl Reminders {
    ///     #[on]
    ///     async fn remember(&self, OrderCreated(order): OrderCreated) -> Outgoing {
    ///         Outgoing::new(ReminderDue(order)).after(Duration::from_secs(60))
    ///     }
    /// }
    /// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
    /// let mut reminders = Scenario::of(Reminders).await?;
    /// let outcome = reminders.when(OrderCreated("o-1".into())).await?;
    /// outcome.then_later([(Duration::from_secs(60), ReminderDue("o-1".into()))]);
    /// # Ok::<(), ensue::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// When they are not.
    #[track_caller]
    pub fn then_later<E: Event + PartialEq + Debug, D: Into<Due>>(
        &self,
        expected: impl IntoIterator<Item = (D, E)>,
    ) -> &Self {
        self.asserted(Asserted::Later(E::TYPE.to_owned()));
        let expected = expected.into_iter().map(|(due, event)| (due.into(), event));
        let expected: Vec<(Due, E)> = expected.collect();
        let found = self.events::<E>().into_iter();
        let found: Vec<(Due, E)> = found.filter_map(|it| Some((it.due?, it.event))).collect();
        assert_eq!(found, expected, "the `{}` that are scheduled", E::TYPE);
        self
    }

    /// Asserts that exactly these timers are set to append events of one type, in this order: their
    /// names, when they are due, and their events.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ensue::prelude::*;
    /// # use ensue::testing::Scenario;
    /// # #[derive(Event, Serialize, Deserialize, Debug, PartialEq)]
    /// # #[event(type = "order.created", topic = "orders", key = 0)]
    /// # struct OrderCreated(String);
    /// # #[derive(Event, Serialize, Deserialize, Debug, PartialEq)]
    /// # #[event(type = "reminder.due", topic = "reminders", key = 0)]
    /// # struct ReminderDue(String);
    /// # struct Reminders;
    /// #[service]
    /// impl Reminders {
    ///     #[on]
    ///     async fn remember(&self, OrderCreated(order): OrderCreated) -> Outgoing {
    ///         let timer = format!("reminder-{order}");
    ///         Outgoing::new(ReminderDue(order)).timer(timer, Duration::from_secs(60))
    ///     }
    /// }
    /// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
    /// let mut reminders = Scenario::of(Reminders).await?;
    /// let outcome = reminders.when(OrderCreated("o-1".into())).await?;
    /// let reminder = ReminderDue("o-1".into());
    /// outcome.then_timers([("reminder-o-1", Duration::from_secs(60), reminder)]);
    /// # Ok::<(), ensue::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// When they are not.
    #[track_caller]
    pub fn then_timers<E: Event + PartialEq + Debug, N: Into<String>, D: Into<Due>>(
        &self,
        expected: impl IntoIterator<Item = (N, D, E)>,
    ) -> &Self {
        self.asserted(Asserted::Timers(E::TYPE.to_owned()));
        let expected = expected.into_iter();
        let expected: Vec<(String, Due, E)> = expected
            .map(|(name, due, event)| (name.into(), due.into(), event))
            .collect();
        let found = self.events::<E>().into_iter();
        let found: Vec<(String, Due, E)> = found
            .filter_map(|it| Some((it.timer?, it.due?, it.event)))
            .collect();
        assert_eq!(found, expected, "the timers of `{}`", E::TYPE);
        self
    }

    /// Asserts that exactly these timers, or scheduled events by their ids, are cancelled, in this
    /// order.
    ///
    /// # Panics
    /// When they are not.
    #[track_caller]
    pub fn then_cancelled<N: AsRef<str>>(&self, names: impl IntoIterator<Item = N>) -> &Self {
        self.asserted(Asserted::Cancellations);
        let expected = names.into_iter().map(|name| name.as_ref().to_owned());
        let expected: Vec<String> = expected.collect();
        let said = self.effects().said.iter();
        let found: Vec<String> = said
            .filter_map(|said| match said {
                Said::Cancel(Cancel::Own(name)) => Some(name.clone()),
                Said::Cancel(Cancel::Of(event)) => Some(event.id().to_owned()),
                Said::Publish(_) => None,
            })
            .collect();
        assert_eq!(found, expected, "what is cancelled");
        self
    }

    /// Asserts that the handler set what its service remembers as a `T` to this.
    ///
    /// # Panics
    /// When it did not, or to something else.
    #[track_caller]
    pub fn then_state<T: State + PartialEq + Debug>(&self, expected: T) -> &Self {
        let found = self.change_of::<T>();
        assert_eq!(found, Some(Some(expected)), "the state `{}`", T::NAME);
        self
    }

    /// Asserts that the handler cleared what its service remembers as a `T`.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn then_state_cleared<T: State + PartialEq + Debug>(&self) -> &Self {
        let found = self.change_of::<T>();
        assert_eq!(found, Some(None), "the state `{}`", T::NAME);
        self
    }

    /// What a cell becomes, if it changes.
    #[track_caller]
    fn change_of<T: State>(&self) -> Option<Option<T>> {
        self.asserted(Asserted::Cell(T::NAME.to_owned()));
        let mut changes = self.effects().state.iter();
        let change = changes.rfind(|change| &*change.name == T::NAME)?;
        let decode = |bytes: &Bytes| match crate::state::decode(bytes) {
            Ok(state) => state,
            Err(error) => panic!("the state `{}` does not decode: {error}", T::NAME),
        };
        Some(change.value.as_ref().map(decode))
    }

    /// Asserts that nothing at all follows: no event, now or later, no cancellation, and no change
    /// of state.
    ///
    /// # Panics
    /// When something does.
    #[track_caller]
    pub fn then_nothing(&self) -> &Self {
        self.nothing_but(&HashSet::new())
    }

    /// Asserts that nothing follows but what the assertions before it have looked at: no event of
    /// another type, none for later, no cancellation and no change of state.
    ///
    /// ```
    /// # use ensue::prelude::*;
    /// # use ensue::testing::Scenario;
    /// # #[derive(Event, Serialize, Deserialize, Debug, PartialEq)]
    /// # #[event(type = "order.created", topic = "orders", key = 0)]
    /// # struct OrderCreated(String);
    /// # #[derive(Event, Serialize, Deserialize, Debug, PartialEq)]
    /// # #[event(type = "order.paid", topic = "orders", key = 0)]
    /// # struct OrderPaid(String);
    /// # struct Payments;
    /// #[service]
    /// impl Payments {
    ///     #[on]
    ///     async fn charge(&self, OrderCreated(order): OrderCreated) -> OrderPaid { OrderPaid(order) }
    /// }
    /// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
    /// let mut payments = Scenario::of(Payments).await?;
    /// let outcome = payments.when(OrderCreated("o-1".into())).await?;
    /// outcome.then([OrderPaid("o-1".into())]).then_nothing_else();
    /// # Ok::<(), ensue::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// When something does.
    #[track_caller]
    pub fn then_nothing_else(&self) -> &Self {
        let asserted = self.asserted.lock().unwrap_or_else(PoisonError::into_inner);
        self.nothing_but(&asserted)
    }

    fn asserted(&self, what: Asserted) {
        let mut asserted = self.asserted.lock().unwrap_or_else(PoisonError::into_inner);
        asserted.insert(what);
    }

    #[track_caller]
    fn nothing_but(&self, asserted: &HashSet<Asserted>) -> &Self {
        let mut found = Vec::new();
        for Following { due, timer, event } in self.outgoing() {
            let kind = event.event_type().to_owned();
            let (when, is_asserted) = if due.is_none() {
                ("", asserted.contains(&Asserted::Now(kind.clone())))
            } else {
                let by_timer = Asserted::Timers(kind.clone());
                let is_asserted = timer.is_some() && asserted.contains(&by_timer)
                    || asserted.contains(&Asserted::Later(kind.clone()));
                (" for later", is_asserted)
            };
            found.extend((!is_asserted).then(|| format!("`{kind}`{when}")));
        }
        let effects = self.effects();
        let cancelled = effects.said.len() - effects.events();
        if cancelled > 0 && !asserted.contains(&Asserted::Cancellations) {
            found.push(format!("{cancelled} cancellations"));
        }
        for cell in &effects.state {
            let is_asserted = asserted.contains(&Asserted::Cell(cell.name.to_string()));
            found.extend((!is_asserted).then(|| format!("a change of the cell `{}`", cell.name)));
        }
        let otherwise = if asserted.is_empty() { "" } else { " else" };
        assert!(
            found.is_empty(),
            "nothing{otherwise} should follow, but {} did",
            found.join(", ")
        );
        self
    }

    /// Asserts that the handler failed and asks for another attempt.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn then_retry(self) -> Failure {
        let failure = self.failed();
        assert!(!failure.is_reject(), "it was rejected: {failure}");
        failure
    }

    /// Asserts that the handler rejected the event.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn then_reject(self) -> Failure {
        let failure = self.failed();
        assert!(failure.is_reject(), "it was not rejected: {failure}");
        failure
    }

    /// The events that follow, as they would be stored.
    ///
    /// # Panics
    /// When the handler failed, or one of them is not a valid event.
    #[track_caller]
    pub fn envelopes(&self) -> Vec<Envelope> {
        let all = self.outgoing().into_iter();
        all.map(|it| it.event).collect()
    }

    /// The events that follow.
    #[track_caller]
    fn outgoing(&self) -> Vec<Following<Envelope>> {
        let outgoing = self.effects().said.iter().filter_map(Said::outgoing);
        let parts = outgoing.map(|outgoing| outgoing.clone().into_parts());
        parts
            .map(
                |parts| match parts.builder.and_then(|builder| builder.build()) {
                    Ok(event) => Following {
                        due: parts.due,
                        timer: parts.timer,
                        event,
                    },
                    Err(error) => panic!("the handler returned what is not a valid event: {error}"),
                },
            )
            .collect()
    }

    /// The events of one type that follow.
    #[track_caller]
    fn events<E: Event>(&self) -> Vec<Following<E>> {
        let all = self.outgoing().into_iter();
        all.filter(|it| it.event.event_type() == E::TYPE)
            .map(|it| match it.event.decode() {
                Ok(event) => Following {
                    due: it.due,
                    timer: it.timer,
                    event: self.opened(event),
                },
                Err(error) => panic!("`{}` does not decode: {error}", E::TYPE),
            })
            .collect()
    }

    /// The event with what is personal in it open, as it is compared.
    #[track_caller]
    fn opened<E: Event>(&self, mut event: E) -> E {
        let vault = self.engine.as_ref().and_then(|engine| engine.vault());
        // Keys in memory are not waited for.
        match open_event(&mut event, vault).now_or_never() {
            Some(Ok(())) | None => event,
            Some(Err(error)) => panic!("`{}` cannot be opened: {error}", E::TYPE),
        }
    }

    #[track_caller]
    fn effects(&self) -> &Effects {
        match &self.effects {
            Ok(effects) => effects,
            Err(failure) => panic!("the handler failed: {failure}"),
        }
    }

    #[track_caller]
    fn failed(self) -> Failure {
        match self.effects {
            Err(failure) => failure,
            Ok(effects) => panic!(
                "the handler did not fail, {} events follow",
                effects.events()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Outgoing;

    fn event() -> Outgoing {
        Outgoing::raw(Envelope::builder("things", "thing.happened"))
    }

    fn outcome(effects: Effects) -> Outcome {
        Outcome::new(Ok(effects), None)
    }

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Celsius(i32);

    impl State for Celsius {
        const NAME: &'static str = "celsius";
    }

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Last(i32);

    impl State for Last {
        const NAME: &'static str = "last";
    }

    /// What an assertion says when it fails; nothing when it holds.
    fn said(assertion: impl FnOnce()) -> Option<String> {
        crate::contained::contained(assertion).err()
    }

    #[test]
    fn nothing_follows_only_if_nothing_at_all_does() {
        assert_eq!(
            said(|| drop(outcome(Effects::none()).then_nothing().envelopes())),
            None
        );
        for (effects, named) in [
            (Effects::none().publish(event()), "thing.happened"),
            (
                Effects::none().publish(event().after(Duration::from_secs(1))),
                "thing.happened",
            ),
            (Effects::none().cancel("alarm"), "1 cancellations"),
            (Effects::none().set_named_state("celsius", 20), "`celsius`"),
            (Effects::none().clear_named_state("celsius"), "`celsius`"),
        ] {
            let said = said(|| {
                outcome(effects).then_nothing();
            });
            assert!(
                said.as_ref().is_some_and(|it| it.contains(named)),
                "{said:?}"
            );
        }
    }

    #[test]
    fn nothing_else_follows_only_if_everything_was_looked_at() {
        let all = || {
            Effects::none()
                .cancel("alarm")
                .set_state(Celsius(20))
                .set_named_state("last", 1)
        };
        let outcome = outcome(all());
        let fails = |named: &str| {
            let said = said(|| drop(outcome.then_nothing_else().envelopes()));
            said.is_some_and(|it| it.contains(named))
        };
        assert!(fails("1 cancellations"));
        outcome.then_cancelled(["alarm"]);
        assert!(!fails("1 cancellations") && fails("`celsius`"));
        outcome.then_state(Celsius(20));
        assert!(
            !fails("`celsius`") && fails("else should follow, but a change of the cell `last`")
        );
        let later = self::outcome(
            Effects::none()
                .publish(event())
                .publish(event().after(Duration::from_secs(1))),
        );
        later.asserted(Asserted::Now("thing.happened".into()));
        let said = said(|| drop(later.then_nothing_else().envelopes()));
        assert!(
            said.is_some_and(|it| it.contains("but `thing.happened` for later did")),
            "what is scheduled was not looked at"
        );
    }

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Rang(i32);

    impl Event for Rang {
        const TYPE: &'static str = "alarm.rang";
        const TOPIC: &'static str = "alarms";

        fn key(&self) -> std::borrow::Cow<'_, str> {
            "hall".into()
        }
    }

    #[test]
    fn timers_are_compared_by_name_time_and_event() {
        let minute = Duration::from_secs(60);
        let timer = || Outgoing::new(Rang(1)).timer("alarm", minute);
        let only = outcome(Effects::none().publish(timer()));
        only.then_timers([("alarm", minute, Rang(1))])
            .then_nothing_else();
        for (name, due, event) in [
            ("alert", minute, Rang(1)),
            ("alarm", 2 * minute, Rang(1)),
            ("alarm", minute, Rang(2)),
        ] {
            let said = said(|| drop(only.then_timers([(name, due, event)]).envelopes()));
            assert!(said.is_some_and(|it| it.contains("the timers of `alarm.rang`")));
        }
        let plain = Outgoing::new(Rang(2)).after(minute);
        let both = outcome(Effects::none().publish(timer()).publish(plain));
        both.then_timers([("alarm", minute, Rang(1))]);
        assert!(
            said(|| drop(both.then_nothing_else().envelopes())).is_some(),
            "an event that no timer appends was not looked at"
        );
        both.then_later([(minute, Rang(1)), (minute, Rang(2))])
            .then_nothing_else();
    }

    #[test]
    fn cancellations_and_state_are_compared() {
        let effects = Effects::none()
            .cancel("alarm")
            .cancel_event(crate::EventId::new("/shop", "order-1"))
            .set_state(Celsius(20))
            .clear_state::<Last>()
            .set_state(Celsius(21));
        let outcome = outcome(effects);
        outcome
            .then_cancelled(["alarm", "order-1"])
            .then_state(Celsius(21))
            .then_state_cleared::<Last>();
        let fails = |assertion: &dyn Fn(&Outcome)| said(|| assertion(&outcome)).is_some();
        assert!(fails(&|it| drop(it.then_cancelled(["alarm"]).envelopes())));
        assert!(fails(&|it| drop(it.then_state(Celsius(20)).envelopes())));
        assert!(fails(&|it| drop(
            it.then_state_cleared::<Celsius>().envelopes()
        )));
        assert!(fails(&|it| drop(it.then_state(Last(1)).envelopes())));
    }
}
