//! Calls that their client may send again: what has a key is done once, and answered what it was answered
//! first.
//!
//! A key is its caller's. What is kept is bounded and in memory: after a restart, or once it is forgotten, a
//! call that comes again is a call of its own.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use ensue_proto::detail_of_status;
use prost::Message;
use ring::digest::{Context as Digest, SHA256};
use tokio::sync::watch;
use tonic::{Request, Status};

use super::{answer, permit};
use crate::problem::{Code, Problem};

/// The metadata with the key.
const KEY: &str = "idempotency-key";
/// The longest key, in bytes.
const KEY_BYTES_MAX: usize = 128;
/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(600);
/// How many callers' answers are kept; how many of one caller, and how many bytes of them.
const CALLERS_MAX: usize = 64;
const CALLS_MAX: usize = 4_096;
const ANSWERS_BYTES_MAX: usize = 1024 * 1024;

/// A call that its client named by a key.
#[derive(Clone, Debug)]
pub(super) struct Call {
    caller: String,
    key: String,
    /// The same key with another method or of another size is a mistake.
    what: (&'static str, usize),
}

/// An answer, encoded.
type Outcome = Result<Bytes, Status>;

/// What calls with keys were answered. Cloning gives the same.
#[derive(Clone, Debug)]
pub(super) struct Receipts {
    callers: Arc<Mutex<HashMap<String, OfCaller>>>,
    of_doubt: OfDoubt,
}

/// What becomes of a call that may or may not have happened when it comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OfDoubt {
    /// It stays in doubt: it must not happen twice.
    Stays,
    /// It is made again: what it did is known otherwise, as events are by their ids.
    IsMadeAgain,
}

/// The calls of one caller, by their order.
#[derive(Debug, Default)]
struct OfCaller {
    numbers: HashMap<String, u64>,
    calls: BTreeMap<u64, Kept>,
    last: u64,
    bytes: usize,
}

/// A call that was begun.
#[derive(Debug)]
struct Kept {
    call: Call,
    began: Instant,
    /// `None` while it is under way.
    outcome: watch::Receiver<Option<Outcome>>,
}

