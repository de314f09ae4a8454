//! What holds while servers die and networks fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::proxy::Weather;
use super::*;
use crate::error::EngineError;

const KILLS: usize = 20;
const APPENDERS: usize = 4;
const PATIENCE: Duration = Duration::from_millis(500);

/// Appenders and a reader, which go on until they are told to stop.
struct Traffic {
    is_over: Arc<AtomicBool>,
    appends: Arc<AtomicUsize>,
    appending: Vec<tokio::task::JoinHandle<Appender>>,
    /// Where the reader may stop, once that is known.
    end: watch::Sender<u64>,
    reading: tokio::task::JoinHandle<Vec<Message>>,
}

impl Traffic {
    async fn start(bed: &Bed, url: &str) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let appends = Arc::new(AtomicUsize::new(0));
        let mut appending = Vec::new();
        for number in 0..APPENDERS {
            let log = bed.open_at(url).await;
            let (is_over, appends) = (is_over.clone(), appends.clone());
            appending.push(tokio::spawn(async move {
                let mut appender = Appender::new(format!("appender-{number}"));
                while !is_over.load(Ordering::Relaxed) {
                    let count = fastrand::usize(1..20);
                    appender.append(&*log, count, 3_000).await;
                    appends.fetch_add(1, Ordering::Relaxed);
                }
                appender
            }));
        }
        let log = bed.open_at(url).await;
        let end = watch::Sender::new(u64::MAX);
        let reading = tokio::spawn(follow(log, end.subscribe()));
        Self {
            is_over,
            appends,
            appending,
            end,
            reading,
        }
    }

    /// Waits until something was acknowledged again: the server is back, for appenders.
    async fn goes_on(&self) {
        let before = self.appends.load(Ordering::Relaxed);
        let began = Instant::now();
        while self.appends.load(Ordering::Relaxed) == before && !self.reading.is_finished() {
            assert!(began.elapsed() < RETURN, "nothing is appended any more");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Stops, and checks what was promised.
    async fn stop(self, bed: &Bed) {
        self.is_over.store(true, Ordering::Relaxed);
        let mut appenders = Vec::new();
        for appender in self.appending {
            appenders.push(appender.await.unwrap());
        }
        let log = bed.open().await;
        let mut fresh = all_from(&*log, 0).await;
        // What was under way when its appender gave up on it may still come.
        let end = log.end().await.unwrap();
        let from = fresh.last().map_or(0, |message| message.sequence + 1);
        fresh.extend(all_from(&*log, from).await);
        self.end.send_replace(end);
        let followed = self.reading.await.unwrap();
        let both = followed.iter().zip(&fresh);
        for (number, (followed, fresh)) in both.enumerate() {
            assert!(
                followed == fresh,
                "message {number}: one who followed read {}, one who starts now reads {}",
                shown(followed),
                shown(fresh)
            );
        }
        let last = followed.last().unwrap().sequence;
        assert!(last + 1 >= end, "one who followed read to {last} of {end}");
        for appender in &appenders {
            appender.check(&followed);
        }
        let acknowledged: usize = appenders.iter().map(|it| it.acknowledged.len()).sum();
        println!(
            "{acknowledged} acknowledged, {} in the log, {} followed",
            fresh.len(),
            followed.len()
        );
    }
}

/// Where a message is and how it begins.
fn shown(message: &Message) -> String {
    let start = message.body.get(..24).unwrap_or(&message.body);
    let start = String::from_utf8_lossy(start);
    format!(
        "{} `{start}` ({} bytes)",
        message.sequence,
        message.body.len()
    )
}

async fn follow(log: Arc<dyn SharedLog>, end: watch::Receiver<u64>) -> Vec<Message> {
    let mut all = Vec::new();
    let mut next = 0;
    let mut away = None;
    while next < *end.borrow() {
        match timely(PATIENCE, log.read(next, 100_000, PATIENCE)).await {
            Ok(part) => {
                away = None;
                next = take(&mut all, part, next);
            }
            Err(Error::Engine(EngineError::Unavailable { .. })) => {
                let since = *away.get_or_insert_with(Instant::now);
                assert!(since.elapsed() < RETURN, "nothing is read any more");
                pause().await;
            }
            Err(error) => panic!("reader: {error}"),
        }
    }
    all
}

pub(crate) async fn the_server_is_killed(bed: &Bed) {
    let traffic = Traffic::start(bed, &bed.url()).await;
    for _ in 0..KILLS {
        traffic.goes_on().await;
        tokio::time::sleep(Duration::from_millis(fastrand::u64(..300))).await;
        let service = bed.service.clone();
        let restarted = tokio::task::spawn_blocking(move || {
            service.kill();
            std::thread::sleep(Duration::from_millis(fastrand::u64(..100)));
            service.start();
        });
        restarted.await.unwrap();
    }
    traffic.goes_on().await;
    traffic.stop(bed).await;
}

pub(crate) async fn connections_are_cut_and_delayed(bed: &Bed) {
    const ROUNDS: usize = 40;
    let (proxy, url) = bed.proxy().await;
    let traffic = Traffic::start(bed, &url).await;
    for _ in 0..ROUNDS {
        traffic.goes_on().await;
        proxy.set(if fastrand::bool() {
            Weather::Slow(Duration::from_millis(fastrand::u64(..20)))
        } else {
            Weather::Fair
        });
        tokio::time::sleep(Duration::from_millis(fastrand::u64(..150))).await;
        proxy.cut();
    }
    proxy.set(Weather::Fair);
    traffic.goes_on().await;
    traffic.stop(bed).await;
}

pub(crate) async fn a_server_that_says_nothing(bed: &Bed) {
    let (proxy, url) = bed.proxy().await;
    let log = bed.open_at(&url).await;
    let mut appender = Appender::new("silence");
    appender.append(&*log, 5, 100).await;
    let mut read = Vec::new();
    let mut next = 0;
    while read.len() < appender.acknowledged.len() {
        let part = log.read(next, READ_BYTES_MAX, CALL).await.unwrap();
        next = take(&mut read, part, next);
    }

    proxy.set(Weather::Silent);
    let connecting = (bed.connect)(Url::parse(&url).unwrap());
    let messages = appender.messages(5, 100);
    let (connected, appended, read_on, end) = tokio::join!(
        timely(Duration::ZERO, connecting),
        timely(Duration::ZERO, log.append(messages)),
        timely(PATIENCE, log.read(next, READ_BYTES_MAX, PATIENCE)),
        timely(Duration::ZERO, log.end()),
    );
    let is_away = |error: Option<Error>| {
        matches!(error, Some(Error::Engine(EngineError::Unavailable { .. })))
    };
    assert!(is_away(connected.err()));
    assert!(is_away(appended.err()));
    assert!(is_away(end.err()));
    // A read that waits for pushed messages cannot tell silence from none.
    let read_on = read_on.map_or_else(|error| is_away(Some(error)), |part| part.is_empty());
    assert!(read_on);

    proxy.set(Weather::Fair);
    appender.append(&*log, 5, 100).await;
    appender.check(&all_from(&*log, 0).await);
}
