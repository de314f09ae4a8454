//! What dispatch does when the engine, or its own task, does what it should not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use crate::app::App;
use crate::engine::{
    Append, Appended, Commit, Committed, Delivery, Driver, EngineStatus, Member, SharedEngine,
    Subscription, forward_engine,
};
use crate::error::{AppError, EngineError, Error, GroupError, Result, TestError};
use crate::event::{Codec, Envelope};
use crate::failure::Failure;
use crate::service::{Context, Handler, HandlerOptions};
use crate::{Effects, Outgoing};

type Refuse = dyn Fn(&Commit) -> Option<Error> + Send + Sync;

/// An engine that refuses some commits, and lets no member leave if it is told so.
#[derive(Clone)]
struct Odd {
    inner: SharedEngine,
    refuse: Arc<Refuse>,
    leave_hangs: bool,
}

impl std::fmt::Debug for Odd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

impl Driver for Odd {
    forward_engine!(inner);

    fn append(&self, batch: Vec<Append>) -> BoxFuture<'_, Result<Vec<Appended>>> {
        self.inner.append(batch)
    }

    fn join(&self, subscription: Subscription) -> BoxFuture<'_, Result<Box<dyn Member>>> {
        Box::pin(async move {
            let inner = self.inner.join(subscription).await?;
            let odd = self.clone();
            Ok(Box::new(OddMember { inner, odd }) as Box<dyn Member>)
        })
    }
}

#[derive(Debug)]
struct OddMember {
    inner: Box<dyn Member>,
    odd: Odd,
}

impl Member for OddMember {
    fn next(&self, events_max: usize) -> BoxFuture<'_, Result<Vec<Delivery>>> {
        self.inner.next(events_max)
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed>> {
        match (self.odd.refuse)(&commit) {
            Some(error) => Box::pin(async { Err(error) }),
            None => self.inner.commit(commit),
        }
    }

    fn leave(&self) -> BoxFuture<'_, Result<()>> {
        match self.odd.leave_hangs {
            true => Box::pin(std::future::pending()),
            false => self.inner.leave(),
        }
    }
}

async fn odd(refuse: impl Fn(&Commit) -> Option<Error> + Send + Sync + 'static) -> Odd {
    Odd {
        inner: crate::connect("memory:").await.unwrap(),
        refuse: Arc::new(refuse),
        leave_hangs: false,
    }
}

fn event(key: &str) -> Envelope {
    let builder = Envelope::builder("things", "thing.happened").key(key);
    builder
        .payload(Codec::Json, b"{}".to_vec())
        .build()
        .unwrap()
}

/// Publishes an event of each key.
async fn publish(engine: &dyn Driver, keys: &[&str]) {
    let events = keys.iter().map(|key| event(key).into()).collect();
    engine.append(events).await.unwrap();
}

/// Effects an event for every event, and fails those of the key `bad`.
fn handler() -> Handler {
    let handle = |envelope: Envelope, _: Context| async move {
        match envelope.key() {
            "bad" => Err(Failure::reject("no")),
            key => {
                let follows = Envelope::builder("followers", "thing.followed").key(key);
                Ok(Effects::none().publish(Outgoing::raw(follows)))
            }
        }
    };
    let topics = "things".parse().unwrap();
    Handler::raw("handle", topics, None, HandlerOptions::default(), handle)
}