impl Call {
    /// The call that a request is, if its client gave it a key.
    pub(super) fn of<T: Message>(
        method: &'static str,
        request: &Request<T>,
    ) -> Result<Option<Self>, Status> {
        let Some(key) = request.metadata().get(KEY) else {
            return Ok(None);
        };
        let key = key.to_str().unwrap_or_default();
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            let detail = format!(
                "the metadata `{KEY}` is not a key: expected 1 to {KEY_BYTES_MAX} visible ASCII \
                 characters, such as a UUID"
            );
            return Err(answer::problem(&Problem::new(Code::InvalidHeader, detail)));
        }
        Ok(Some(Self {
            caller: permit::caller(request)?.name().to_owned(),
            key: key.to_owned(),
            what: (method, request.get_ref().encoded_len()),
        }))
    }

    /// What begins the id of an event that has none: the same, whenever this call comes.
    pub(super) fn id(&self) -> String {
        let mut digest = Digest::new(&SHA256);
        for part in [&self.caller, &self.key] {
            digest.update(&(part.len() as u64).to_be_bytes());
            digest.update(part.as_bytes());
        }
        let digest = digest.finish();
        let half = digest.as_ref().iter().take(16);
        half.map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Receipts {
    pub(super) fn new(of_doubt: OfDoubt) -> Self {
        Self {
            callers: Arc::default(),
            of_doubt,
        }
    }

    /// Does `work`, to its end, or gives the answer of the call that has done it: of one that is under
    /// way, when it has. A call that was refused has done nothing, and may be made again.
    pub(super) async fn once<R: Message + Default + 'static>(
        &self,
        call: Call,
        work: impl Future<Output = Result<R, Status>> + Send + 'static,
    ) -> Result<R, Status> {
        let begun = self.begin(&call, Instant::now());
        let mut outcome = match begun.map_err(|refused| answer::problem(&refused))? {
            Begun::Before(outcome) => outcome,
            Begun::Now(said, outcome) => {
                let receipts = self.clone();
                tokio::spawn(async move {
                    let done = work.await;
                    let done = done.map(|answer| Bytes::from(answer.encode_to_vec()));
                    receipts.end(&call, &done);
                    said.send_replace(Some(done));
                });
                outcome
            }
        };
        let lost = |_| Status::internal("the call ended without an answer");
        let said = outcome.wait_for(Option::is_some).await.map_err(lost)?;
        let said = said.clone().unwrap_or_else(|| Ok(Bytes::new()))?;
        R::decode(said).map_err(|error| Status::internal(error.to_string()))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, OfCaller>> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, call: &Call, now: Instant) -> Result<Begun, Problem> {
        let mut callers = self.lock();
        if callers.len() >= CALLERS_MAX && !callers.contains_key(&call.caller) {
            callers.retain(|_, of_caller| {
                of_caller.forget_before(now);
                !of_caller.calls.is_empty()
            });
            let idle = callers.iter().filter(|(_, it)| !it.is_busy());
            let oldest = idle.min_by_key(|(_, it)| it.latest());
            let oldest = oldest.map(|(name, _)| name.clone());
            if callers.len() >= CALLERS_MAX
                && oldest.and_then(|name| callers.remove(&name)).is_none()
            {
                return Err(too_many());
            }
        }
        let of_caller = callers.entry(call.caller.clone()).or_default();
        of_caller.begin(call, now)
    }

    fn end(&self, call: &Call, outcome: &Outcome) {
        let mut callers = self.lock();
        let Some(of_caller) = callers.get_mut(&call.caller) else {
            return; // Not reached: what is under way is kept.
        };
        let bytes = match outcome {
            Ok(answer) => answer.len(),
            Err(status) => status.message().len() + status.details().len(),
        };
        if !self.is_kept(outcome) || bytes > ANSWERS_BYTES_MAX {
            of_caller.forget(&call.key);
            return;
        }
        of_caller.bytes += bytes;
        while of_caller.bytes > ANSWERS_BYTES_MAX && of_caller.forget_first() {}
    }

    /// Whether a call that comes again gets this, and is not made again.
    fn is_kept(&self, outcome: &Outcome) -> bool {
        match outcome {
            Ok(_) => true,
            Err(status) => {
                let detail = detail_of_status(status);
                let is_in_doubt = detail.is_none_or(|detail| detail.in_doubt);
                is_in_doubt && self.of_doubt == OfDoubt::Stays
            }
        }
    }
}

fn too_many() -> Problem {
    Problem::new(
        Code::Overloaded,
        "too many calls with an idempotency key are under way; try again in a moment",
    )
}

enum Begun {
    Before(watch::Receiver<Option<Outcome>>),
    Now(
        watch::Sender<Option<Outcome>>,
        watch::Receiver<Option<Outcome>>,
    ),
}

impl OfCaller {
    fn begin(&mut self, call: &Call, now: Instant) -> Result<Begun, Problem> {
        self.forget_before(now);
        let known = self.numbers.get(&call.key);
        if let Some(kept) = known.and_then(|number| self.calls.get(number)) {
            if kept.call.what != call.what {
                let (method, bytes) = kept.call.what;
                let detail = format!(
                    "this idempotency key belongs to a call of `{method}` with {bytes} bytes: send the \
                     same again, or take a new key"
                );
                return Err(Problem::new(Code::InvalidHeader, detail));
            }
            return Ok(Begun::Before(kept.outcome.clone()));
        }
        if self.calls.len() >= CALLS_MAX && !self.forget_first() {
            return Err(too_many());
        }
        let (said, outcome) = watch::channel(None);
        self.last += 1;
        self.numbers.insert(call.key.clone(), self.last);
        let kept = Kept {
            call: call.clone(),
            began: now,
            outcome: outcome.clone(),
        };
        self.calls.insert(self.last, kept);
        Ok(Begun::Now(said, outcome))
    }

