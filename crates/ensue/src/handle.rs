//! The engine, as programs hold it.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::aggregate::{Aggregate, Aggregates};
use crate::engine::{self, Appended, Position, Query, SharedEngine};
use crate::error::Result;
use crate::event::{Event, Personal, PersonalValue};
use crate::forgetting::{self, ForgetReceipt};
use crate::handled;
use crate::outgoing::Publish;
use crate::personal;
#[cfg(feature = "personal")]
use crate::personal::KeyStore;
use crate::publisher::Publisher;
use crate::request::Requester;
use crate::reservations::Reservations;
use crate::saga::{self, SagaStatus, Sagas};
use crate::settling;
use crate::state::{self, State, StateError};
use crate::stream::Events;
use crate::topic::TopicPattern;

/// The source of what [`Engine::publish`] publishes.
const SOURCE: &str = "/app";

/// Where the log lives: opened by its URL, given to an [`App`](crate::App), published to, read
/// from. Cloning is cheap; all clones are the same engine.
///
/// What operators need (status, dead letters, redrive, reset) are the methods of the contract that
/// every engine keeps, [`engine::Driver`], which this dereferences to.
///
/// ```
/// use ensue::prelude::*;
///
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(type = "order.created", topic = "orders", key = order_id)]
/// struct OrderCreated { order_id: String }
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// let engine = Engine::open("memory:").await?; // or embedded:./data, nats://…, kafka://…
/// let mut orders = engine.tail("orders").await?;
///
/// engine.publish(OrderCreated { order_id: "o-1".into() }).await?;
///
/// let created = orders.next().await.expect("a tail goes on")?;
/// assert_eq!(created.envelope.decode::<OrderCreated>()?.order_id, "o-1");
/// assert_eq!(engine.status().await?.topics.len(), 1);
/// engine.close().await?;
/// # Ok::<(), ensue::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Engine(SharedEngine);

impl Engine {
    /// Opens the engine that `url` names: `embedded:./data`, `memory:`, or a server's.
    ///
    /// # Errors
    /// [`OpenError::Url`](crate::error::OpenError::Url) when the URL or one of its options is
    /// unknown, [`OpenError::FeatureMissing`](crate::error::OpenError::FeatureMissing) when the
    /// engine is not compiled in, [`OpenError::Locked`](crate::error::OpenError::Locked) when
    /// another process owns the directory.
    pub async fn open(url: &str) -> Result<Self> {
        Ok(Self(engine::connect(url).await?))
    }

    /// Opens what `url` names for reading only, also while another process owns it.
    ///
    /// # Errors
    /// As for [`Engine::open`], and [`EngineError::Io`](crate::error::EngineError::Io) when there
    /// is no log. What would write is refused with
    /// [`OpenError::Locked`](crate::error::OpenError::Locked) or
    /// [`EngineError::ReadOnly`](crate::error::EngineError::ReadOnly).
    pub async fn open_reader(url: &str) -> Result<Self> {
        Ok(Self(engine::connect_reader(url).await?))
    }

    /// Appends an event, signed with the source `/app`; durable when it returns.
    /// [`publisher`](Self::publisher) signs with another.
    ///
    /// # Errors
    /// See [`engine::Driver::append`].
    pub async fn publish(&self, event: impl Publish) -> Result<Appended> {
        self.publisher(SOURCE).publish(event).await
    }

    /// A publisher that signs its events with `source`, a URI reference such as `/shop`.
    pub fn publisher(&self, source: &str) -> Publisher {
        Publisher::new(self, source)
    }

    /// A requester that signs its requests with `source`.
    pub fn requester(&self, source: &str) -> Requester {
        Requester::new(self, source)
    }

    /// The aggregates of type `A`, whose events are signed with `source`: keep it, and clone it, as it
    /// remembers those that were used last.
    pub fn aggregates<A: Aggregate>(&self, source: &str) -> Aggregates<A> {
        Aggregates::new(self.publisher(source))
    }

    /// Values of what is called `of` (`emails`, say) that only one holder may have; their events are signed
    /// with `source`.
    pub fn reservations(&self, of: &str, source: &str) -> Reservations {
        Reservations::new(self.publisher(source), of)
    }

