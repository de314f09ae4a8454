//! What waits to be exported: bounded, so that a collector that is slow or away costs nothing but the
//! telemetry that does not fit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use ensue_core::background;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// How much waits at the most, and when it is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) queue_max: usize,
    pub(crate) batch_max: usize,
    /// How long the first of a batch waits for more.
    pub(crate) delay: Duration,
}

/// What became of what was offered.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) exported: AtomicU64,
    /// There was no room.
    pub(crate) overflowed: AtomicU64,
    /// The collector did not take it.
    pub(crate) failed: AtomicU64,
}

/// Sends batches somewhere. Bounded in time.
pub(crate) trait Export<T>: Send + 'static {
    fn export(&mut self, batch: Vec<T>) -> impl Future<Output = Result<(), String>> + Send;
}

enum Message<T> {
    Item(T),
    Flush(oneshot::Sender<()>),
}

/// The end that is offered things. Cloning gives the same queue; with the last one gone, what waits is
/// exported, and that is the end.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    sender: mpsc::Sender<Message<T>>,
    counts: Arc<Counts>,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            counts: self.counts.clone(),
        }
    }
}

impl<T: Send + 'static> Queue<T> {
    /// A queue whose content is exported by a thread of Ensue's own, whatever becomes of the caller's
    /// runtime.
    pub(crate) fn start(
        pace: Pace,
        signal: &'static str,
        exporter: impl Export<T>,
    ) -> ensue::Result<Self> {
        let (sender, inbox) = mpsc::channel(pace.queue_max.max(1));
        let counts = Arc::<Counts>::default();
        let worker = Worker {
            exporter,
            counts: counts.clone(),
            signal,
            has_failed: false,
        };
        background::spawn(worker.run(inbox, pace))?;
        Ok(Self { sender, counts })
    }

    /// Takes something, if there is room. Never waits.
    pub(crate) fn offer(&self, item: T) {
        if self.sender.try_send(Message::Item(item)).is_err() {
            self.counts.overflowed.fetch_add(1, Relaxed);
        }
    }

    /// Waits until what was offered has been exported, or given up.
    pub(crate) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.sender.send(Message::Flush(done)).await.is_ok() {
            // A worker that is gone has nothing left.
            let _ = flushed.await;
        }
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// How much waits.
    pub(crate) fn len(&self) -> usize {
        self.sender.max_capacity() - self.sender.capacity()
    }
}

struct Worker<E> {
    exporter: E,
    counts: Arc<Counts>,
    signal: &'static str,
    has_failed: bool,
}

impl<E> Worker<E> {
    async fn run<T>(mut self, mut inbox: mpsc::Receiver<Message<T>>, pace: Pace)
    where
        E: Export<T>,
    {
        let mut batch = Vec::new();
        let mut due = Instant::now();
        loop {
            let next = if batch.is_empty() {
                Ok(inbox.recv().await)
            } else {
                tokio::time::timeout_at(due, inbox.recv()).await
            };
            match next {
                Ok(Some(Message::Item(item))) => {
                    if batch.is_empty() {
                        due = Instant::now() + pace.delay;
                    }
                    batch.push(item);
                    if batch.len() >= pace.batch_max.max(1) {
                        self.export(&mut batch).await;
                    }
                }
                Ok(Some(Message::Flush(done))) => {
                    self.export(&mut batch).await;
                    // The caller may have given up.
                    let _ = done.send(());
                }
                Ok(None) => return self.export(&mut batch).await,
                Err(_) => self.export(&mut batch).await,
            }
        }
    }

    async fn export<T>(&mut self, batch: &mut Vec<T>)
    where
        E: Export<T>,
    {
        if batch.is_empty() {
            return;
        }
        let count = batch.len() as u64;
        let exported = self.exporter.export(std::mem::take(batch)).await;
        let signal = self.signal;
        match exported {
            Ok(()) => {
                self.counts.exported.fetch_add(count, Relaxed);
                if std::mem::take(&mut self.has_failed) {
                    tracing::info!(signal, "the collector takes telemetry again");
                }
            }
            Err(error) => {
                self.counts.failed.fetch_add(count, Relaxed);
                // Once, not for each batch.
                if !std::mem::replace(&mut self.has_failed, true) {
                    tracing::warn!(
                        signal,
                        error,
                        "the collector does not take telemetry, which is dropped meanwhile; look at the \
                         endpoint (OTEL_EXPORTER_OTLP_ENDPOINT)"
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::sync::Semaphore;

    use super::*;

    /// The batches that were sent.
    type Sent = Arc<Mutex<Vec<Vec<u32>>>>;

    /// Takes a batch for each permit.
    struct Gate(Arc<Semaphore>, Sent);

    impl Export<u32> for Gate {
        async fn export(&mut self, batch: Vec<u32>) -> Result<(), String> {
            self.0.acquire().await.unwrap().forget();
            let is_refused = batch.contains(&13);
            self.1.lock().unwrap().push(batch);
            if is_refused { Err("13".into()) } else { Ok(()) }
        }
    }

    fn queue(queue_max: usize, batch_max: usize) -> (Queue<u32>, Arc<Semaphore>, Sent) {
        let (gate, taken) = (Arc::new(Semaphore::new(0)), Arc::default());
        let pace = Pace {
            queue_max,
            batch_max,
            delay: Duration::from_secs(3_600),
        };
        let queue = Queue::start(pace, "test", Gate(gate.clone(), Arc::clone(&taken))).unwrap();
        (queue, gate, taken)
    }

    #[tokio::test]
    async fn what_a_collector_does_not_take_in_time_is_dropped_and_counted() {
        let (queue, gate, taken) = queue(4, 2);
        for item in 0..100 {
            queue.offer(item);
        }
        let overflowed = queue.counts().overflowed.load(Relaxed);
        // Four wait; the worker may have taken two by now, and holds no more.
        assert!((94..=96).contains(&overflowed), "{overflowed}");
        gate.add_permits(1_000);
        queue.flush().await;
        let exported = queue.counts().exported.load(Relaxed);
        assert_eq!(exported + overflowed, 100);
        let taken = taken.lock().unwrap();
        assert!(taken.iter().all(|batch| batch.len() <= 2), "{taken:?}");
        assert_eq!(taken[0], [0, 1]);
        assert_eq!(queue.len(), 0);
    }

    #[tokio::test]
    async fn a_batch_that_is_refused_is_counted_and_the_next_one_goes_on() {
        let (queue, gate, _) = queue(100, 1);
        gate.add_permits(1_000);
        for item in [12, 13, 14] {
            queue.offer(item);
        }
        queue.flush().await;
        let counts = queue.counts();
        assert_eq!(counts.exported.load(Relaxed), 2);
        assert_eq!(counts.failed.load(Relaxed), 1);
    }
}