    fn forget(&mut self, key: &str) {
        let number = self.numbers.remove(key);
        let kept = number.and_then(|number| self.calls.remove(&number));
        if let Some(kept) = kept {
            self.bytes = self.bytes.saturating_sub(kept.bytes());
        }
    }

    /// Forgets the first call that is over; whether there was one.
    fn forget_first(&mut self) -> bool {
        let over = self.calls.values().find(|kept| kept.is_over());
        let Some(key) = over.map(|kept| kept.call.key.clone()) else {
            return false;
        };
        self.forget(&key);
        true
    }

    /// Forgets what is over and has been kept for long enough.
    fn forget_before(&mut self, now: Instant) {
        while let Some((_, first)) = self.calls.first_key_value()
            && first.is_over()
            && now.duration_since(first.began) > KEPT
        {
            let key = first.call.key.clone();
            self.forget(&key);
        }
    }

    fn is_busy(&self) -> bool {
        self.calls.values().any(|kept| !kept.is_over())
    }

    fn latest(&self) -> Option<Instant> {
        self.calls.last_key_value().map(|(_, kept)| kept.began)
    }
}

impl Kept {
    /// Whether it has its answer, or will not get one.
    fn is_over(&self) -> bool {
        self.outcome.borrow().is_some() || self.outcome.has_changed().is_err()
    }

