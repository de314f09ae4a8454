//! What is a user's code and misbehaves fails its own attempt and nothing else, wherever it runs.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use ensue::middleware::{Middleware, Next};
use ensue::testing::TestApp;
use ensue::{Handler, HandlerOptions, IntoEffects};

use super::*;

/// An error that misbehaves when it is looked at or let go of.
#[derive(Debug)]
enum Odd {
    FailsToPrint,
    PanicsPrinting,
    PanicsInSource,
    IsItsOwnSource,
    PanicsDropped,
    IsEndless,
}

/// Its source is itself.
static LOOP: Odd = Odd::IsItsOwnSource;

impl fmt::Display for Odd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FailsToPrint => Err(fmt::Error),
            Self::PanicsPrinting => panic!("odd to print"),
            Self::IsItsOwnSource => Ok(()),
            Self::IsEndless => loop {
                f.write_str("on and on ")?;
            },
            Self::PanicsInSource | Self::PanicsDropped => f.write_str("odd"),
        }
    }
}

impl std::error::Error for Odd {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::PanicsInSource => panic!("odd to ask"),
            Self::IsItsOwnSource => Some(&LOOP),
            _ => None,
        }
    }
}

impl Drop for Odd {
    fn drop(&mut self) {
        if matches!(self, Self::PanicsDropped) {
            panic!("odd to drop");
        }
    }
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a bomb");
    }
}

/// A layer that panics when it is let go of.
struct Explosive(#[allow(dead_code, reason = "dropping it is what counts")] Bomb);

impl Middleware for Explosive {
    async fn handle(&self, context: Context, next: Next) -> Result<Effects, Failure> {
        next.run(context).await
    }
}

/// Never completes, and panics when it is let go of.
struct Stuck(#[allow(dead_code, reason = "dropping it is what counts")] Bomb);

impl Future for Stuck {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// Effects that cannot be made.
struct Unmakeable;

impl IntoEffects for Unmakeable {
    fn into_effects(self) -> Result<Effects, Failure> {
        panic!("no effects")
    }
}

/// An event that cannot be written.
#[derive(Event, Deserialize)]
#[event(type = "bad.written", topic = "followers")]
struct Unwritable;

impl Serialize for Unwritable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("not written")
    }
}

/// A layer that misbehaves for some keys.
struct Layer;

impl Middleware for Layer {
    async fn handle(&self, context: Context, next: Next) -> Result<Effects, Failure> {
        match context.key() {
            "layer panics" => panic!("a layer"),
            "layer panics later" => {
                tokio::task::yield_now().await;
                panic!("a layer, later")
            }
            "layer keeps a failure" => Ok(Effects::none().set_named_state("x", Refused)),
            _ => next.run(context).await,
        }
    }
}

/// A value that its codec refuses.
struct Refused;

impl Serialize for Refused {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("cannot be written"))
    }
}

async fn misbehave(key: &str) -> Result<Effects, Failure> {
    match key {
        "fails to print" => Err(Odd::FailsToPrint)?,
        "panics printing" => Err(Odd::PanicsPrinting)?,
        "panics in source" => Err(Odd::PanicsInSource)?,
        "is its own source" => Err(Odd::IsItsOwnSource)?,
        "panics dropped" => Err(Odd::PanicsDropped)?,
        "is endless" => Err(Odd::IsEndless)?,
        "rejects oddly" => return Err(Failure::reject(Odd::PanicsPrinting)),
        "panics with a bomb" => std::panic::panic_any(Bomb),
        "panics later with a bomb" => {
            tokio::task::yield_now().await;
            std::panic::panic_any(Bomb)
        }
        "is stuck" => Stuck(Bomb).await,
        "cannot make effects" => return Unmakeable.into_effects(),
        "cannot write" => return Unwritable.into_effects(),
        "later" => {
            tokio::task::yield_now().await;
            Err(Odd::FailsToPrint)?
        }
        _ => {}
    }
    Ok(Effects::none())
}

const BAD: [&str; 16] = [
    "fails to print",
    "panics printing",
    "panics in source",
    "is its own source",
    "panics dropped",
    "is endless",
    "rejects oddly",
    "panics with a bomb",
    "panics later with a bomb",
    "is stuck",
    "cannot make effects",
    "cannot write",
    "later",
    "layer panics",
    "layer panics later",
    "layer keeps a failure",
];

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_users_code_does_is_its_own_attempts_failure() {
    let app = TestApp::start(|app| {
        let options = HandlerOptions::default()
            .attempts(2)
            .timeout(Duration::from_secs(5));
        app.layer(Layer)
            .on_with(GROUP, options, |thing: Thing, _| async move {
                misbehave(&thing.key).await
            })
    })
    .await
    .unwrap();
    for round in 0..4 {
        let good = (0..16).map(|n| format!("good {n}"));
        let keys = BAD.iter().map(|key| (*key).to_owned()).chain(good);
        let things = keys.map(|key| thing(&key, round));
        app.publisher().publish_all(things).await.unwrap();
    }
    let begun = Instant::now();
    loop {
        app.advance(Duration::from_secs(10)).await.unwrap();
        let status = app.engine().status().await.unwrap();
        let group = status.group(GROUP).unwrap();
        if group.is_idle() {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{group:?}");
    }
    let dead = app.dead_letters(GROUP).await.unwrap();
    let mut keys: Vec<_> = dead.iter().map(|it| it.key.as_str()).collect();
    let mut bad = BAD;
    keys.sort_unstable();
    bad.sort_unstable();
    assert_eq!(keys, bad);
    assert!(
        dead.iter()
            .all(|it| it.parked == 3 && !it.reason.is_empty())
    );
    assert!(dead.iter().all(|it| it.reason.len() < 2_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_and_layers_that_panic_when_they_are_dropped_stop_in_order() {
    let engine = ensue::connect("memory:").await.unwrap();
    let (plain, blocking, raw) = (Bomb, Bomb, Bomb);
    let options = HandlerOptions::default;
    let running = App::new(engine.clone())
        .on_with("plain", options(), move |_: Thing, _| {
            let _kept = &plain;
            async {}
        })
        .handler(
            "blocking",
            Handler::blocking("all", options(), move |_: Thing, _| {
                let _kept = &blocking;
            }),
        )
        .handler(
            "raw",
            Handler::raw(
                "all",
                "things".parse().unwrap(),
                None,
                options(),
                move |_, _| {
                    let _kept = &raw;
                    async {}
                },
            ),
        )
        .layer(Explosive(Bomb))
        .start()
        .await
        .unwrap();
    publish(&engine, [thing("k", 1)]).await;
    until(&engine, |status| {
        status.groups.len() == 3 && status.groups.iter().all(|group| group.is_idle())
    })
    .await;
    running.stop().await.unwrap();
    let status = engine.status().await.unwrap();
    assert!(status.groups.iter().all(|group| group.dead == 0));
    engine.close().await.unwrap();
}
