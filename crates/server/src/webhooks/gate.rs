//! When an endpoint may be called: not while it is disabled, while its circuit is open, while it asked
//! to be left alone, or beyond its rate.
//!
//! Deliveries wait here. What waits uses up no attempt and writes nothing into the log; the group's lag
//! grows meanwhile.
//!
//! ```text
//! closed ──failures in a row──> open ──pause over──> one delivery tries ──success──> closed
//!                                 ^                          │
//!                                 └──── failure, pause × 2 ──┘
//! ```

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ensue::Backoff;
use tokio::sync::watch;
use tokio::time::Instant;

use super::rate::Rate;

/// What came of a delivery, as far as it says something of the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// It answered.
    Well,
    /// It did not, or said that it cannot.
    Failing,
    /// It wants to be left alone for so long.
    Busy(Duration),
}

/// What an endpoint's gate shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Active,
    Disabled,
    /// The circuit is open for so long.
    Open(Duration),
    /// One delivery tries whether the endpoint works again.
    Trying,
    /// The endpoint asked to be left alone for so long.
    Paused(Duration),
    Stopped,
}

#[derive(Debug)]
pub(super) struct Gate {
    failures_max: u32,
    pause: Backoff,
    state: Mutex<State>,
    /// Moves whenever what waits has to look again.
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    is_disabled: bool,
    is_stopped: bool,
    circuit: Circuit,
    /// How many failures there were in a row.
    failures: u32,
    paused_until: Option<Instant>,
    rate: Option<Rate>,
    /// How many deliveries are on their way.
    under_way: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Circuit {
    Closed,
    Open { until: Instant, pause: Duration },
    Trying { pause: Duration },
}

/// What a delivery does next.
enum Step {
    Go { is_trial: bool },
    WaitUntil(Instant),
    Wait,
}

impl State {
    fn next(&mut self, now: Instant) -> Step {
        if self.is_stopped || self.is_disabled {
            return Step::Wait;
        }
        if let Some(until) = self.paused_until.filter(|until| *until > now) {
            return Step::WaitUntil(until);
        }
        let trial = match self.circuit {
            Circuit::Closed => None,
            Circuit::Open { until, .. } if until > now => return Step::WaitUntil(until),
            Circuit::Open { pause, .. } => Some(pause),
            Circuit::Trying { .. } => return Step::Wait,
        };
        if let Some(Err(turn)) = self.rate.as_mut().map(|rate| rate.take(now)) {
            return Step::WaitUntil(turn);
        }
        if let Some(pause) = trial {
            self.circuit = Circuit::Trying { pause };
        }
        self.under_way += 1;
        Step::Go {
            is_trial: trial.is_some(),
        }
    }
}

impl Gate {
    pub(super) fn new(failures_max: u32, pause: Backoff, rate: Option<u32>) -> Self {
        Self {
            failures_max,
            pause,
            state: Mutex::new(State {
                is_disabled: false,
                is_stopped: false,
                circuit: Circuit::Closed,
                failures: 0,
                paused_until: None,
                rate: rate.map(Rate::per_second),
                under_way: 0,
            }),
            changed: watch::Sender::new(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a delivery may begin. Cancel-safe.
    pub(super) async fn enter(&self) -> Pass<'_> {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let step = self.lock().next(Instant::now());
            // The sender is this gate's own: it is there as long as this waits.
            match step {
                Step::Go { is_trial } => {
                    return Pass {
                        gate: self,
                        is_trial,
                        health: None,
                    };
                }
                Step::Wait => {
                    let _ = changed.changed().await;
                }
                Step::WaitUntil(turn) => tokio::select! {
                    _ = changed.changed() => {}
                    () = tokio::time::sleep_until(turn) => {}
                },
            }
        }
    }

    /// Shuts or opens the gate; opened, it begins as a new one does. Says whether that changed anything.
    pub(super) fn set_disabled(&self, is_disabled: bool) -> bool {
        let mut state = self.lock();
        let has_changed = state.is_disabled != is_disabled;
        state.is_disabled = is_disabled;
        if has_changed && !is_disabled {
            state.circuit = Circuit::Closed;
            state.failures = 0;
            state.paused_until = None;
        }
        drop(state);
        self.changed.send_replace(());
        has_changed
    }

    /// Lets nothing more through, and waits for what is on its way.
    pub(super) async fn stop(&self) {
        let mut changed = self.changed.subscribe();
        self.lock().is_stopped = true;
        loop {
            changed.mark_unchanged();
            if self.lock().under_way == 0 {
                return;
            }
            let _ = changed.changed().await;
        }
    }

    pub(super) fn shown(&self) -> Shown {
        let state = self.lock();
        let now = Instant::now();
        let paused = state.paused_until.filter(|until| *until > now);
        match (state.circuit, paused) {
            _ if state.is_stopped => Shown::Stopped,
            _ if state.is_disabled => Shown::Disabled,
            (Circuit::Open { until, .. }, _) => Shown::Open(until.saturating_duration_since(now)),
            (Circuit::Trying { .. }, _) => Shown::Trying,
            (Circuit::Closed, Some(until)) => Shown::Paused(until - now),
            (Circuit::Closed, None) => Shown::Active,
        }
    }

    /// How many deliveries failed in a row.
    pub(super) fn failures(&self) -> u32 {
        self.lock().failures
    }

    /// Whether deliveries fail for all at present: the circuit is not closed.
    fn is_failing(&self) -> bool {
        self.lock().circuit != Circuit::Closed
    }

    fn left(&self, is_trial: bool, health: Option<Health>) {
        let now = Instant::now();
        let mut state = self.lock();
        state.under_way = state.under_way.saturating_sub(1);
        let trial = match state.circuit {
            Circuit::Trying { pause } if is_trial => Some(pause),
            _ => None,
        };
        match health {
            // It was let go of: another one tries.
            None => {
                if let Some(pause) = trial {
                    state.circuit = Circuit::Open { until: now, pause };
                }
            }
            Some(Health::Well) => {
                state.circuit = Circuit::Closed;
                state.failures = 0;
            }
            Some(Health::Busy(pause)) => {
                state.circuit = Circuit::Closed;
                state.failures = 0;
                let until = now + pause;
                state.paused_until = state.paused_until.max(Some(until));
            }
            Some(Health::Failing) => {
                state.failures = state.failures.saturating_add(1);
                let pause = match (trial, state.circuit) {
                    (Some(pause), _) => Some((pause * 2).min(self.pause.max)),
                    (None, Circuit::Closed) if state.failures >= self.failures_max => {
                        Some(self.pause.min)
                    }
                    // What was on its way when the circuit opened says nothing new.
                    _ => None,
                };
                if let Some(pause) = pause {
                    let until = now + pause;
                    state.circuit = Circuit::Open { until, pause };
                }
            }
        }
        drop(state);
        self.changed.send_replace(());
    }
}

/// A delivery on its way. What came of it is said before it is dropped; a delivery that is let go of
/// says nothing.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    gate: &'a Gate,
    is_trial: bool,
    health: Option<Health>,
}

impl Pass<'_> {
    /// Says whether the failure, if it is one, is shared by all deliveries: then it says nothing of this
    /// event, which waits for its turn again. A trial that fails gives way to others.
    pub(super) fn end(mut self, health: Health) -> bool {
        self.health = Some(health);
        let (gate, is_trial) = (self.gate, self.is_trial);
        drop(self);
        health == Health::Failing && !is_trial && gate.is_failing()
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.gate.left(self.is_trial, self.health);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn gate() -> Gate {
        Gate::new(3, Backoff::new(SECOND, SECOND * 4), None)
    }

    /// Whether a delivery may begin now; what it says is `health`.
    fn tries(gate: &Gate, health: Health) -> bool {
        let pass = gate.enter().now_or_never();
        let went = pass.is_some();
        if let Some(pass) = pass {
            pass.end(health);
        }
        went
    }

    #[tokio::test(start_paused = true)]
    async fn the_circuit_opens_after_failures_in_a_row_and_one_delivery_tries_after_each_pause() {
        let gate = gate();
        for health in [
            Health::Failing,
            Health::Failing,
            Health::Well,
            Health::Failing,
        ] {
            assert!(tries(&gate, health));
        }
        assert_eq!((gate.failures(), gate.shown()), (1, Shown::Active));
        assert!(tries(&gate, Health::Failing) && tries(&gate, Health::Failing));
        for pause in [1, 2, 4, 4] {
            assert_eq!(gate.shown(), Shown::Open(SECOND * pause));
            let start = Instant::now();
            let pass = gate.enter().await;
            assert!(start.elapsed() >= SECOND * pause, "{pause}");
            assert_eq!(gate.shown(), Shown::Trying);
            assert!(gate.enter().now_or_never().is_none(), "only one tries");
            pass.end(Health::Failing);
        }
        gate.enter().await.end(Health::Well);
        assert_eq!((gate.failures(), gate.shown()), (0, Shown::Active));
        assert!(tries(&gate, Health::Well));
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_that_is_let_go_of_leaves_its_turn_to_another() {
        let gate = gate();
        for _ in 0..3 {
            assert!(tries(&gate, Health::Failing));
        }
        let trial = gate.enter().await;
        let (next, ()) = tokio::join!(gate.enter(), async { drop(trial) });
        next.end(Health::Well);
        assert_eq!(gate.shown(), Shown::Active);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_of_what_was_on_its_way_do_not_lengthen_the_pause() {
        let gate = gate();
        let passes = [
            gate.enter().await,
            gate.enter().await,
            gate.enter().await,
            gate.enter().await,
        ];
        let shared = passes.map(|pass| pass.end(Health::Failing));
        assert_eq!(shared, [false, false, true, true]);
        assert_eq!(gate.shown(), Shown::Open(SECOND));
        let trial = gate.enter().await;
        assert!(!trial.end(Health::Failing), "a trial gives way");
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_is_busy_is_left_alone_as_long_as_it_asked() {
        let gate = gate();
        assert!(tries(&gate, Health::Busy(SECOND * 7)));
        assert!(!tries(&gate, Health::Well));
        assert_eq!(gate.shown(), Shown::Paused(SECOND * 7));
        let start = Instant::now();
        gate.enter().await.end(Health::Well);
        assert!(start.elapsed() >= SECOND * 7);
        assert_eq!(gate.shown(), Shown::Active);
    }

    #[tokio::test(start_paused = true)]
    async fn a_disabled_endpoint_is_not_called_until_it_is_enabled() {
        let gate = gate();
        assert!(gate.set_disabled(true) && !gate.set_disabled(true));
        assert_eq!(gate.shown(), Shown::Disabled);
        let (pass, ()) = tokio::join!(gate.enter(), async {
            tokio::time::sleep(SECOND * 1_000).await;
            gate.set_disabled(false);
        });
        pass.end(Health::Well);
    }

    #[tokio::test(start_paused = true)]
    async fn deliveries_keep_to_the_rate() {
        let gate = Gate::new(3, Backoff::new(SECOND, SECOND), Some(10));
        let start = Instant::now();
        for _ in 0..11 {
            gate.enter().await.end(Health::Well);
        }
        assert!(start.elapsed() >= SECOND, "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stopped_gate_waits_for_what_is_on_its_way_and_lets_nothing_through() {
        let gate = gate();
        let pass = gate.enter().await;
        let ((), ()) = tokio::join!(gate.stop(), async {
            tokio::time::sleep(SECOND).await;
            assert!(gate.enter().now_or_never().is_none());
            pass.end(Health::Well);
        });
        assert_eq!(gate.shown(), Shown::Stopped);
    }
}