    fn bytes(&self) -> usize {
        match &*self.outcome.borrow() {
            Some(Ok(answer)) => answer.len(),
            Some(Err(status)) => status.message().len() + status.details().len(),
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use ensue_proto::v1::CancelResponse;
    use tokio::sync::oneshot;

    use super::*;

    fn call(key: impl ToString) -> Call {
        Call {
            caller: "ada".into(),
            key: key.to_string(),
            what: ("Cancel", 10),
        }
    }

    async fn said(receipts: &Receipts, call: Call, cancelled: u64) -> Result<u64, Status> {
        let work = async move { Ok(CancelResponse { cancelled }) };
        receipts.once(call, work).await.map(|it| it.cancelled)
    }

    #[tokio::test]
    async fn a_call_that_comes_again_is_answered_what_it_was_answered_first() {
        let receipts = Receipts::new(OfDoubt::Stays);
        assert_eq!(said(&receipts, call("k"), 1).await.unwrap(), 1);
        assert_eq!(said(&receipts, call("k"), 2).await.unwrap(), 1);
        assert_eq!(said(&receipts, call("other"), 3).await.unwrap(), 3);
        let bob = Call {
            caller: "bob".into(),
            ..call("k")
        };
        assert_eq!(said(&receipts, bob, 4).await.unwrap(), 4);
        for what in [("Redrive", 10), ("Cancel", 11)] {
            let mistaken = Call { what, ..call("k") };
            let refused = said(&receipts, mistaken, 5).await.unwrap_err();
            assert!(refused.message().contains("take a new key"), "{refused}");
        }
    }

    #[tokio::test]
    async fn a_call_that_comes_again_waits_for_the_first_which_outlives_its_client() {
        let receipts = Receipts::new(OfDoubt::Stays);
        let (go, waits) = oneshot::channel::<u64>();
        let work = async move {
            let cancelled = waits.await.unwrap_or_default();
            Ok(CancelResponse { cancelled })
        };
        let first = receipts.once(call("k"), work);
        tokio::select! {
            biased;
            _ = first => panic!("it waits"),
            () = std::future::ready(()) => {} // Its client hangs up.
        }
        let again = tokio::spawn({
            let receipts = receipts.clone();
            async move { said(&receipts, call("k"), 2).await }
        });
        tokio::task::yield_now().await;
        assert!(!again.is_finished());
        go.send(1).unwrap();
        assert_eq!(again.await.unwrap().unwrap(), 1);
    }

    #[tokio::test]
    async fn what_was_refused_is_made_again_and_what_may_have_happened_unless_it_is_known_otherwise()
     {
        for (of_doubt, code, said_then) in [
            (OfDoubt::Stays, Code::UnknownGroup, true),
            (OfDoubt::Stays, Code::Timeout, false),
            (OfDoubt::IsMadeAgain, Code::Timeout, true),
        ] {
            let (receipts, key) = (Receipts::new(of_doubt), code.as_str());
            let status = answer::problem(&Problem::new(code, "no"));
            let work = async move { Err::<CancelResponse, _>(status) };
            receipts.once(call(key), work).await.unwrap_err();
            assert_eq!(
                said(&receipts, call(key), 1).await.is_ok(),
                said_then,
                "{key}"
            );
        }
    }

    fn begin(receipts: &Receipts, call: &Call, now: Instant) -> watch::Sender<Option<Outcome>> {
        match receipts.begin(call, now).unwrap() {
            Begun::Now(said, _) => said,
            Begun::Before(_) => panic!("it was known"),
        }
    }

    fn end(receipts: &Receipts, call: &Call, said: &watch::Sender<Option<Outcome>>, bytes: usize) {
        let outcome = Ok(Bytes::from(vec![0; bytes]));
        receipts.end(call, &outcome);
        said.send_replace(Some(outcome));
    }

    fn kept(receipts: &Receipts) -> usize {
        receipts.lock().values().map(|it| it.calls.len()).sum()
    }

    #[test]
    fn what_is_kept_is_bounded_in_number_bytes_and_time() {
        let (receipts, now) = (Receipts::new(OfDoubt::Stays), Instant::now());
        for number in 0..CALLS_MAX + 10 {
            let call = call(number);
            let said = begin(&receipts, &call, now);
            end(&receipts, &call, &said, 1);
        }
        assert_eq!(kept(&receipts), CALLS_MAX);
        let large = call("large");
        let said = begin(&receipts, &large, now);
        end(&receipts, &large, &said, ANSWERS_BYTES_MAX);
        assert_eq!(kept(&receipts), 1, "the others made way");
        let too_large = call("too large");
        let said = begin(&receipts, &too_large, now);
        end(&receipts, &too_large, &said, ANSWERS_BYTES_MAX + 1);
        assert_eq!(kept(&receipts), 1);
        let later = now + KEPT + Duration::from_secs(1);
        let _under_way = begin(&receipts, &call("next"), later);
        assert_eq!(kept(&receipts), 1, "the large one is forgotten");
        assert_eq!(receipts.lock()["ada"].bytes, 0);
    }

    #[test]
    fn what_is_under_way_is_not_forgotten() {
        let (receipts, now) = (Receipts::new(OfDoubt::Stays), Instant::now());
        let under_way: Vec<_> = (0..CALLS_MAX)
            .map(|number| begin(&receipts, &call(number), now))
            .collect();
        let much_later = now + KEPT * 2;
        assert!(receipts.begin(&call("more"), much_later).is_err());
        end(&receipts, &call(7), &under_way[7], 1);
        begin(&receipts, &call("more"), much_later);
        assert_eq!(kept(&receipts), CALLS_MAX);
    }

    #[test]
    fn the_caller_that_was_silent_for_longest_makes_way() {
        let receipts = Receipts::new(OfDoubt::Stays);
        let mut now = Instant::now();
        for number in 0..=CALLERS_MAX {
            now += Duration::from_secs(1);
            let caller = number.to_string();
            let call = Call {
                caller,
                ..call("k")
            };
            let said = begin(&receipts, &call, now);
            end(&receipts, &call, &said, 1);
        }
        let callers = receipts.lock();
        assert_eq!(callers.len(), CALLERS_MAX);
        assert!(!callers.contains_key("0") && callers.contains_key("1"));
    }

    #[test]
    fn the_id_of_an_event_without_one_is_its_calls() {
        let ids = [call("k"), call("l")].map(|call| call.id());
        let bob = Call {
            caller: "bob".into(),
            ..call("k")
        };
        assert_eq!(call("k").id(), ids[0]);
        assert!(ids[0] != ids[1] && bob.id() != ids[0] && ids[0].len() == 32);
    }
}