async fn until(engine: &dyn Driver, wanted: impl Fn(&EngineStatus) -> bool) -> EngineStatus {
    let begun = Instant::now();
    loop {
        let status = engine.status().await.unwrap();
        if wanted(&status) {
            return status;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{:?}",
            status.groups
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn in_flight(status: &EngineStatus) -> Option<usize> {
    let group = status.group("g")?;
    (group.lag == 0 && group.retrying == 0).then_some(group.in_flight)
}

fn events(status: &EngineStatus, topic: &str) -> u64 {
    let topic = status.topics.iter().find(|it| it.name == topic);
    topic.map_or(0, |topic| topic.events)
}

fn keys_of(commit: &Commit) -> Vec<&str> {
    let effects = commit.effects.iter().filter_map(|it| it.append());
    effects.map(|append| append.envelope.key()).collect()
}

#[tokio::test]
async fn whatever_the_engine_refuses_for_good_is_its_own_dead_letter() {
    for why in 0..3 {
        let engine = odd(move |commit| {
            let is_refused = keys_of(commit).iter().any(|key| key.starts_with("odd"));
            is_refused.then(|| match why {
                0 => Error::Test(TestError::Expectation("not like this".into())),
                1 => Error::App(AppError::Unsupported {
                    engine: "odd".into(),
                    what: "this".into(),
                    handler: "g.odd".into(),
                }),
                _ => Error::Group(GroupError::unknown("this", [])),
            })
        })
        .await;
        let keys = ["a", "odd1", "b", "odd2", "c", "odd3", "d", "odd1", "odd2"];
        publish(&engine, &keys).await;
        let app = App::new(Arc::new(engine.clone())).handler("g", handler());
        let app = app.start().await.unwrap();
        let status = until(&engine, |status| in_flight(status) == Some(0)).await;
        let group = status.group("g").unwrap();
        assert_eq!((group.dead, group.parked), (3, 2));
        assert_eq!(events(&status, "followers"), 4);
        assert!(app.metrics().groups()["g"].refused > 0);
        app.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_request_whose_requester_cannot_be_told_is_a_dead_letter_all_the_same() {
    let engine = odd(|commit| {
        let mut appends = commit.effects.iter().filter_map(|it| it.append());
        let is_reply = appends.any(|it| it.envelope.topic().starts_with("_reply."));
        is_reply.then(|| Error::Test(TestError::Expectation("no replies".into())))
    })
    .await;
    let request = Envelope::builder("things", "thing.happened").key("bad");
    let request = request.extension("replyto", "_reply.x").build().unwrap();
    engine.append(vec![request.into()]).await.unwrap();
    publish(&engine, &["a", "b"]).await;
    let app = App::new(Arc::new(engine.clone())).handler("g", handler());
    let app = app.start().await.unwrap();
    let status = until(&engine, |status| in_flight(status) == Some(0)).await;
    assert_eq!(status.group("g").unwrap().dead, 1);
    assert_eq!(events(&status, "followers"), 2);
    assert_eq!(app.metrics().groups()["g"].stuck, 0);
    app.stop().await.unwrap();
}

#[tokio::test]
async fn a_key_whose_failure_cannot_be_committed_either_stops_alone_and_is_counted() {
    let engine = odd(|commit| {
        let is_bad = commit.dead.iter().any(|it| it.envelope.key() == "bad");
        is_bad.then(|| Error::Test(TestError::Expectation("not that either".into())))
    })
    .await;
    publish(&engine, &["a", "bad", "b", "bad", "c"]).await;
    let app = App::new(Arc::new(engine.clone()))
        .shutdown_deadline(Duration::from_millis(200))
        .handler("g", handler());
    let app = app.start().await.unwrap();
    let status = until(&engine, |status| in_flight(status) == Some(2)).await;
    assert_eq!(events(&status, "followers"), 3);
    publish(&engine, &["d"]).await;
    until(&engine, |status| events(status, "followers") == 4).await;
    assert_eq!(app.metrics().groups()["g"].stuck, 1);
    app.stop().await.unwrap();
}

#[tokio::test]
async fn a_commit_that_waits_is_shown_until_it_goes_on() {
    let left = Arc::new(AtomicUsize::new(2));
    let engine = odd(move |_| {
        let refused = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |it| it.checked_sub(1));
        refused
            .is_ok()
            .then(|| Error::Engine(EngineError::DiskFull("1 byte".into())))
    })
    .await;
    publish(&engine, &["a"]).await;
    let app = App::new(Arc::new(engine.clone())).handler("g", handler());
    let app = app.start().await.unwrap();
    let begun = Instant::now();
    while app.metrics().waiting().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60));
        tokio::task::yield_now().await;
    }
    let waiting = app.metrics().waiting()["g"].clone();
    assert!(waiting.contains("cannot commit since"), "{waiting}");
    assert!(waiting.contains("the disk is full: 1 byte"), "{waiting}");
    until(&engine, |status| in_flight(status) == Some(0)).await;
    while !app.metrics().waiting().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60));
        tokio::task::yield_now().await;
    }
    app.stop().await.unwrap();
}

