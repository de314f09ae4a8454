//! The process that is killed: publishers, groups that are moved by hand, an app, and an operator,
//! all on one engine. It ends when it is killed, or when it was told to end in peace.

mod member;
mod publish;
mod voice;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ensue::engine::embedded::Embedded;
use ensue::engine::{DeadLetter, DeadLetterFilter, EngineStatus, Member, Subscription};
use ensue::error::GroupError;
use ensue::prelude::*;
use ensue::{Error, HandlerOptions, Running, SharedEngine, Start};
use tokio::task::JoinSet;

pub(super) use self::member::ATTEMPTS;
use self::member::Worker;
use self::publish::publish;
use self::voice::Voice;
use super::orders::{Audited, Fate, Mark, Orders, PUBLISHERS, Placed, mark_of};
use super::report::{AUDITS, Group, Report, Task};

/// What ends a child that was not killed.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// An event is tried as often as the process is killed, and that is often.
const AUDIT_ATTEMPTS: u32 = 1_000;

/// What everybody in the child knows.
struct Shared {
    orders: Orders,
    voice: Voice,
    is_over: AtomicBool,
}

impl Shared {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }
}

/// Runs the child: its task is on the standard input.
pub(crate) fn child() -> ExitCode {
    let mut line = String::new();
    let task = std::io::stdin()
        .read_line(&mut line)
        .map_err(|error| error.to_string())
        .and_then(|_| serde_json::from_str::<Task>(&line).map_err(|error| error.to_string()));
    let voice = Voice::default();
    let outcome = task.map_err(Into::into).and_then(|task| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        runtime.block_on(run(task, voice.clone()))
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let what = format!("the child failed: {error}");
            voice.say(&Report::Flaw { what });
            ExitCode::FAILURE
        }
    }
}

async fn run(task: Task, voice: Voice) -> Outcome {
    let shared = Arc::new(Shared {
        orders: Orders { seed: task.seed },
        voice,
        is_over: AtomicBool::new(false),
    });
    let mut random = fastrand::Rng::with_seed(task.seed ^ !task.cycle);
    let storage = Arc::new(ensue_log::storage::File::new(&task.directory));
    let settings = task.terms.settings(&task.directory);
    let embedded = Arc::new(Embedded::open(storage, settings).await?);
    let engine: SharedEngine = embedded.clone();
    let workers = join(&engine, &shared, &mut random).await?;
    let app = audit(&engine, random.u64(..)).await?;
    shared.voice.say(&Report::Opened);

    let mut everybody = JoinSet::new();
    for (worker, member) in workers {
        everybody.spawn(worker.work(member));
    }
    if task.is_last {
        everybody.spawn(drain(engine.clone(), shared.clone()));
    } else {
        for publisher in 0..PUBLISHERS {
            let work = publish(engine.clone(), shared.clone(), publisher, task.next.clone());
            everybody.spawn(work(random.fork()));
        }
        if task.terms.is_discarding {
            everybody.spawn(operate(engine.clone(), shared.clone()));
        }
        if task.terms.is_checkpointing {
            everybody.spawn(checkpoint(embedded, random.fork()));
        }
    }
    while let Some(ended) = everybody.join_next().await {
        ended??;
    }
    app.stop().await?;
    engine.close().await?;
    shared.voice.say(&Report::Drained);
    Ok(())
}

/// Joins the groups that are moved by hand: two members where events fail or lead to others.
async fn join(
    engine: &SharedEngine,
    shared: &Arc<Shared>,
    random: &mut fastrand::Rng,
) -> Outcome<Vec<(Worker, Box<dyn Member>)>> {
    let mut workers = Vec::new();
    for group in Group::ALL {
        let members = if group == Group::Tally { 1 } else { 2 };
        for number in 0..members {
            let subscription = Subscription {
                group: group.name().to_owned(),
                topics: vec!["orders".parse()?],
                types: None,
                start: Start::Earliest,
                in_flight_max: random.usize(5..200),
            };
            let member = engine.join(subscription).await?;
            let worker = Worker::new(shared.clone(), group, number, random.fork());
            workers.push((worker, member));
        }
    }
    Ok(workers)
}

/// Starts the app: its handler's effects get their ids from the framework.
async fn audit(engine: &SharedEngine, seed: u64) -> ensue::Result<Running> {
    let options = HandlerOptions::default()
        .attempts(AUDIT_ATTEMPTS)
        .backoff(Duration::from_millis(1), Duration::from_millis(5));
    App::new(engine.clone())
        .seed(seed)
        .workers(2)
        .on_with(
            AUDITS,
            options,
            |order: Placed, context: Context| async move {
                if context.attempt() == 1 && fastrand::u8(..) < 4 {
                    return Err(Failure::retry("this one stumbles"));
                }
                Ok(Audited::of(order, context.envelope()))
            },
        )
        .start()
        .await
}

/// Waits until nothing is left to do. What waits behind a dead letter goes on without it.
async fn drain(engine: SharedEngine, shared: Arc<Shared>) -> Outcome {
    loop {
        let status = engine.status().await?;
        if is_drained(&status) {
            shared.is_over.store(true, Ordering::Release);
            return Ok(());
        }
        let blocks = |mark| shared.orders.fate(mark) == Fate::Parked;
        discard(&engine, &shared, blocks).await?;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn is_drained(status: &EngineStatus) -> bool {
    let names = Group::ALL.map(Group::name).into_iter().chain([AUDITS]);
    names.into_iter().all(|name| {
        let group = status.group(name);
        group.is_some_and(|group| group.is_idle() && group.parked == 0)
    })
}

/// Discards every dead letter, again and again.
async fn operate(engine: SharedEngine, shared: Arc<Shared>) -> Outcome {
    loop {
        discard(&engine, &shared, |_| true).await?;
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

/// Discards the dead letters that are `wanted`.
async fn discard(engine: &SharedEngine, shared: &Shared, wanted: impl Fn(Mark) -> bool) -> Outcome {
    let group = Group::Trials.name();
    let letters = engine
        .dead_letters(Some(group), DeadLetterFilter::default())
        .await;
    let letters = match letters {
        // No process has joined yet.
        Err(Error::Group(GroupError::Unknown { .. })) => return Ok(()),
        letters => letters?,
    };
    let marked = |letter: &DeadLetter| {
        let mark = mark_of(letter.envelope.as_ref().ok()?).filter(|mark| wanted(*mark))?;
        Some((mark, letter.event.id().to_owned()))
    };
    let (marks, ids): (Vec<Mark>, Vec<String>) = letters.iter().filter_map(marked).unzip();
    if marks.is_empty() {
        return Ok(());
    }
    let asked = marks.len();
    shared.voice.say(&Report::Discarding { marks });
    let filter = DeadLetterFilter {
        ids,
        ..DeadLetterFilter::default()
    };
    let count = engine.discard(group, filter).await?;
    if count != asked {
        return Err(format!("discarded {count} of {asked} dead letters").into());
    }
    shared.voice.say(&Report::Discarded);
    Ok(())
}

/// Writes checkpoints all the time.
async fn checkpoint(engine: Arc<Embedded>, mut random: fastrand::Rng) -> Outcome {
    loop {
        tokio::time::sleep(Duration::from_millis(random.u64(1..40))).await;
        engine.checkpoint().await?;
    }
}
