//! The user's app: handlers and a layer that misbehave when they are told to.

use std::future::poll_fn;
use std::panic;
use std::task::Poll;
use std::time::Duration;

use ensue::engine::{EFFECTS_BYTES_MAX, EFFECTS_MAX, EFFECTS_STATE_BYTES_MAX};
use ensue::middleware::{Middleware, Next};
use ensue::{
    App, Codec, Context, Effects, Event, Failure, Handler, HandlerOptions, IntoEffects, OnDead,
    Outgoing, Requester, Timestamp,
};

use super::act::Act;
use super::event::{Done, Filler, Thing, Unreadable};
use super::odd::{Bomb, Chain, Grenade, Odd, deliberately_panic, is_wild, panic_in_drop};
use super::plan::{Group, Limits, Order, Plan, Way};

/// The app that a plan describes.
pub(super) fn app(mut app: App, plan: &Plan) -> App {
    for (index, group) in plan.groups.iter().enumerate() {
        let mut options = HandlerOptions::default()
            .attempts(group.attempts)
            .backoff(group.backoff.0, group.backoff.1)
            .timeout(group.timeout)
            .on_dead(if group.skips {
                OnDead::Skip
            } else {
                OnDead::Park
            });
        options.concurrency = group.concurrency;
        app = app.handler(&group.name, handler(index, group, options, plan.limits));
    }
    if let Some(layer) = plan.layer {
        app = app.layer(Layer(Bomb(layer.drop_panics)));
    }
    app.workers(plan.workers)
        .in_flight_max(plan.in_flight_max)
        .concurrency(plan.concurrency)
        .shutdown_deadline(Duration::from_millis(300))
        .seed(1)
}

fn handler(index: usize, group: &Group, options: HandlerOptions, limits: Limits) -> Handler {
    let timeout = group.timeout;
    // Goes with the handler, when the last who holds it does.
    let kept = Bomb(group.drop_panics);
    if group.is_blocking {
        return Handler::blocking(
            Thing::TYPE,
            options,
            move |thing: Thing, context: Context| {
                let _kept = &kept;
                let way = way_of(&thing, index, &context);
                if way.act == Act::Blocks {
                    std::thread::sleep(Duration::from_millis(3));
                }
                conclude(thing, way, &context, &limits)
            },
        );
    }
    Handler::new(
        Thing::TYPE,
        options,
        move |thing: Thing, context: Context| {
            let _kept = &kept;
            let way = way_of(&thing, index, &context);
            if way.act == Act::CallPanics {
                deliberately_panic("call");
            }
            async move {
                let bomb = Bomb(way.act == Act::FutureDropPanics);
                act(way, &context, timeout).await?;
                drop(bomb);
                conclude(thing, way, &context, &limits)
            }
        },
    )
}

fn way_of(thing: &Thing, index: usize, context: &Context) -> Way {
    match thing.order.ways.get(index) {
        Some(way) if is_wild() && context.attempt() <= way.attempts => *way,
        _ => Way::default(),
    }
}

