//! What `#[derive(Event)]` and `#[service]` write.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ensue::engine::Guarantee;
use ensue::prelude::*;
use ensue::{
    ATTEMPTS_MAX, ATTRIBUTE_BYTES_MAX, Backoff, CONCURRENCY_MAX, Codec, Handler, IN_FLIGHT_MAX,
    OnDead, ServiceOptions, Start, TOPIC_BYTES_MAX, WORKERS_MAX,
};

mod events {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
    pub(crate) struct OrderId(pub(crate) u64);

    impl fmt::Display for OrderId {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "o-{}", self.0)
        }
    }

    #[derive(Event, Serialize, Deserialize)]
    #[event(type = "order.created", topic = "orders", key = order_id)]
    pub(crate) struct OrderCreated {
        pub(crate) order_id: OrderId,
        pub(crate) cents: u64,
    }

    #[derive(Debug, PartialEq, Event, Serialize, Deserialize)]
    #[event(type = "order.paid", topic = "orders", key = order_id)]
    pub(crate) struct OrderPaid {
        pub(crate) order_id: OrderId,
    }

    #[derive(Event, Serialize, Deserialize)]
    #[event(type = "order.rejected", topic = "orders", key = order_id)]
    pub(crate) struct OrderRejected {
        pub(crate) order_id: OrderId,
    }
}

use events::{OrderCreated, OrderId, OrderPaid, OrderRejected};

mod an_event {
    use super::*;

    #[derive(Event, Serialize, Deserialize)]
    #[event(type = "day.ended", topic = "days")]
    struct DayEnded;

    #[test]
    fn needs_no_more_than_a_name_and_a_topic() {
        assert_eq!(DayEnded::TYPE, "day.ended");
        assert_eq!(DayEnded::TOPIC, "days");
        assert_eq!(DayEnded::VERSION, 1);
        assert_eq!(DayEnded::CODEC, Codec::Json);
        assert_eq!(DayEnded.topic(), "days");
        assert_eq!(DayEnded.key(), "");
    }

    #[derive(Event, Serialize, Deserialize)]
    #[event(type = "user.renamed", topic = "users", key = r#type)]
    struct UserRenamed {
        r#type: String,
    }

    #[derive(Event, Serialize, Deserialize)]
    #[event(type = "word.said", topic = "words", key = 0)]
    struct WordSaid(Arc<str>, u8);

    #[derive(Event, Serialize, Deserialize)]
    #[event(type = "price.changed", topic = "prices", key = item.0.code)]
    struct PriceChanged {
        item: (Item, u8),
    }

    #[derive(Serialize, Deserialize)]
    struct Item {
        code: Cow<'static, str>,
    }

