//! Point 9: a request and its reply, or its failure, reach the requester, with a deadline.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::flaw::{Flaw, Verdict, equal, fails};
use super::hand::settling;
use super::lab::Lab;
use ensue::Outgoing;
use ensue::Requester;
use ensue_core::engine::{Commit, Delivery};
use ensue_core::error::{Error, RequestError};
use ensue_core::event::{Codec, Envelope, Event};
use ensue_core::request;

const LONG: Duration = Duration::from_secs(86_400);

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Question {
    number: u64,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Answer {
    number: u64,
}

impl Event for Question {
    const TYPE: &'static str = "contract.question";
    const TOPIC: &'static str = "questions";
    fn key(&self) -> Cow<'_, str> {
        Cow::Owned(self.number.to_string())
    }
}

impl Event for Answer {
    const TYPE: &'static str = "contract.answer";
    const TOPIC: &'static str = "questions";
    fn key(&self) -> Cow<'_, str> {
        Cow::Owned(self.number.to_string())
    }
}

fn ask(lab: &Lab, number: u64) -> Outgoing {
    Outgoing::new(Question { number }).topic(lab.topic("questions"))
}

/// Settles a request with its reply, as dispatch does.
fn replying(request: &Delivery) -> Verdict<Commit> {
    let envelope = &request.envelope;
    let topic = request::reply_topic(envelope)
        .ok_or_else(|| Flaw::new("a request that names where its reply goes", "none"))?;
    let question: Question = envelope.decode().map_err(Error::from)?;
    let answer = Answer {
        number: question.number * 2,
    };
    let payload = Codec::Json.encode(&answer);
    let payload = payload.map_err(|error| Flaw::new("an answer", error))?;
    let reply = Envelope::builder(topic, Answer::TYPE)
        .causation(envelope.id())
        .payload(Codec::Json, payload);
    let reply = request::answer(reply, envelope, topic).build()?;
    Ok(Commit {
        effects: vec![reply.into()],
        ..settling(std::slice::from_ref(request))
    })
}

pub(super) async fn request_gets_its_reply(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "questions").await?;
    let requester = Requester::new(lab.engine()?.clone(), "/contract");
    for number in 1..=3 {
        let (reply, answered) = futures_util::future::join(
            requester.request::<Answer>(ask(lab, number), LONG),
            async {
                let request = hand.take_one().await?;
                hand.commit(replying(&request)?).await
            },
        )
        .await;
        answered?;
        equal("the reply", reply?, Answer { number: number * 2 })?;
    }
    Ok(())
}

/// Each of many requesters gets its own reply, whatever the order.
pub(super) async fn request_replies_find_their_requester(lab: &mut Lab) -> Verdict {
    const REQUESTS: u64 = 40;
    let hand = lab.join("g", "questions").await?;
    let mut asking = JoinSet::new();
    for requester in 0..4 {
        let requester = (
            requester,
            Requester::new(lab.colleague().await?, "/contract"),
        );
        for number in (0..REQUESTS).filter(|number| number % 4 == requester.0) {
            let (requester, ask) = (requester.1.clone(), ask(lab, number));
            asking.spawn(async move {
                let answer: Answer = requester.request(ask, LONG).await?;
                Ok::<_, Error>((number, answer))
            });
        }
    }
    let mut requests = hand
        .take(usize::try_from(REQUESTS).unwrap_or_default())
        .await?;
    lab.random().shuffle(&mut requests);
    for request in &requests {
        hand.commit(replying(request)?).await?;
    }
    while let Some(answered) = asking.join_next().await {
        let (number, answer) = answered??;
        equal("the reply", answer, Answer { number: number * 2 })?;
    }
    Ok(())
}

pub(super) async fn request_failure_reaches_the_requester(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "questions").await?;
    let requester = Requester::new(lab.engine()?.clone(), "/contract");
    let (reply, answered) =
        futures_util::future::join(requester.request::<Answer>(ask(lab, 1), LONG), async {
            let request = hand.take_one().await?;
            let failure = request::failure_reply(&request.envelope, "no idea");
            let failure = failure.ok_or_else(|| Flaw::new("a failure to send", "none"))?;
            let commit = Commit {
                effects: vec![failure.build()?.into()],
                ..settling(std::slice::from_ref(&request))
            };
            hand.commit(commit).await
        })
        .await;
    answered?;
    fails(
        "the failure and its reason",
        reply,
        |error| matches!(error, Error::Request(RequestError::Failed(reason)) if reason == "no idea"),
    )
}

pub(super) async fn request_ends_at_its_deadline(lab: &mut Lab) -> Verdict {
    let hand = lab.join("g", "questions").await?;
    let requester = Requester::new(lab.engine()?.clone(), "/contract");
    let waiting = requester.request::<Answer>(ask(lab, 1), lab.delay());
    let (reply, taken) = futures_util::future::join(waiting, async {
        let taken = hand.take_one().await;
        lab.pass(lab.delay()).await;
        taken
    })
    .await;
    fails("the deadline", reply, |error| {
        matches!(error, Error::Request(RequestError::Deadline { .. }))
    })?;
    // A late reply is ignored, and the next request is answered.
    hand.commit(replying(&taken?)?).await?;
    let (reply, answered) =
        futures_util::future::join(requester.request::<Answer>(ask(lab, 2), LONG), async {
            let request = hand.take_one().await?;
            hand.commit(replying(&request)?).await
        })
        .await;
    answered?;
    equal("the next reply", reply?, Answer { number: 4 })
}
