//! How far a server is with stopping.

use tokio::sync::watch;

/// How far a server is with stopping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    #[default]
    Serving,
    /// It was asked to stop: it is not ready any more, clients go to other servers and members leave. What
    /// comes all the same is served, as load balancers take a moment to notice.
    Leaving,
    /// It takes no more connections, and answers what is under way.
    Draining,
}

/// Tells how far the server is.
#[derive(Clone, Debug)]
pub(crate) struct Phases(watch::Receiver<Phase>);

impl Phases {
    pub(crate) fn new(phases: watch::Receiver<Phase>) -> Self {
        Self(phases)
    }

    pub(crate) fn now(&self) -> Phase {
        // A sender that is gone stops the server, too.
        if self.0.has_changed().is_err() {
            return Phase::Draining;
        }
        *self.0.borrow()
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.now() >= Phase::Leaving
    }

    /// Completes when the server is this far.
    pub(crate) async fn reached(&self, phase: Phase) {
        // An error says that the sender is gone.
        let _ = self.0.clone().wait_for(|now| *now >= phase).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_is_dropped_is_as_far_as_one_that_was_stopped() {
        let (phase, phases) = watch::channel(Phase::default());
        let phases = Phases::new(phases);
        assert!(!phases.is_leaving());
        phase.send_replace(Phase::Leaving);
        phases.reached(Phase::Leaving).await;
        assert_eq!(phases.now(), Phase::Leaving);
        drop(phase);
        phases.reached(Phase::Draining).await;
        assert_eq!(phases.now(), Phase::Draining);
    }
}
