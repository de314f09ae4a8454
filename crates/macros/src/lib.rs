//! The macros of [Ensue](https://docs.rs/ensue): use them through that crate.
//!
//! Each macro is read, checked and written in this order: `args` splits an attribute into its
//! options, `event` and `service` give them their meaning and collect everything that is wrong in
//! `errors`, and only a use without errors becomes code. What the code needs at run time lives in
//! `ensue::__private`.

#![deny(missing_docs)]
#![forbid(unsafe_code)]
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod aggregate;
mod args;
mod duration;
mod errors;
mod event;
mod marker;
mod names;
mod service;
mod state;
mod version;

use proc_macro::TokenStream;

/// Makes a struct or an enum an event: a fact with a type, a topic and a key.
///
/// ```
/// use ensue::prelude::*;
///
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(type = "order.created", topic = "orders", key = order_id)]
/// struct OrderCreated {
///     order_id: String,
///     cents: u64,
/// }
///
/// let event = OrderCreated { order_id: "o-1".into(), cents: 4200 };
/// assert_eq!(OrderCreated::TYPE, "order.created");
/// assert_eq!(event.topic(), "orders");
/// assert_eq!(event.key(), "o-1");
/// ```
///
/// `Serialize` and `Deserialize` are serde's: the crate that defines events depends on `serde`.
/// An event needs both, and does not compile without:
///
/// ```compile_fail,E0277
/// use ensue::prelude::*;
///
/// #[derive(Event, Serialize)]
/// #[event(type = "order.created", topic = "orders")]
/// struct OrderCreated;
/// ```
///
/// An event has no generic parameters: one type of event stands for one schema.
///
/// # Options
///
/// | option | meaning |
/// | --- | --- |
/// | `type = "order.created"` | What happened (the CloudEvents `type`): lower case, dotted, past tense. Required. |
/// | `topic = "orders"` | The topic it is appended to. Required. |
/// | `topic = "sensors.{hall}.{device}"` | A topic that fields fill in, each a whole part. |
/// | `key = order_id` | The field that keeps the order. Without it the key is empty. |
/// | `key = order.id`, `key = 0` | A field of a field; a field of a tuple struct. |
/// | `key = (tenant, order_id)` | Several fields, joined by `/`. |
/// | `key_with = path` | A function from `&Self` to a `String`, a `&str` or a `Cow<str>`. |
/// | `version = 2` | The version of the schema, 1 by default. |
/// | `previous = OrderCreatedV1` | The type of the version before. |
/// | `codec = "json"` | How it is written: `"json"` (the default), `"msgpack"` or `"cbor"`. |
///
/// Of a field of the type `Personal<T>`, or an `Option` or a `Vec` of it:
///
/// | option | meaning |
/// | --- | --- |
/// | `personal = user_id` | It is sealed with the keys of the person whose id is in this field. |
///
/// Another type does not compile, as it would be written in the clear:
///
/// ```compile_fail,E0277
/// use ensue::prelude::*;
///
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(type = "user.registered", topic = "users", key = user)]
/// struct UserRegistered {
///     user: String,
///     #[event(personal = user)]
///     email: String,
/// }
/// ```
///
/// A field of a key or a topic is anything that is `AsRef<str>`, which costs nothing, or `Display`.
///
/// # Topics that fields fill in
///
/// ```
/// use ensue::prelude::*;
///
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(type = "temperature.measured", topic = "sensors.{hall}.{device}", key = device)]
/// struct TemperatureMeasured {
///     hall: u8,
///     device: String,
///     celsius: f32,
/// }
///
/// let event = TemperatureMeasured { hall: 3, device: "t-9".into(), celsius: 21.5 };
/// assert_eq!(event.topic(), "sensors.3.t-9");
/// // Handlers take it from all of them:
/// assert_eq!(TemperatureMeasured::TOPIC, "sensors.*.*");
/// ```
///
/// A value that is not one part of a topic (it is empty, or has a dot or a space) makes a topic
/// that publishing refuses.
///
/// # Versions
///
/// Stored events never change; their types do. Keep the old type, name it in `previous` and say
/// with [`From`] what an old event means today. Older versions are converted step by step.
///
/// ```
/// use ensue::prelude::*;
///
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(type = "order.created", topic = "orders", key = order_id)]
/// struct OrderCreatedV1 { order_id: String, euros: u64 }
///
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(type = "order.created", topic = "orders", key = order_id)]
/// #[event(version = 2, previous = OrderCreatedV1)]
/// struct OrderCreated { order_id: String, cents: u64 }
///
/// impl From<OrderCreatedV1> for OrderCreated {
///     fn from(old: OrderCreatedV1) -> Self {
///         Self { order_id: old.order_id, cents: old.euros * 100 }
///     }
/// }
///
/// let stored = br#"{"order_id":"o-1","euros":42}"#;
/// let event = OrderCreated::decode(1, ensue::Codec::Json, stored)?;
/// assert_eq!(event.cents, 4200);
/// # Ok::<(), ensue::DecodeError>(())
/// ```
#[proc_macro_derive(Event, attributes(event))]
pub fn derive_event(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    event::expand(&input).into()
}