    /// The events that `query` asks for, up to the end of the log as it is when that is reached;
    /// [`Events::follow`] goes on with what comes. [`Query::limit`] counts the events of the whole
    /// stream; 0 is no limit.
    ///
    /// ```
    /// # use ensue::engine::Query;
    /// # use ensue::prelude::*;
    /// # async fn count(engine: Engine) -> ensue::Result<usize> {
    /// let mut events = engine.read(Query { key: Some("o-1".into()), ..Query::default() });
    /// let mut count = 0;
    /// while let Some(event) = events.next().await {
    ///     println!("{}", event?.envelope.event_type());
    ///     count += 1;
    /// }
    /// # Ok(count)
    /// # }
    /// ```
    pub fn read(&self, query: Query) -> Events {
        Events::new(self.0.clone(), query)
    }

    /// The events of the topics that match `pattern` (`orders`, `sensors.*`, `>`), from now on.
    ///
    /// # Errors
    /// [`ReadError::Topic`](crate::error::ReadError::Topic) when the pattern is not one, and what
    /// asking for the end of the log reports.
    pub async fn tail(&self, pattern: &str) -> Result<Events> {
        let query = Query {
            topics: Some(pattern.parse::<TopicPattern>()?),
            from: self.0.health().await?.end,
            ..Query::default()
        };
        Ok(self.read(query).follow())
    }

    /// What the service `group` remembers, as a `T`, of a topic and key, as of its last commit: a
    /// question that puts nothing into the log.
    ///
    /// # Errors
    /// [`StateError`] when the cell was written by a type that this program does not know, there is no
    /// such group, or the engine cannot be asked.
    pub async fn state<T: State>(
        &self,
        group: &str,
        topic: &str,
        key: &str,
    ) -> Result<Option<T>, StateError> {
        let bytes = self.0.state(group, topic, key, T::NAME).await?;
        bytes.map(|bytes| state::decode(&bytes)).transpose()
    }

    /// What the service `group` remembers, as a `T`, of the keys of a topic: those of up to `limit`
    /// keys, by key, of the keys behind `after`; 0 and more than
    /// [`READ_EVENTS_MAX`](crate::engine::READ_EVENTS_MAX) is that many. The last key of a page is the `after` of the
    /// next. Puts nothing into the log, and looks at all of the group's state.
    ///
    /// # Errors
    /// As for [`Engine::state`].
    pub async fn states<T: State>(
        &self,
        group: &str,
        topic: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, T)>, StateError> {
        let cells = self.0.states(group, topic, T::NAME, after, limit).await?;
        let mut typed = Vec::with_capacity(cells.len());
        for (key, bytes) in cells {
            typed.push((key, state::decode(&bytes)?));
        }
        Ok(typed)
    }

    /// The process `key` of the saga `name`, as of its last commit: a question that puts nothing into the log.
    /// `None` if it does not run.
    ///
    /// # Errors
    /// As for [`Engine::state`].
    pub async fn saga<S: State>(
        &self,
        name: &str,
        key: &str,
    ) -> Result<Option<SagaStatus<S>>, StateError> {
        saga::status(&self.0, name, key).await
    }

