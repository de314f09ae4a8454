//! Asking a question of a service, for a client that waits for the reply.

use std::time::Duration;

use ensue::error::RequestError;
use ensue::{Envelope, Error, Outgoing, Position, TopicPattern, decided_at};

use crate::context::Context;
use crate::problem::{Code, Problem};
use crate::security::Caller;

/// How long a client waits unless it is said.
const DEADLINE: Duration = Duration::from_secs(30);

/// How long a client waits that asks for this; or what is wrong with that.
pub(crate) fn deadline(context: &Context, asked: Option<Duration>) -> Result<Duration, String> {
    let max = context.limits().wait_max;
    match asked {
        None => Ok(DEADLINE.min(max)),
        Some(deadline) if deadline > max || deadline.is_zero() => Err(format!(
            "is {deadline:?}; expected more than 0 and at most {max:?}, the limit `wait_max`"
        )),
        Some(deadline) => Ok(deadline),
    }
}

/// What a service answered.
#[derive(Debug)]
pub(crate) struct Replied {
    pub(crate) reply: Envelope,
    /// Where the last event of the decision is, if the question was a command.
    pub(crate) decided: Option<Position>,
}

/// The reply to a question, as much of it as the caller may see. When this is dropped, nothing waits for
/// the reply any more.
pub(crate) async fn ask(
    context: &Context,
    caller: &Caller,
    question: Envelope,
    deadline: Duration,
) -> Result<Replied, Problem> {
    let topic = question.topic().to_owned();
    let request = Outgoing::raw(question.to_builder());
    // What was read is the engine's from here on.
    drop(question);
    let reply = context.requester().request_recorded(request, deadline);
    let (position, mut reply) = match reply.await {
        Ok(reply) => reply,
        Err(error) => return Err(refused(context, &topic, error).await),
    };
    // The credentials may have been revoked while nothing came.
    let caller = context.still(caller)?;
    let decided = decided_at(position, &reply);
    caller.disclose_as_of(&topic, &mut reply)?;
    Ok(Replied { reply, decided })
}

async fn refused(context: &Context, topic: &str, error: Error) -> Problem {
    match error {
        Error::Request(RequestError::Deadline { .. }) => {
            let why = nobody(context, topic).await.unwrap_or_default();
            Problem::new(Code::NoReply, format!("{error}{why}"))
        }
        Error::Limit(limit) if limit.limit.starts_with("REQUEST") => {
            Problem::new(Code::Overloaded, limit.to_string())
        }
        other => other.into(),
    }
}

/// That nobody could have replied to a question of this topic, if that is so.
async fn nobody(context: &Context, topic: &str) -> Option<String> {
    let status = context
        .in_time(context.engine().status())
        .await
        .ok()?
        .ok()?;
    let consumes = |pattern: &String| {
        let pattern = pattern.parse::<TopicPattern>();
        pattern.is_ok_and(|pattern| pattern.matches(topic))
    };
    let mut groups = status.groups.iter();
    let is_alone = !groups.any(|group| group.topics.iter().any(consumes));
    is_alone.then(|| format!("; no group consumes the topic `{topic}`"))
}