/// Makes a struct or an enum a cell of a service's state, with a name and a version.
///
/// | option | meaning |
/// | --- | --- |
/// | `name = "last-reading"` | The name under which it is stored, within the service. Required. |
/// | `version = 2` | The version of the type, 1 by default. |
/// | `previous = LastReadingV1` | The type of the version before; [`From`] says what it means today. |
///
/// ```
/// use ensue::prelude::*;
///
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(type = "temperature.measured", topic = "sensors", key = device)]
/// struct TemperatureMeasured { device: String, celsius: f64 }
///
/// #[derive(State, Serialize, Deserialize)]
/// #[state(name = "hottest")]
/// struct Hottest { celsius: f64 }
///
/// struct Records;
///
/// #[service]
/// impl Records {
///     #[on]
///     async fn watch(&self, event: TemperatureMeasured, ctx: &Context) -> Result<Effects, Failure> {
///         let celsius = match ctx.state::<Hottest>().await? {
///             Some(before) => before.celsius.max(event.celsius),
///             None => event.celsius,
///         };
///         Ok(Effects::none().set_state(Hottest { celsius }))
///     }
/// }
/// ```
#[proc_macro_derive(State, attributes(state))]
pub fn derive_state(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    state::expand(&input).into()
}

/// Makes the methods of an `impl` block that are marked with `#[on]` the handlers of a service.
///
/// ```
/// use ensue::prelude::*;
///
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(type = "order.created", topic = "orders", key = order_id)]
/// struct OrderCreated { order_id: String, cents: u64 }
///
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(type = "order.paid", topic = "orders", key = order_id)]
/// struct OrderPaid { order_id: String }
///
/// struct Payments { limit_cents: u64 }
///
/// #[service]
/// impl Payments {
///     #[on(attempts = 5, backoff = "200ms..30s", timeout = "10s")]
///     async fn charge(&self, order: OrderCreated) -> Result<OrderPaid, Failure> {
///         if order.cents > self.limit_cents {
///             return Err(Failure::reject("beyond the limit"));
///         }
///         Ok(OrderPaid { order_id: order.order_id })
///     }
/// }
/// assert_eq!(Payments::NAME, "payments");
///
/// // A handler is an ordinary method: a test calls it.
/// # let runtime = tokio::runtime::Runtime::new()?;
/// # runtime.block_on(async {
/// let order = OrderCreated { order_id: "o-1".into(), cents: 4200 };
/// let paid = Payments { limit_cents: 10_000 }.charge(order).await?;
/// assert_eq!(paid.order_id, "o-1");
/// # Ok::<(), Failure>(())
/// # }).unwrap();
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// The service is one consumer group, named after the type: `OrderNotifications` is
/// `order-notifications`. Positions are kept under that name, so give it one before you rename the
/// type: `#[service(name = "payments")]`.
///
/// # Handlers
///
/// | method | called with |
/// | --- | --- |
/// | `#[on] async fn m(&self, event: E)` | events of type `E` |
/// | `#[on] async fn m(&self, event: E, context: Context)` | and what surrounds the event; `&Context` will do |
/// | `#[on(blocking)] fn m(&self, event: E)` | on the thread pool, with or without `Context` |
/// | `#[on(topics = "orders.>")] async fn m(&self, event: Envelope)` | events of any type, undecoded |
///
/// It returns what follows: `()`, an event, [`Reply`], [`Effects`], [`Outgoing`], an `Option`,
/// `Vec`, array or tuple of them, or a `Result` of that, with any error: [`Failure`],
/// `anyhow::Error`, a boxed error, a `String`, your own. A service has one handler per type of event. `&self` is shared by all events at hand: state lives in the log
/// ([`Effects::set_state`]) or in fields that lock.
///
/// # Options of `#[service]`
///
/// | option | meaning | default |
/// | --- | --- | --- |
/// | `name = "payments"` | The consumer group. | the type's name |
/// | `attempts`, `backoff`, `timeout`, `on_dead` | As of `#[on]`, for all of its handlers. | as of `#[on]` |
/// | `start = "latest"` | Where a new group starts: at the `"earliest"` event or after the `"latest"`. | the app's, which is the earliest |
/// | `workers = 2` | How many tasks its keys are spread over, 1 to 64. | the app's |
/// | `in_flight_max = 1000` | How many events it holds unsettled, 1 to 65536. | the app's |
/// | `concurrency = 16` | How many of its handlers may wait for something at the same time, 1 to 65536. | the app's |
///
/// The app has the last word on the last four: `App::service_options`.
///
/// # Options of `#[on]`
///
/// | option | meaning | default |
/// | --- | --- | --- |
/// | `attempts = 5` | How many times an event is tried, 1 to 1000. | 5 |
/// | `backoff = "200ms..30s"` | How long to wait between attempts: doubling, with jitter. | `"200ms..30s"` |
/// | `timeout = "10s"` | How long one attempt may take. | `"30s"` |
/// | `blocking` | A plain `fn` that computes or blocks. | |
/// | `concurrency = 16` | How many events it takes at the same time, 1 to 65536. | the service's |
/// | `on_dead = "skip"` | Whether later events of a dead letter's key `"park"` behind it or `"skip"` it. | `"park"` |
/// | `topics = "orders.>"` | Other topics than the event's own. | the event's |
/// | `types = ["order.created"]` | Which types an `Envelope` handler takes. | all |
/// | `publishes = [OrderPaid]` | What follows, where the return type does not say it. | |
/// | `needs = [AtomicCommit]` | Which `Guarantee`s the engine must give, or the app does not start. | |
///
/// Durations are numbers with units, largest first: `"500ms"`, `"1m30s"`, `"1.5h"`, `"2d"`; as in URLs and
/// commands (`ensue::parse_duration`).
///
/// [`Failure`]: https://docs.rs/ensue/latest/ensue/struct.Failure.html
/// [`Reply`]: https://docs.rs/ensue/latest/ensue/struct.Reply.html
/// [`Effects`]: https://docs.rs/ensue/latest/ensue/struct.Effects.html
/// [`Effects::set_state`]: https://docs.rs/ensue/latest/ensue/struct.Effects.html#method.set_state
/// [`Outgoing`]: https://docs.rs/ensue/latest/ensue/struct.Outgoing.html
#[proc_macro_attribute]
pub fn service(arguments: TokenStream, item: TokenStream) -> TokenStream {
    service::expand(arguments.into(), item.into()).into()
}