#[tokio::test]
async fn no_handler_begins_while_too_much_of_what_others_returned_is_not_committed() {
    const MIB: usize = 1 << 20;
    let committed = Arc::new(AtomicUsize::new(0));
    let (count, left) = (committed.clone(), AtomicUsize::new(3));
    let engine = odd(move |commit| {
        let refused = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |it| it.checked_sub(1));
        if refused.is_ok() {
            return Some(Error::Engine(EngineError::DiskFull("1 byte".into())));
        }
        count.fetch_add(commit.effects.len(), Ordering::SeqCst);
        None
    })
    .await;
    let keys: Vec<String> = (0..30).map(|n| n.to_string()).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    publish(&engine, &keys).await;
    let (begun, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = most.clone();
    let handle = move |envelope: Envelope, _: Context| {
        let begun = begun.fetch_add(1, Ordering::SeqCst) + 1;
        let open = begun.saturating_sub(committed.load(Ordering::SeqCst));
        seen.fetch_max(open, Ordering::SeqCst);
        let large = Envelope::builder("followers", "thing.followed").key(envelope.key());
        let large = large.payload(Codec::Json, vec![b' '; 4 * MIB]);
        std::future::ready(Effects::none().publish(Outgoing::raw(large)))
    };
    let topics = "things".parse().unwrap();
    let handler = Handler::raw("handle", topics, None, HandlerOptions::default(), handle);
    let app = App::new(Arc::new(engine.clone())).workers(1);
    let app = app.handler("g", handler).start().await.unwrap();
    let status = until(&engine, |status| in_flight(status) == Some(0)).await;
    assert_eq!(events(&status, "followers"), 30);
    // 64 MiB are 16 such events; the one that passes the limit is the last.
    assert!(most.load(Ordering::SeqCst) <= 17, "{most:?}");
    app.stop().await.unwrap();
}

#[tokio::test]
async fn stopping_ends_by_its_deadline_though_the_engine_lets_no_member_leave() {
    let mut engine = odd(|_| None).await;
    engine.leave_hangs = true;
    let app = App::new(Arc::new(engine.clone()))
        .shutdown_deadline(Duration::from_millis(300))
        .handler("g", handler());
    let app = app.start().await.unwrap();
    tokio::time::timeout(Duration::from_secs(60), app.stop())
        .await
        .expect("it waits")
        .unwrap();
    let status = engine.status().await.unwrap();
    assert!(status.group("g").unwrap().members.is_empty());
}

/// A subscriber of the program's that panics when a dead letter is reported.
struct Panics;

impl tracing::Subscriber for Panics {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let is_ours = event.metadata().target() == "ensue::dispatch::worker";
        assert!(!is_ours, "a subscriber that panics");
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn a_worker_that_ends_ends_the_app_with_the_reason() {
    let engine = odd(|_| None).await;
    // With two of them, tracing asks both about each place that reports; with one, it asks the thread
    // that comes by first, which may be another test's, and then believes that there is no listener.
    let _other = tracing::Dispatch::new(Panics);
    let _guard = tracing::subscriber::set_default(Panics);
    let start = || async {
        let app = App::new(Arc::new(engine.clone())).handler("g", handler());
        app.start().await.unwrap()
    };
    let mut app = start().await;
    publish(&engine, &["bad"]).await;
    let patience = Duration::from_secs(60);
    let failed = tokio::time::timeout(patience, app.failed()).await;
    let failed = failed.expect("nothing is said");
    assert!(
        matches!(failed, Error::App(AppError::ServiceStopped { .. })),
        "{failed}"
    );
    assert!(failed.to_string().contains("a subscriber that panics"));
    app.stop().await.unwrap();

    let app = start().await;
    until(&engine, |status| {
        status
            .group("g")
            .is_some_and(|group| group.members.is_empty())
    })
    .await;
    let stopped = tokio::time::timeout(patience, app.stop()).await;
    let stopped = stopped.expect("it waits").unwrap_err();
    assert!(
        matches!(stopped, Error::App(AppError::ServiceStopped { .. })),
        "{stopped}"
    );
}