    /// The sagas for operators, whatever their types: what runs, what is stuck, the path of a process; try again,
    /// or undo.
    pub fn sagas(&self) -> Sagas<'_> {
        Sagas::of(&*self.0)
    }

    /// Has the process `key` of the saga `name` undone, for a reason that its path will say: what it has done,
    /// the step at hand included, in reverse. A process that does not run any more stays as it is. What is
    /// parked behind a dead letter waits until that is redriven or discarded; [`Sagas::compensate`] does so.
    ///
    /// # Errors
    /// As for [`Engine::publish`].
    pub async fn compensate_saga(&self, name: &str, key: &str, reason: &str) -> Result<Appended> {
        self.publish(saga::compensation(name, key, reason)).await
    }

    /// Completes when none of these groups has anything left to do, whichever processes run them: as
    /// [`Running::settled`](crate::Running::settled) does for the services of an app. A group that does
    /// not exist yet has everything to do. Cancel-safe.
    ///
    /// # Errors
    /// What the engine reports when it is asked for its status.
    pub async fn settled<'a>(&self, groups: impl IntoIterator<Item = &'a str>) -> Result<()> {
        let groups: Vec<&str> = groups.into_iter().collect();
        settling::settled(&self.0, &groups).await
    }

    /// Waits until the service `group` has handled the event at `position`, whichever process runs it, for
    /// `deadline` at the most: what a program does that has written, and reads a view that the service keeps.
    /// The position is that of what was published ([`Appended::position`]) or decided
    /// ([`Receipt::position`](crate::Receipt::position)); as a text it goes with the answer to a browser and
    /// comes back with its next request.
    ///
    /// An event that the group does not take counts as handled. One that is put aside, because it waits for
    /// another attempt or is a dead letter, does not (over `ensue://` it does: there the group's position is
    /// all that is known).
    ///
    /// ```
    /// use std::time::Duration;
    /// use ensue::prelude::*;
    ///
    /// #[derive(Event, Serialize, Deserialize)]
    /// #[event(type = "order.created", topic = "orders", key = 0)]
    /// struct OrderCreated(String);
    ///
    /// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
    /// let engine = Engine::open("memory:").await?;
    /// let app = App::new(engine.clone()).on("lists", async |OrderCreated(order): OrderCreated| {
    ///     println!("{order} is in the list"); // in a database, say
    /// });
    /// let running = app.start().await?;
    ///
    /// let token = engine.publish(OrderCreated("o-1".into())).await?.position.to_string();
    /// // … and with the next request:
    /// let position = token.parse().unwrap();
    /// engine.wait_until_handled("lists", position, Duration::from_secs(2)).await?;
    /// running.stop().await?;
    /// # Ok::<(), ensue::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`GroupError::NotHandled`](crate::error::GroupError::NotHandled) after the deadline, with what the
    /// group has done with it, or [`ReadError::BeyondEnd`](crate::error::ReadError::BeyondEnd) if the log has no such
    /// event; [`GroupError::Unknown`](crate::error::GroupError::Unknown), and what the engine reports.
    pub async fn wait_until_handled(
        &self,
        group: &str,
        position: Position,
        deadline: Duration,
    ) -> Result<()> {
        handled::wait_until_handled(&self.0, group, position, deadline).await
    }

    /// The same engine, with keys for what is personal in events (`#[event(personal = subject)]`): what is published or
    /// returned by handlers is sealed with them, what handlers take is opened. Needs the feature `personal`.
    ///
    /// ```
    /// use ensue::prelude::*;
    /// use ensue::{MemoryKeys, Personal};
    /// use std::time::Duration;
    ///
    /// #[derive(Event, Serialize, Deserialize)]
    /// #[event(type = "user.registered", topic = "users", key = user)]
    /// struct UserRegistered {
    ///     user: String,
    ///     #[event(personal = user)]
    ///     email: Personal<String>,
    /// }
    ///
    /// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
    /// let engine = Engine::open("memory:").await?.with_keys(MemoryKeys::default())?; // or FileKeys::open("./keys")?
    /// let email = "ada@example.org".to_owned().into();
    /// engine.publish(UserRegistered { user: "u-1".into(), email }).await?;
    ///
    /// let stored = engine.last("users", "u-1").await?.expect("it was published").envelope;
    /// assert!(!String::from_utf8_lossy(stored.payload()).contains("ada"));
    /// let mut event: UserRegistered = stored.decode()?;
    /// assert_eq!(event.email.known(), None); // masked
    /// engine.unmask_event(&mut event).await?;
    /// assert_eq!(event.email.known().unwrap(), "ada@example.org");
    ///
    /// let receipt = engine.forget("u-1", Duration::from_secs(10)).await?;
    /// assert!(receipt.is_complete());
    /// let mut event: UserRegistered = stored.decode()?;
    /// engine.unmask_event(&mut event).await?;
    /// assert!(event.email.is_forgotten());
    /// # Ok::<(), ensue::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`PersonalError::Keys`](crate::error::PersonalError::Keys) when the directory of the keys and that of the log are
    /// one within the other: a backup of the log would have the keys.
    #[cfg(feature = "personal")]
    pub fn with_keys(self, keys: impl KeyStore) -> Result<Self> {
        Ok(Self(personal::keyed(self.0, keys)?))
    }

    /// Opens what is personal in an event that was read, as far as there are keys for it; what there are none for stays
    /// masked. Handlers get their events opened.
    ///
    /// # Errors
    /// [`PersonalError`](crate::error::PersonalError): the keys cannot be reached, or what was sealed is damaged.
    pub async fn unmask_event<E: Event>(&self, event: &mut E) -> Result<()> {
        Ok(personal::open_event(event, self.0.vault()).await?)
    }

    /// The same for a [`Personal`] value, or an `Option` or a `Vec` of some.
    ///
    /// # Errors
    /// As for [`Engine::unmask_event`].
    pub async fn unmask<P: PersonalValue + Send>(&self, value: &mut P) -> Result<()> {
        personal::open_all(value, &*self.0).await
    }

    /// Seals a value for `subject`: what is personal and comes from no event, to be kept in a cell of state. An event's
    /// own are sealed when it is published.
    ///
    /// # Errors
    /// [`PersonalError::NoKeys`](crate::error::PersonalError::NoKeys) without
    /// [`with_keys`](Self::with_keys), [`PersonalError::Forgotten`](crate::error::PersonalError::Forgotten), and as for
    /// [`Engine::unmask_event`].
    pub async fn seal<T>(&self, subject: &str, value: T) -> Result<Personal<T>>
    where
        T: Serialize + DeserializeOwned + Send + Sync,
    {
        personal::seal(subject, value, &*self.0).await
    }

    /// Makes a further key for `subject`, with which is sealed from now on, here at once and in other processes within
    /// a minute. What was sealed before is opened with the key before. Returns the number of the key.
    ///
    /// # Errors
    /// As for [`Engine::seal`].
    pub async fn rotate_keys(&self, subject: &str) -> Result<u32> {
        let vault = personal::vault_of(&*self.0, "a subject")?;
        Ok(vault.rotate(subject).await?)
    }

    /// Forgets a person: destroys the keys of `subject`, so that nothing that was sealed for it can be opened any more,
    /// wherever it is (events, dead letters, state, snapshots, backups of the log); appends [`Forgotten`], which has all
    /// who hold copies remove them, and waits for them, for `deadline` at the most. The receipt says what has come of it.
    /// May be repeated, and has to be after an error: until it returns, nothing is promised.
    ///
    /// Who holds copies is who takes [`Forgotten`]. The subject never gets another key: a person who comes back needs
    /// another id.
    ///
    /// # Errors
    /// [`PersonalError::NoKeys`](crate::error::PersonalError::NoKeys) without [`with_keys`](Self::with_keys),
    /// [`PersonalError::Keys`](crate::error::PersonalError::Keys) when the keys cannot be reached, and what the engine
    /// reports.
    ///
    /// [`Forgotten`]: crate::Forgotten
    pub async fn forget(&self, subject: &str, deadline: Duration) -> Result<ForgetReceipt> {
        forgetting::forget(&self.0, subject, deadline).await
    }

    /// The engine behind the handle.
    pub fn shared(&self) -> &SharedEngine {
        &self.0
    }
}

impl From<SharedEngine> for Engine {
    fn from(engine: SharedEngine) -> Self {
        Self(engine)
    }
}

impl From<Engine> for SharedEngine {
    fn from(engine: Engine) -> Self {
        engine.0
    }
}

impl From<&Engine> for SharedEngine {
    fn from(engine: &Engine) -> Self {
        engine.0.clone()
    }
}

impl<E: engine::Driver> From<Arc<E>> for Engine {
    fn from(engine: Arc<E>) -> Self {
        Self(engine)
    }
}

impl Deref for Engine {
    type Target = dyn engine::Driver;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
