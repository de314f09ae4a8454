//! Acquiring a lock, in a task of its own: who gives up waiting leaves nothing behind.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::error::{LockError, Result};
use super::held::Lock;
use super::keeper::{Asked, Claim, LockKeeper};

/// The first pause after an error of the server, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(2)];

/// How long a lock is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience {
    None,
    Until(Duration),
    Ever,
}

/// Acquires a lock. When the future is dropped, the task finishes the question at hand, and gives back what it
/// got by it: dropping the question itself would leave open whether the server has granted it.
pub(super) async fn acquire(
    keeper: Arc<dyn LockKeeper>,
    claim: Claim,
    patience: Patience,
) -> Result<Lock> {
    let (reply, acquired) = oneshot::channel();
    tokio::spawn(Acquiring::new(keeper, claim, patience, reply).run());
    acquired.await.unwrap_or_else(|_| {
        let ended = ensue_core::error::EngineError::Closed;
        Err(LockError::Server(ended.into()))
    })
}

struct Acquiring {
    keeper: Arc<dyn LockKeeper>,
    claim: Claim,
    patience: Patience,
    reply: oneshot::Sender<Result<Lock>>,
    began: Instant,
    pause: Duration,
}

/// What follows from one question.
enum Step {
    Acquired(Lock),
    Wait,
    Pause(LockError),
    Fail(LockError),
}

impl Acquiring {
    fn new(
        keeper: Arc<dyn LockKeeper>,
        claim: Claim,
        patience: Patience,
        reply: oneshot::Sender<Result<Lock>>,
    ) -> Self {
        Self {
            keeper,
            claim,
            patience,
            reply,
            began: Instant::now(),
            pause: PAUSES[0],
        }
    }

    async fn run(mut self) {
        let failure = loop {
            let goes_on = match self.ask().await {
                // No one wants it any more: dropping it gives it back.
                Step::Acquired(lock) => return drop(self.reply.send(Ok(lock))),
                Step::Fail(error) => break Some(error),
                Step::Wait => self.wait_for_turn().await,
                Step::Pause(error) => match self.wait_to_retry().await {
                    true => true,
                    false => break Some(error),
                },
            };
            if !goes_on {
                break (!self.reply.is_closed()).then(|| self.deadline());
            }
        };
        // Before the answer: who has it may count on that nothing of it waits in the line.
        let released = self.keeper.release(&self.claim).await;
        if let Err(error) = released {
            tracing::debug!(lock = self.claim.name(), %error, "a claim ends with its lease");
        }
        if let Some(failure) = failure {
            // No one may want to know it any more.
            let _ = self.reply.send(Err(failure));
        }
    }

    async fn ask(&mut self) -> Step {
        let waits = !matches!(self.patience, Patience::None);
        let asked = Instant::now();
        match self.keeper.ask(&self.claim, waits).await {
            Ok(Asked::Held { token, lease }) => {
                let until = asked + lease;
                let (keeper, claim) = (self.keeper.clone(), self.claim.clone());
                Step::Acquired(Lock::hold(keeper, claim, token, lease, until))
            }
            Ok(Asked::Taken) if waits => {
                self.pause = PAUSES[0];
                Step::Wait
            }
            Ok(Asked::Taken) => Step::Fail(self.deadline()),
            Err(error) if waits && is_passing(&error) => Step::Pause(error),
            Err(error) => Step::Fail(error),
        }
    }

    /// Waits until it is worth asking again, or the place in the line has to be renewed; whether to go on.
    async fn wait_for_turn(&mut self) -> bool {
        let place = self.claim.lease() / 3;
        let end = self.end();
        tokio::select! {
            () = self.keeper.turn(&self.claim) => true,
            () = tokio::time::sleep(place) => true,
            () = sleep_until(end) => false,
            () = self.reply.closed() => false,
        }
    }

    async fn wait_to_retry(&mut self) -> bool {
        let pause = self.pause.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.pause = (self.pause * 2).min(PAUSES[1]);
        let end = self.end();
        tokio::select! {
            () = tokio::time::sleep(pause) => true,
            () = sleep_until(end) => false,
            () = self.reply.closed() => false,
        }
    }

    fn end(&self) -> Option<Instant> {
        match self.patience {
            Patience::None => Some(self.began),
            Patience::Until(deadline) => self.began.checked_add(deadline),
            Patience::Ever => None,
        }
    }

    fn deadline(&self) -> LockError {
        LockError::Deadline {
            name: self.claim.name().to_owned(),
            waited: self.began.elapsed(),
        }
    }
}

async fn sleep_until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

/// Whether a server that reports this may answer later.
pub(super) fn is_passing(error: &LockError) -> bool {
    use ensue_core::error::{EngineError, Error};
    matches!(
        error,
        LockError::Server(Error::Engine(EngineError::Unavailable { .. }))
    )
}