/// A layer that misbehaves for some events.
struct Layer(#[allow(dead_code, reason = "it goes off when it is dropped")] Bomb);

impl Middleware for Layer {
    async fn handle(&self, context: Context, next: Next) -> Result<Effects, Failure> {
        match act_of(&context) {
            Some(Act::MiddlewarePanics) => deliberately_panic("middleware"),
            Some(Act::MiddlewareRefuses) => Err(Failure::reject("not here")),
            Some(Act::MiddlewareDropPanics) => {
                let bomb = Bomb(true);
                let outcome = next.run(context).await;
                drop(bomb);
                outcome
            }
            _ => next.run(context).await,
        }
    }
}

fn act_of(context: &Context) -> Option<Act> {
    let order: Order = Codec::Json.decode(context.envelope().payload()).ok()?;
    let index: usize = context.group().strip_prefix('g')?.parse().ok()?;
    let way = order.ways.get(index)?;
    (is_wild() && context.attempt() <= way.attempts).then_some(way.act)
}

/// What a handler does before it ends.
async fn act(way: Way, context: &Context, timeout: Duration) -> Result<(), Failure> {
    match way.act {
        Act::Yields => tokio::task::yield_now().await,
        Act::YieldsForEver => loop {
            tokio::task::yield_now().await;
        },
        Act::WakesLate => poll_fn(wake_late).await,
        Act::Sleeps => context.clock().sleep(timeout / 4).await,
        Act::SleepsTooLong | Act::FutureDropPanics | Act::MiddlewareDropPanics => {
            context.clock().sleep(timeout * 2).await;
        }
        Act::NeverEnds => std::future::pending().await,
        Act::LatePollPanics => {
            tokio::task::yield_now().await;
            deliberately_panic("late poll");
        }
        Act::Blocks => {
            let pause = || std::thread::sleep(Duration::from_millis(3));
            tokio::task::spawn_blocking(pause).await?;
        }
        Act::Publishes => {
            context.publisher().publish(Filler::of(10)).await?;
        }
        Act::PublishesKnownId => {
            let known = Outgoing::new(Filler::of(10)).id(known_id(way));
            context.publisher().publish(known).await?;
        }
        Act::Asks => {
            let engine = context.publisher().engine().clone();
            let asks = Requester::new(engine, "/asks");
            let filler = Outgoing::new(Filler::of(10));
            let _: Filler = asks.request(filler, timeout / 2).await?;
        }
        Act::StateDecodePanics => {
            context.named_state::<Unreadable<true>>("cell").await?;
        }
        Act::StateDecodeFails => {
            context.named_state::<Unreadable<false>>("cell").await?;
        }
        _ => {}
    }
    Ok(())
}

/// Ends at once; its waker is used later, when its attempt has ended.
fn wake_late(cx: &mut std::task::Context<'_>) -> Poll<()> {
    let waker = cx.waker().clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(3));
        waker.wake();
    });
    Poll::Ready(())
}

/// How the handler ends.
fn conclude(
    mut thing: Thing,
    way: Way,
    context: &Context,
    limits: &Limits,
) -> Result<Return, Failure> {
    match way.act {
        Act::PollPanics => deliberately_panic("poll"),
        Act::PanicsWithAPanic => panic::resume_unwind(Box::new(Grenade)),
        Act::EventDropPanics => thing.drop_panics = true,
        Act::Reject => return Err(Failure::reject("no")),
        Act::Retry => return Err(Failure::retry("not now")),
        Act::LongChain => return Err(Failure::retry(Chain::of(2_000))),
        Act::DisplayFails
        | Act::DisplayPanics
        | Act::SourcePanics
        | Act::SourceIsItself
        | Act::LongText
        | Act::ErrorDropPanics => {
            let odd = Odd(way.act);
            return Err(match way.id % 2 {
                0 => Failure::retry(odd),
                _ => Failure::reject(odd),
            });
        }
        _ => {}
    }
    let done = Done {
        group: context.group().to_owned(),
        key: thing.order.key.clone(),
        n: thing.order.n,
    };
    Ok(Return {
        effects: Some(effects(way, limits).publish(done)),
        act: way.act,
    })
}

/// What a handler returns.
struct Return {
    effects: Option<Effects>,
    act: Act,
}

impl IntoEffects for Return {
    fn into_effects(mut self) -> Result<Effects, Failure> {
        if self.act == Act::EffectsPanic {
            deliberately_panic("into effects");
        }
        self.effects.take().unwrap_or_default().into_effects()
    }
}

impl Drop for Return {
    fn drop(&mut self) {
        if self.act == Act::EffectsDropPanics {
            panic_in_drop("the effects' drop");
        }
    }
}

/// So many thousandths of a limit.
fn part(limit: usize, way: Way) -> usize {
    limit / 1_000 * way.size as usize
}

fn known_id(way: Way) -> String {
    format!("id-{}", way.id)
}

fn small() -> Outgoing {
    Outgoing::new(Filler::of(10))
}