/// Makes the methods of an `impl` block that are marked with `#[apply]` what events mean to an aggregate.
///
/// An aggregate is state that decides: a struct that is `Default`, `Serialize` and `Deserialize`, and is the
/// fold of the events of one key in one topic. Decisions are its other methods: they look at it, and return
/// the events that follow, or a refusal of any type.
///
/// ```
/// use ensue::prelude::*;
/// use ensue::testing::given;
///
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(type = "account.deposited", topic = "accounts")]
/// struct Deposited { cents: u64 }
///
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(type = "account.withdrawn", topic = "accounts")]
/// struct Withdrawn { cents: u64 }
///
/// #[derive(Debug, PartialEq)]
/// struct TooLittle { left: u64 }
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Account { cents: u64 }
///
/// #[aggregate]
/// impl Account {
///     #[apply]
///     fn deposited(&mut self, event: Deposited) {
///         self.cents += event.cents;
///     }
///
///     #[apply]
///     fn withdrawn(&mut self, event: Withdrawn) {
///         self.cents -= event.cents;
///     }
///
///     fn withdraw(&self, cents: u64) -> Result<Withdrawn, TooLittle> {
///         match self.cents >= cents {
///             true => Ok(Withdrawn { cents }),
///             false => Err(TooLittle { left: self.cents }),
///         }
///     }
/// }
///
/// given::<Account>(Deposited { cents: 500 }).when(|it| it.withdraw(200)).then(Withdrawn { cents: 200 });
/// given::<Account>(()).when(|it| it.withdraw(200)).then_refused(TooLittle { left: 0 });
/// ```
///
/// A marked method takes `&mut self` and an event, by value or by reference, and returns nothing: what has
/// happened is neither refused nor put off. All of its events are of one topic, which does not depend on
/// their fields. An event without a key gets that of the aggregate. A type of event that no method applies
/// is an error when it is met, as a newer program may have written it; what means nothing to the aggregate is
/// listed in `ignore`.
///
/// # Options
///
/// | option | meaning | default |
/// | --- | --- | --- |
/// | `name = "account"` | Its name: in errors, and where its snapshots are kept. | the type's name |
/// | `version = 2` | The version of its state: raise it when the state, or what events mean to it, changes. Snapshots of another version are thrown away. | 1 |
/// | `snapshot_every = 100` | After how many events a snapshot is kept; 0 is none. | 100 |
/// | `ignore = [NoteAdded]` | Types of events of its stream that mean nothing to it. | none |
#[proc_macro_attribute]
pub fn aggregate(arguments: TokenStream, item: TokenStream) -> TokenStream {
    aggregate::expand(arguments.into(), item.into()).into()
}

/// Marks what an event means to an aggregate, in an [`#[aggregate]`](macro@aggregate) block, which documents
/// it.
///
/// Alone it is an error: without the block nothing would ever call the method.
#[proc_macro_attribute]
pub fn apply(_arguments: TokenStream, item: TokenStream) -> TokenStream {
    aggregate::misplaced_apply(item.into()).into()
}

/// Marks a handler in a [`#[service]`](macro@service) block, which documents its options.
///
/// Alone it is an error: without the block nothing would ever call the method.
///
/// ```compile_fail
/// use ensue::prelude::*;
/// # #[derive(Event, Serialize, Deserialize)]
/// # #[event(type = "order.created", topic = "orders")]
/// # struct OrderCreated;
///
/// struct Payments;
///
/// impl Payments { // `#[service]` is missing
///     #[on]
///     async fn charge(&self, order: OrderCreated) {}
/// }
/// ```
#[proc_macro_attribute]
pub fn on(_arguments: TokenStream, item: TokenStream) -> TokenStream {
    service::misplaced_on(item.into()).into()
}
