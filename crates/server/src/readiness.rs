//! Whether the server can be sent requests.

use std::time::{Duration, Instant};

use crate::context::Context;
use crate::problem::{Code, Problem};
use crate::security::Caller;

/// How long the engine may take before it is not ready.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// How old the answer may be that a stranger gets.
const PROBE_AGE_MAX: Duration = Duration::from_secs(1);

/// What is answered while an issuer is away: whose keys are known, or are not.
const WITH_OLD_KEYS: &str = "ready, with the last known keys of an issuer that cannot be asked\n";
const WITHOUT_KEYS: &str =
    "ready, but for callers of an issuer whose keys have not been fetched yet\n";

/// The engine works, somebody can be let in, and the server does not stop; or why not. A stranger gets an
/// answer that is a moment old: it costs no more, however often it is asked for.
///
/// An issuer whose keys never came is no reason to send nobody here, as long as others can be let in: all
/// servers read the same configuration, and one new issuer that cannot be reached would take all of them
/// away from callers that have nothing to do with it. It is said here, in the status, in the metrics
/// (`ensue_issuer_keys`) and in the log.
pub(crate) async fn check(context: &Context, caller: &Caller) -> Result<&'static str, Problem> {
    if context.is_leaving() {
        return Err(not_ready("the server is stopping"));
    }
    if caller.known().is_ok() {
        return look(context).await;
    }
    let mut last = context.last_probe().await;
    if let Some((at, answer)) = &*last
        && at.elapsed() < PROBE_AGE_MAX
    {
        return answer.clone();
    }
    let answer = look(context).await;
    *last = Some((Instant::now(), answer.clone()));
    answer
}

async fn look(context: &Context) -> Result<&'static str, Problem> {
    let issuers = context.security().providers();
    if context
        .security()
        .waits_for_keys(context.engine().clock().now())
    {
        return Err(not_ready(
            "the keys of the issuer of credentials have not been fetched yet, and nobody is known without; \
             the log says why",
        ));
    }
    match tokio::time::timeout(PROBE_TIMEOUT, context.engine().health()).await {
        Ok(health) => match health?.trouble {
            None if issuers.iter().any(|issuer| issuer.keys.is_none()) => Ok(WITHOUT_KEYS),
            None if issuers.iter().any(|issuer| issuer.problem.is_some()) => Ok(WITH_OLD_KEYS),
            None => Ok("ready\n"),
            Some(trouble) => Err(not_ready(&trouble)),
        },
        Err(_) => {
            let detail = format!("the engine did not answer within {PROBE_TIMEOUT:?}");
            Err(not_ready(&detail))
        }
    }
}

fn not_ready(detail: &str) -> Problem {
    Problem::new(Code::Overloaded, detail.to_owned())
}