fn effects(way: Way, limits: &Limits) -> Effects {
    let none = Effects::none();
    let later = limits.later;
    let id = known_id(way);
    let copies = |count: usize, of: &dyn Fn() -> Outgoing| {
        (0..count).fold(Effects::none(), |effects, _| effects.publish(of()))
    };
    match way.act {
        Act::Many => copies(200, &small),
        Act::TooMany => copies(part(EFFECTS_MAX, way), &small),
        Act::Large => none.publish(Filler::of(part(ensue::PAYLOAD_BYTES_MAX, way))),
        Act::LargeTogether => {
            let bytes = part(EFFECTS_BYTES_MAX, way) / 8;
            copies(8, &|| Outgoing::new(Filler::of(bytes)))
        }
        Act::Schedule => none.publish(small().after(later)),
        Act::ScheduleMany => {
            let count = part(limits.schedules_max.max(1_000), way).min(3_000);
            copies(count, &|| small().after(later))
        }
        Act::ScheduleKnownId => none.publish(small().id(id).after(later)),
        Act::ScheduleFar => none.publish(far(way.id)),
        Act::Cancel => none.cancel(id),
        Act::CancelAndSchedule => none.cancel(id.clone()).publish(small().id(id).after(later)),
        Act::Timer => none.publish(small().timer(id, later)),
        Act::LongTimer => none.publish(small().timer("t".repeat(part(1_000, way)), later)),
        Act::CancelAndTimer => none.cancel(id.clone()).publish(small().timer(id, later)),
        Act::Reply => none.reply(Filler::of(10)),
        Act::BadTopic => none.publish(small().topic("not a topic")),
        Act::ReservedTopic => none.publish(small().topic("_ensue.groups")),
        Act::LongKey => none.publish(small().key("k".repeat(part(1_000, way).max(1)))),
        Act::LongId => none.publish(small().id("i".repeat(part(1_000, way)))),
        Act::LongExtension => {
            none.publish(small().extension("odd", "x".repeat(part(10_000, way) * 10)))
        }
        Act::KnownId => none.publish(small().id(id)),
        Act::NotANumber
        | Act::EncodeFails
        | Act::EncodePanics
        | Act::KeyPanics
        | Act::TopicPanics => none.publish(Filler::odd(way.act)),
        _ => state(way, limits),
    }
}

/// Effects on the group's state.
fn state(way: Way, limits: &Limits) -> Effects {
    let none = Effects::none();
    match way.act {
        Act::State => none.set_named_state("cell", "small"),
        Act::LargeState => {
            let bytes = part(limits.state_bytes_max.min(EFFECTS_STATE_BYTES_MAX), way);
            none.set_named_state("cell", "x".repeat(bytes))
        }
        Act::ManyCells => (0..300).fold(none, |effects, n| {
            effects.set_named_state(&format!("cell-{n}"), "x".repeat(way.size as usize / 10))
        }),
        Act::LongCellName => none.set_named_state(&"n".repeat(part(100_000, way)), "small"),
        Act::ClearState => none.clear_named_state("cell"),
        Act::StateEncodeFails | Act::StateEncodePanics => {
            none.set_named_state("cell", Filler::odd(way.act))
        }
        _ => none,
    }
}

/// At the ends of time.
fn far(id: u8) -> Outgoing {
    match id {
        0 => small().after(Duration::MAX),
        1 => small().at(Timestamp::MAX),
        2 => small().at(Timestamp::EPOCH),
        _ => small().at(Timestamp::from_micros(i64::MIN)),
    }
}

/// The limits as options of a URL.
pub(super) fn options(limits: &Limits) -> String {
    let Limits {
        schedules_max,
        state_bytes_max,
        parked_max,
        key_events_max,
        segment_bytes,
        ..
    } = limits;
    format!(
        "schedules_max={schedules_max}&state_bytes_max={state_bytes_max}&parked_max={parked_max}\
         &key_events_max={key_events_max}&segment_bytes={segment_bytes}"
    )
}
