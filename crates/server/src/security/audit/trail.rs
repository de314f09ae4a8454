//! Writing the audit trail: one entry after the other, also when other servers write.

use ensue::engine::{Append, Query};
use ensue::error::AppendError;
use ensue::{Engine, Error, Expect, Position, TopicPattern};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::entry::{AUDIT_TOPIC, Actor, Entry, KEY, Link, Operation, Stage, event, hash};
use crate::problem::{Code, Problem};
use crate::security::caller::{Caller, Proof};

/// How often another server may be ahead before an entry is given up.
const ATTEMPTS_MAX: usize = 16;
/// How many entries are read at a time, to find the last one.
const PAGE: usize = 1000;

/// The audit trail of an engine.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    /// The last entry, once it is known. Held while one is written: they are a chain.
    last: Mutex<Option<Last>>,
}

/// The last entry; all of it is nothing before the first.
#[derive(Clone, Debug, Default)]
struct Last {
    number: u64,
    hash: Option<String>,
    position: Option<Position>,
}

/// An operation that has begun.
pub(crate) struct Begun {
    number: u64,
    actor: Actor,
    operation: Operation,
}

impl Trail {
    /// Writes that an operation begins, before it does: what cannot be written does not happen.
    pub(crate) async fn begin(
        &self,
        engine: &Engine,
        caller: &Caller,
        operation: Operation,
    ) -> Result<Begun, Problem> {
        let actor = actor(caller);
        let entry = (Stage::Requested, None, None);
        let number = self.write(engine, &actor, &operation, entry).await?;
        Ok(Begun {
            number,
            actor,
            operation,
        })
    }

    /// Writes what has happened already.
    pub(crate) async fn note(
        &self,
        engine: &Engine,
        caller: &Caller,
        operation: Operation,
    ) -> Result<(), Problem> {
        let entry = (Stage::Done, None, None);
        let written = self.write(engine, &actor(caller), &operation, entry).await;
        written.map(|_| ())
    }

    /// Writes how an operation ended. If that fails, the log says so: the operation is done.
    pub(crate) async fn end(&self, engine: &Engine, begun: Begun, outcome: Result<Value, Code>) {
        let (stage, outcome) = match outcome {
            Ok(outcome) => (Stage::Done, outcome),
            Err(code) => (Stage::Failed, json!({ "code": code.as_str() })),
        };
        let Begun {
            number,
            actor,
            operation,
        } = begun;
        let entry = (stage, Some(number), Some(&outcome));
        if let Err(problem) = self.write(engine, &actor, &operation, entry).await {
            let reason = problem.detail();
            tracing::error!(
                number,
                reason,
                "the audit trail does not have how this ended"
            );
        }
    }

    async fn write(
        &self,
        engine: &Engine,
        actor: &Actor,
        operation: &Operation,
        (stage, ends, outcome): (Stage, Option<u64>, Option<&Value>),
    ) -> Result<u64, Problem> {
        let mut last = self.last.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            let before = match &*last {
                Some(before) => before.clone(),
                None => last.insert(read_last(engine).await?).clone(),
            };
            let number = before.number + 1;
            let entry = Entry {
                number,
                previous: before.hash.as_deref(),
                at: engine.clock().now(),
                actor,
                action: operation.action,
                target: &operation.target,
                reason: operation.reason.as_ref(),
                stage,
                ends,
                outcome,
            };
            let failed = |detail: String| Problem::new(Code::Internal, detail);
            let payload = serde_json::to_vec(&entry).map_err(|error| failed(error.to_string()))?;
            let hash = hash(&payload);
            let mut append = Append::from(event(payload)?);
            if engine.guarantees().conditional_append {
                append.expect = Some(before.position.map_or(Expect::Absent, Expect::At));
            }
            match engine.append(vec![append]).await {
                Ok(appended) => {
                    let position = appended.first().map(|appended| appended.position);
                    *last = Some(Last {
                        number,
                        hash: Some(hash),
                        position,
                    });
                    return Ok(number);
                }
                // Another server was ahead; its entry can be read once it is durable.
                Err(Error::Append(AppendError::Conflict { found, .. })) => {
                    *last = None;
                    if let Some(found) = found {
                        engine.wait(found.into()).await?;
                    }
                }
                Err(error) => {
                    *last = None;
                    return Err(error.into());
                }
            }
        }
        Err(Problem::new(
            Code::Overtaken,
            "other servers write to the audit trail all the time, and nothing is done without an entry; try \
             again in a moment",
        ))
    }
}

fn actor(caller: &Caller) -> Actor {
    let token = match caller.who().proof() {
        Proof::Token(id) => Some(id.clone()),
        _ => None,
    };
    Actor {
        name: caller.name().to_owned(),
        by: caller.known_by(),
        token,
        address: caller.address().map(|address| address.to_string()),
    }
}

/// The last entry there is.
async fn read_last(engine: &Engine) -> Result<Last, Problem> {
    let mut last = Last::default();
    let mut query = Query {
        topics: Some(TopicPattern::trusted(AUDIT_TOPIC)),
        key: Some(KEY.to_owned()),
        limit: PAGE,
        ..Query::default()
    };
    loop {
        let page = engine.shared().read(query.clone()).await?;
        if let Some(found) = page.events.last() {
            let payload = found.envelope.payload();
            last.position = Some(found.position);
            // What is not an entry is found by who verifies; the chain goes on.
            if let Ok(link) = serde_json::from_slice::<Link>(payload) {
                last.number = link.number;
            }
            last.hash = Some(hash(payload));
        }
        if page.is_end {
            return Ok(last);
        }
        query.from = page.next;
    }
}