    #[test]
    fn borrows_its_key_from_a_text() {
        let renamed = UserRenamed { r#type: "a".into() };
        assert!(matches!(renamed.key(), Cow::Borrowed("a")));
        let said = WordSaid("yes".into(), 1);
        assert!(matches!(said.key(), Cow::Borrowed("yes")));
        let code = Cow::Borrowed("tea");
        let changed = PriceChanged {
            item: (Item { code }, 1),
        };
        assert!(matches!(changed.key(), Cow::Borrowed("tea")));
    }

    #[derive(Event, Serialize, Deserialize)]
    #[event(type = "line.added", topic = "orders", key = (tenant, order.0, line))]
    struct LineAdded {
        tenant: String,
        order: OrderId,
        line: char,
    }

    #[test]
    fn writes_its_key_from_what_can_be_displayed() {
        let order_id = OrderId(7);
        assert_eq!(OrderPaid { order_id }.key(), "o-7");
        let added = LineAdded {
            tenant: "acme".into(),
            order: order_id,
            line: 'x',
        };
        assert_eq!(added.key(), "acme/7/x");
    }

    #[derive(Event, Serialize, Deserialize)]
    #[event(type = "door.moved", topic = "doors", key_with = Self::door)]
    enum DoorMoved {
        Opened { door: String },
        Closed(String),
        Broken,
    }

    impl DoorMoved {
        fn door(&self) -> &str {
            match self {
                Self::Opened { door } | Self::Closed(door) => door,
                Self::Broken => "",
            }
        }
    }

    #[test]
    fn may_be_an_enum_whose_key_a_function_finds() {
        let door = "north".to_owned();
        assert_eq!(DoorMoved::Opened { door: door.clone() }.key(), "north");
        assert_eq!(DoorMoved::Closed(door).key(), "north");
        assert_eq!(DoorMoved::Broken.key(), "");
    }

    #[derive(Event, Serialize, Deserialize)]
    #[event(type = "sensor.read", topic = "sensors.{hall}.x.{device}", key = device)]
    struct SensorRead {
        hall: u8,
        device: String,
    }

    #[derive(Event, Serialize, Deserialize)]
    #[event(type = "tenant.joined", topic = "{0}")]
    struct TenantJoined(String);

    #[test]
    fn may_fill_in_its_topic() {
        assert_eq!(SensorRead::TOPIC, "sensors.*.x.*");
        let read = |device: &str| SensorRead {
            hall: 3,
            device: device.into(),
        };
        assert_eq!(read("t-9").topic(), "sensors.3.x.t-9");
        assert_eq!(TenantJoined::TOPIC, "*");
        assert_eq!(TenantJoined("acme".into()).topic(), "acme");

        // Not `sensors.3.x.t.9`: that would be appended where no handler looks.
        let envelope = Envelope::of(&read("t.9")).unwrap().source("/test").build();
        let error = envelope.unwrap_err().to_string();
        assert!(error.contains("sensors.3.x.{t.9}"), "{error}");
    }

    #[derive(Debug, PartialEq, Event, Serialize, Deserialize)]
    #[event(type = "blob.stored", topic = "blobs", codec = "msgpack")]
    struct BlobStored {
        bytes: u32,
    }

    #[derive(Event, Serialize, Deserialize)]
    #[event(type = "blob.read", topic = "blobs", codec = "cbor")]
    struct BlobRead;

    #[test]
    fn is_written_by_its_codec() {
        assert_eq!(BlobStored::CODEC, Codec::MessagePack);
        assert_eq!(BlobRead::CODEC, Codec::Cbor);
        let event = BlobStored { bytes: 5 };
        let envelope = Envelope::of(&event).unwrap().source("/test").build();
        assert_eq!(envelope.unwrap().decode::<BlobStored>().unwrap(), event);
    }

    // As long as the framework allows: the macros know its limits by heart.
    #[derive(Event, Serialize, Deserialize)]
    #[event(
        type = "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn",
        topic = "tttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttt"
    )]
    struct AsLongAsAllowed;

    #[test]
    fn has_the_limits_of_the_framework() {
        assert_eq!(AsLongAsAllowed::TYPE.len(), ATTRIBUTE_BYTES_MAX);
        assert_eq!(AsLongAsAllowed::TOPIC.len(), TOPIC_BYTES_MAX);
        let envelope = Envelope::of(&AsLongAsAllowed).unwrap().source("/test");
        envelope.build().unwrap();
    }
}

mod a_version {
    use super::*;

    #[derive(Event, Serialize, Deserialize)]
    #[event(type = "user.joined", topic = "users")]
    struct V1 {
        name: String,
    }

    #[derive(Event, Serialize, Deserialize)]
    #[event(type = "user.joined", topic = "users", version = 2, previous = V1)]
    struct V2 {
        first: String,
        last: String,
    }

    /// Version 3 was never released.
    #[derive(Event, Serialize, Deserialize)]
    #[event(type = "user.joined", topic = "users", version = 4, previous = self::V2)]
    #[event(codec = "cbor")]
    struct V4 {
        first: String,
        last: String,
        from: u8,
    }

    impl From<V1> for V2 {
        fn from(old: V1) -> Self {
            let (first, last) = old.name.split_once(' ').unwrap_or((&old.name, ""));
            Self {
                first: first.into(),
                last: last.into(),
            }
        }
    }

    impl From<V2> for V4 {
        fn from(V2 { first, last }: V2) -> Self {
            Self {
                first,
                last,
                from: 2,
            }
        }
    }

    #[test]
    fn is_read_from_every_one_before_it() {
        let name = "Ada Lovelace".into();
        let first = Codec::Json.encode(&V1 { name }).unwrap();
        let user = V4::decode(1, Codec::Json, &first).unwrap();
        assert_eq!((&*user.first, &*user.last), ("Ada", "Lovelace"));
        assert_eq!(user.from, 2);

        let second = br#"{"first":"Grace","last":"Hopper"}"#;
        let user = V4::decode(2, Codec::Json, second).unwrap();
        assert_eq!((&*user.first, &*user.last), ("Grace", "Hopper"));

        let user = V4 {
            first: "A".into(),
            last: "B".into(),
            from: 4,
        };
        let fourth = Codec::Cbor.encode(&user).unwrap();
        assert_eq!(V4::decode(4, Codec::Cbor, &fourth).unwrap().from, 4);
    }

