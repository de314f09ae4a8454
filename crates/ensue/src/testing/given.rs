//! Given earlier events, when an aggregate decides, then these follow, or a refusal.

use std::fmt::Debug;

use futures_util::future::FutureExt as _;

use super::keys::GlassVault;
use crate::aggregate::{Aggregate, Decision, Never, certain};
use crate::event::{Codec, Envelope};
use crate::outgoing::{Due, Outgoing};
use crate::personal::OnForgotten;

/// An aggregate to which these events have happened: given, when, then, without an engine.
///
/// What is personal is compared by its value, and is masked in the state, as it is where an aggregate is loaded.
///
/// ```
/// use ensue::prelude::*;
/// use ensue::testing::given;
/// # #[derive(Event, Serialize, Deserialize)]
/// # #[event(type = "account.deposited", topic = "accounts")]
/// # struct Deposited { cents: u64 }
/// # #[derive(Event, Serialize, Deserialize)]
/// # #[event(type = "account.withdrawn", topic = "accounts")]
/// # struct Withdrawn { cents: u64 }
/// # #[derive(Default, Serialize, Deserialize)]
/// # struct Account { cents: u64 }
/// # #[aggregate]
/// # impl Account {
/// #     #[apply]
/// #     fn deposited(&mut self, event: Deposited) { self.cents += event.cents; }
/// #     #[apply]
/// #     fn withdrawn(&mut self, event: Withdrawn) { self.cents -= event.cents; }
/// #     fn withdraw(&self, cents: u64) -> Result<Withdrawn, &'static str> {
/// #         if self.cents < cents { Err("too little") } else { Ok(Withdrawn { cents }) }
/// #     }
/// # }
///
/// given::<Account>((Deposited { cents: 500 }, Withdrawn { cents: 100 }))
///     .when(|account| account.withdraw(400))
///     .then(Withdrawn { cents: 400 })
///     .then_state(|account| assert_eq!(account.cents, 0));
///
/// given::<Account>(Deposited { cents: 500 })
///     .when(|account| account.withdraw(501))
///     .then_refused("too little");
/// ```
///
/// # Panics
/// When an event is not one of the aggregate, or is not read as it was written.
#[track_caller]
pub fn given<A: Aggregate>(events: impl Decision<A, Refusal = Never>) -> Given<A> {
    let given = Given {
        state: A::default(),
        key: None,
    };
    given.and(events)
}

/// An aggregate to which events have happened: made by [`given`].
#[derive(Clone, Debug)]
#[must_use = "nothing is decided yet"]
pub struct Given<A> {
    state: A,
    /// The key that the events have, if any has one.
    key: Option<String>,
}

/// What an aggregate has decided: made by [`Given::when`].
#[derive(Debug)]
#[must_use = "what is not looked at tests nothing"]
pub struct Then<A, R> {
    after: Given<A>,
    outcome: Result<Vec<Outgoing>, R>,
}

/// The assertions of a test panic, as assertions do.
impl<A: Aggregate> Given<A> {
    /// These events have happened, too.
    ///
    /// # Panics
    /// As for [`given`].
    #[track_caller]
    pub fn and(mut self, events: impl Decision<A, Refusal = Never>) -> Self {
        for event in certain::<A, _>(events) {
            self.happened(&event);
        }
        self
    }

    /// Has the aggregate decide.
    ///
    /// # Panics
    /// When the decision gives an event that is not one of the aggregate, or has another key than those
    /// before.
    #[track_caller]
    pub fn when<D: Decision<A>>(self, decision: impl FnOnce(&A) -> D) -> Then<A, D::Refusal> {
        let mut after = self;
        let outcome = decision(&after.state).into_events();
        for event in outcome.iter().flatten() {
            if event.is_for_later() {
                after.check(event);
            } else {
                after.happened(event);
            }
        }
        Then { after, outcome }
    }

    /// What the events have led to.
    pub fn state(&self) -> &A {
        &self.state
    }