    #[test]
    fn is_refused_when_it_is_unknown() {
        let refused = |version| match V4::decode(version, Codec::Json, b"{}") {
            Ok(_) => panic!("version {version} was read"),
            Err(error) => error.to_string(),
        };
        assert!(refused(5).contains("update this one"));
        assert!(refused(3).contains("declare the older type"));
        assert!(refused(0).contains("version 0"));
    }
}

mod a_service {
    use super::*;

    struct Payments {
        limit_cents: u64,
    }

    #[service]
    impl Payments {
        #[on(
            attempts = 1_000,
            backoff = "200ms..1m30s",
            timeout = "10s",
            concurrency = 65536,
            on_dead = "skip",
            topics = "orders.>",
            needs = [AtomicCommit, Schedules]
        )]
        async fn charge(&self, order: OrderCreated) -> Result<OrderPaid, Failure> {
            if self.is_too_much(order.cents) {
                return Err(Failure::reject("too much"));
            }
            Ok(OrderPaid {
                order_id: order.order_id,
            })
        }

        fn is_too_much(&self, cents: u64) -> bool {
            cents > self.limit_cents
        }
    }

    fn handler<S: Service>(service: S, name: &str) -> Option<Handler> {
        let handlers = Arc::new(service).handlers();
        handlers.into_iter().find(|handler| handler.name() == name)
    }

    struct Patient;

    #[service]
    impl Patient {
        #[on(timeout = "1m30s")]
        async fn charge(&self, _: OrderCreated) {}

        #[on(timeout = "1.5 hours", backoff = "3us..PT2S")]
        async fn refund(&self, _: OrderPaid) {}
    }

    #[test]
    fn a_duration_means_in_a_macro_what_it_means_in_a_url() {
        let options = |name| handler(Patient, name).unwrap().options().clone();
        let read = |text| ensue::parse_duration(text).unwrap();
        assert_eq!(options("charge").timeout, read("1m30s"));
        assert_eq!(options("refund").timeout, read("1.5 hours"));
        let backoff = Backoff::new(read("3us"), read("PT2S"));
        assert_eq!(options("refund").backoff, backoff);
    }

    #[test]
    fn describes_its_handlers() {
        let charge = handler(Payments { limit_cents: 1 }, "charge").unwrap();
        assert_eq!(charge.event(), Some("order.created"));
        assert_eq!(charge.version(), 1);
        assert_eq!(charge.topics().as_str(), "orders.>");
        assert_eq!(charge.declared_effects(), ["order.paid"]);
        assert!(!charge.is_blocking());

        let options = charge.options();
        assert_eq!(options.attempts, ATTEMPTS_MAX);
        let (min, max) = (Duration::from_millis(200), Duration::from_secs(90));
        assert_eq!(options.backoff, Backoff::new(min, max));
        assert_eq!(options.timeout, Duration::from_secs(10));
        assert_eq!(options.concurrency, Some(CONCURRENCY_MAX));
        assert_eq!(options.on_dead, OnDead::Skip);
        let needs = [Guarantee::AtomicCommit, Guarantee::Schedules];
        assert_eq!(options.needs, needs);
    }

    #[test]
    fn says_for_all_of_its_handlers_what_one_may_say_otherwise_and_how_it_is_run() {
        struct Refunds;

        #[service(attempts = 9, timeout = "1s", on_dead = "skip", start = "latest")]
        impl Refunds {
            #[on]
            async fn created(&self, _: OrderCreated) {}

            #[on(attempts = 2, on_dead = "park")]
            async fn paid(&self, _: OrderPaid) {}
        }
        let said = |handler: &Handler| {
            let options = handler.options();
            (options.attempts, options.timeout, options.on_dead)
        };
        let handlers = Arc::new(Refunds).handlers();
        let second = Duration::from_secs(1);
        let said: Vec<_> = handlers.iter().map(said).collect();
        assert_eq!(said, [(9, second, OnDead::Skip), (2, second, OnDead::Park)]);
        assert_eq!(
            format!("{:?}", Refunds::options()),
            format!("{:?}", ServiceOptions::new().start_at(Start::Latest))
        );
    }

    #[test]
    fn may_ask_for_as_much_as_an_app_gives() {
        struct Limits;

        #[service(workers = 64, in_flight_max = 65536, concurrency = 65536)]
        impl Limits {
            #[on]
            async fn paid(&self, _: OrderPaid) {}
        }
        let most = ServiceOptions::new()
            .workers(WORKERS_MAX)
            .in_flight_max(IN_FLIGHT_MAX)
            .concurrency(CONCURRENCY_MAX);
        assert_eq!(format!("{:?}", Limits::options()), format!("{most:?}"));
    }

    #[tokio::test]
    async fn keeps_its_methods_callable() {
        let payments = Payments { limit_cents: 100 };
        let order_id = OrderId(1);
        let order = |cents| OrderCreated { order_id, cents };
        let paid = payments.charge(order(100)).await.unwrap();
        assert_eq!(paid, OrderPaid { order_id });
        assert!(payments.charge(order(101)).await.unwrap_err().is_reject());
    }

    type Outcome = std::result::Result<(), std::io::Error>;

    struct OrderNotifications;

    #[service]
    impl OrderNotifications {
        #[on]
        async fn created(&self, _order: OrderCreated, context: &Context) {
            let _ = context.id();
        }

        #[on(blocking)]
        fn paid(&self, OrderPaid { order_id }: OrderPaid) -> Outcome {
            let _ = order_id;
            Ok(())
        }

        #[ensue::on(blocking, publishes = [OrderPaid, events::OrderRejected])]
        fn rejected(&self, _: OrderRejected, context: &Context) -> Effects {
            let _ = context.attempt();
            Effects::none()
        }

        #[cfg(any())]
        #[on]
        async fn never(&self, event: DoesNotExist) {}

        /// Not a handler.
        const LIMIT: usize = 3;
    }

    #[test]
    fn is_named_after_its_type() {
        assert_eq!(Payments::NAME, "payments");
        assert_eq!(OrderNotifications::NAME, "order-notifications");
        assert_eq!(OrderNotifications::LIMIT, 3);
    }

    #[test]
    fn has_handlers_of_every_form() {
        let handlers = Arc::new(OrderNotifications).handlers();
        let names: Vec<_> = handlers.iter().map(Handler::name).collect();
        assert_eq!(names, ["created", "paid", "rejected"]);

        let created = handler(OrderNotifications, "created").unwrap();
        assert_eq!(created.topics().as_str(), "orders");
        assert_eq!(created.options().attempts, 5);
        assert!(created.declared_effects().is_empty());

        let paid = handler(OrderNotifications, "paid").unwrap();
        assert!(paid.is_blocking());
        assert!(paid.declared_effects().is_empty(), "an alias of a Result");

        let rejected = handler(OrderNotifications, "rejected").unwrap();
        assert!(rejected.is_blocking());
        let declared = ["order.paid", "order.rejected"];
        assert_eq!(rejected.declared_effects(), declared);
    }

    #[derive(Event, Serialize, Deserialize)]
    #[event(type = "quote.asked", topic = "quotes")]
    struct QuoteAsked;

    struct Audit<S>(S);

    trait Sink: Send + Sync + 'static {
        fn keep(&self, kind: &str);
    }

    impl Sink for () {
        fn keep(&self, _kind: &str) {}
    }

    #[service(name = "audit_log")]
    impl<S> Audit<S>
    where
        S: Sink,
    {
        #[on(topics = ">")]
        async fn everything(&self, event: Envelope) -> impl IntoEffects + use<S> {
            self.0.keep(event.event_type());
        }

        #[on(topics = "orders", types = ["order.paid", "order.rejected"])]
        async fn settled(
            &self,
            event: ensue::Envelope,
            context: &Context,
        ) -> ensue::Result<Option<Vec<Reply<OrderPaid>>>, Failure> {
            let (_, _) = (event, context.key());
            Ok(None)
        }

        #[on]
        async fn quote(&self, _: QuoteAsked) -> Result<(OrderPaid, [OrderRejected; 2]), Failure> {
            self.0.keep("quote");
            Err(Failure::retry("not now"))
        }
    }

    #[test]
    fn may_take_envelopes_and_be_generic() {
        assert_eq!(Audit::<()>::NAME, "audit_log");
        let handlers = Arc::new(Audit(())).handlers();
        let takes: Vec<_> = handlers.iter().map(|h| (h.name(), h.event())).collect();
        assert_eq!(
            takes,
            [
                ("everything", None),
                ("settled", Some("order.paid")),
                ("settled", Some("order.rejected")),
                ("quote", Some("quote.asked")),
            ]
        );
        assert_eq!(handlers[0].topics().as_str(), ">");
        assert_eq!(handlers[1].topics().as_str(), "orders");
        assert_eq!(handlers[1].declared_effects(), ["order.paid"]);
        let declared = ["order.paid", "order.rejected"];
        assert_eq!(handlers[3].declared_effects(), declared);
    }
}