    #[track_caller]
    fn happened(&mut self, event: &Outgoing) {
        let envelope = self.check(event);
        let applied = self.state.apply_envelope(&envelope);
        assert!(
            applied.is_ok(),
            "`{}` is not read as it was written: {applied:?}",
            envelope.event_type()
        );
    }

    #[track_caller]
    fn check(&mut self, event: &Outgoing) -> Envelope {
        let envelope = built(event);
        let (event_type, key) = (envelope.event_type(), envelope.key());
        assert!(
            A::EVENTS.contains(&event_type) && envelope.topic() == A::TOPIC,
            "`{event_type}` in `{}` is not an event of the {}",
            envelope.topic(),
            A::NAME
        );
        if !key.is_empty() {
            let known = self.key.get_or_insert_with(|| key.to_owned());
            assert_eq!(
                known, key,
                "the key of `{event_type}`: all events of an aggregate have one key"
            );
        }
        envelope
    }
}

impl<A: Aggregate, R> Then<A, R> {
    /// Asserts that exactly these events follow, in this order, those for later included.
    ///
    /// # Panics
    /// When they do not.
    #[track_caller]
    pub fn then(&self, expected: impl Decision<A, Refusal = Never>) -> &Self {
        let expected: Vec<Shown> = certain::<A, _>(expected).iter().map(shown).collect();
        let found = self.outcome.as_ref().ok();
        let found = found.map(|events| events.iter().map(shown).collect());
        assert_eq!(
            found,
            Some(expected),
            "what follows (left; `None` is a refusal) is not what was expected (right)"
        );
        self
    }

    /// Asserts that nothing follows, which is no refusal.
    ///
    /// # Panics
    /// When something does, or it was refused.
    #[track_caller]
    pub fn then_nothing(&self) -> &Self {
        self.then(())
    }

    /// Asserts that the decision was this refusal.
    ///
    /// # Panics
    /// When it was not.
    #[track_caller]
    pub fn then_refused(&self, expected: R)
    where
        R: PartialEq + Debug,
    {
        let events = self.outcome.as_ref().map(Vec::len);
        assert_eq!(
            events,
            Err(&expected),
            "the refusal (`Ok` is how many events follow instead)"
        );
    }

    /// Looks at the state that the decision has led to.
    pub fn then_state(&self, look: impl FnOnce(&A)) -> &Self {
        look(&self.after.state);
        self
    }

    /// The aggregate after the decision, to decide again.
    pub fn after(self) -> Given<A> {
        self.after
    }
}

/// An event as it is compared, and printed when it differs.
#[derive(Debug, PartialEq)]
struct Shown {
    event_type: String,
    due: Option<Due>,
    timer: Option<String>,
    payload: Payload,
}

#[derive(PartialEq)]
struct Payload(Option<Codec>, Vec<u8>);

impl Debug for Payload {
    /// As text, where it is.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match std::str::from_utf8(&self.1) {
            Ok(text) => f.write_str(text),
            Err(_) => write!(f, "{:02x?}", self.1),
        }
    }
}

#[track_caller]
fn shown(event: &Outgoing) -> Shown {
    let envelope = built(event);
    let parts = sealed(event).into_parts();
    Shown {
        event_type: envelope.event_type().to_owned(),
        due: parts.due,
        timer: parts.timer,
        payload: Payload(envelope.codec().ok(), envelope.payload().to_vec()),
    }
}

#[track_caller]
#[expect(clippy::panic, reason = "assertions for tests")]
fn built(event: &Outgoing) -> Envelope {
    match sealed(event).into_parts().builder.and_then(|it| it.build()) {
        Ok(envelope) => envelope,
        Err(error) => panic!("this is not a valid event: {error}"),
    }
}

/// As it would be written, but that equal values stay equal.
#[track_caller]
#[expect(clippy::panic, reason = "assertions for tests")]
fn sealed(event: &Outgoing) -> Outgoing {
    let sealing = event
        .clone()
        .sealed_by(Some(&GlassVault), OnForgotten::Refuse);
    match sealing.now_or_never() {
        Some(Ok(sealed)) => sealed,
        Some(Err(error)) => panic!("this is not a valid event: {error}"),
        None => panic!("the event is being sealed by another task"),
    }
}
