//! What reads messages from a wire, for fuzzers. Each says whether the bytes were taken; none may panic or
//! allocate more than the bytes justify, and what was taken is written as something that is read alike.

use ensue_core::engine::{
    Append, DeadLetter, Delivery, Effect, EngineStatus, Query, ResetPlan, StateWrite, Subscription,
};
use ensue_core::{Codec, Cursor, Envelope, Timestamp};
use prost::Message;

use crate::{Malformed, detail_of, error_of, filter, recorded, reset, scheduled, v1};

/// Says whether it takes the bytes.
pub type Decoder = fn(&[u8]) -> bool;

/// The decoders by name; `fuzz/corpus` has a directory for each.
pub const TARGETS: [(&str, Decoder); 2] = [("grpc_request", request), ("grpc_response", response)];

/// A message of a client; the first byte says which.
#[must_use]
pub fn request(bytes: &[u8]) -> bool {
    let Some((kind, bytes)) = bytes.split_first() else {
        return false;
    };
    match kind % 6 {
        0 => message(bytes, |it: v1::AppendRequest| {
            it.batch.into_iter().try_for_each(append)
        }),
        1 => message(bytes, |it: v1::ReadRequest| {
            let query = Query::try_from(&it)?;
            let again = Query::try_from(&v1::ReadRequest::from(&query))?;
            assert_eq!(format!("{again:?}"), format!("{query:?}"));
            Ok(())
        }),
        2 => message(bytes, join),
        3 => message(bytes, |it: v1::ResetGroupRequest| {
            reset(it.reset).map(|reset| {
                assert_eq!(crate::reset(Some((&reset).into())).ok(), Some(reset));
            })
        }),
        4 => message(bytes, |it: v1::RedriveRequest| {
            let _ = filter(it.filter);
            Ok(())
        }),
        _ => message(bytes, |it: v1::WaitRequest| {
            it.cursor.parse::<Cursor>().map(drop).map_err(Into::into)
        }),
    }
}

/// A message of a server; the first byte says which.
#[must_use]
pub fn response(bytes: &[u8]) -> bool {
    let Some((kind, bytes)) = bytes.split_first() else {
        return false;
    };
    match kind % 6 {
        0 => message(bytes, |it: v1::ReadResponse| {
            let mut events = it.events.into_iter().map(recorded);
            events.try_for_each(|it| it.map(drop))
        }),
        1 => message(bytes, joined),
        2 => message(bytes, |it: v1::ListScheduledResponse| {
            let mut events = it.scheduled.into_iter().map(scheduled);
            events.try_for_each(|it| it.map(drop))
        }),
        3 => message(bytes, |it: v1::GetStatusResponse| {
            let status = it.status.ok_or(Malformed::missing("status"))?;
            EngineStatus::try_from(status).map(drop)
        }),
        4 => message(bytes, |it: v1::ListDeadLettersResponse| {
            let mut letters = it.dead_letters.into_iter().map(DeadLetter::try_from);
            letters.try_for_each(|it| it.map(drop))
        }),
        _ => message(bytes, |it: v1::PlanResetResponse| {
            let plan = it.plan.ok_or(Malformed::missing("plan"))?;
            ResetPlan::try_from(plan).map(drop)
        }),
    }
}

fn message<M: Message + Default>(
    bytes: &[u8],
    read: impl FnOnce(M) -> Result<(), Malformed>,
) -> bool {
    let Ok(message) = M::decode(bytes) else {
        return false;
    };
    read(message).is_ok()
}

fn append(append: v1::Append) -> Result<(), Malformed> {
    let append = Append::try_from(append)?;
    let again = Append::try_from(v1::Append::from(&append))?;
    assert_eq!(again.envelope, append.envelope);
    assert_eq!(again.schedule, append.schedule);
    Ok(())
}

fn join(request: v1::JoinRequest) -> Result<(), Malformed> {
    use v1::join_request::Request;
    match request.request.ok_or(Malformed::missing("request"))? {
        Request::Join(join) => {
            let wanted = join
                .subscription
                .ok_or(Malformed::missing("subscription"))?;
            Subscription::try_from(wanted).map(drop)
        }
        Request::Commit(commit) => {
            let commit = commit.commit.unwrap_or_default();
            let _: Vec<StateWrite> = commit.state.into_iter().map(Into::into).collect();
            let mut effects = commit.effects.into_iter().map(Effect::try_from);
            effects.try_for_each(|it| it.map(drop))
        }
        _ => Ok(()),
    }
}

fn joined(response: v1::JoinResponse) -> Result<(), Malformed> {
    use v1::commit_answer::Outcome;
    use v1::join_response::Response;
    let detail = match response.response.ok_or(Malformed::missing("response"))? {
        Response::Deliver(batch) => {
            let mut deliveries = batch.deliveries.into_iter().map(Delivery::try_from);
            return deliveries.try_for_each(|it| it.map(drop));
        }
        Response::TakeRefused(detail) => detail,
        Response::Commit(v1::CommitAnswer {
            outcome: Some(Outcome::Refused(detail)),
            ..
        }) => detail,
        _ => return Ok(()),
    };
    // A server may say anything: it is an error that can be shown, and told on.
    let error = error_of(&detail, "server");
    let _ = (error.to_string(), error.outlook(), detail_of(&error));
    Ok(())
}

/// Whether a decoder takes the bytes.
#[must_use]
pub fn decode(target: &str, bytes: &[u8]) -> bool {
    let mut targets = TARGETS.iter();
    let found = targets.find(|(name, _)| *name == target);
    found.is_some_and(|(_, decode)| decode(bytes))
}

/// Good inputs for each decoder, by name.
#[must_use]
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let built = Envelope::builder("orders", "order.created")
        .key("o-1")
        .id("1")
        .source("/shop")
        .time(Timestamp::from_micros(1))
        .correlation("c")
        .extension("colour", "red")
        .payload(Codec::Json, br#"{"total":1.10}"#.to_vec())
        .build();
    let Ok(envelope) = built else {
        return Vec::new();
    };
    let seed = |target, kind: u8, bytes: Vec<u8>| (target, [vec![kind], bytes].concat());
    let event = Some(v1::Event::from(&envelope));
    let append = v1::Append::from(&Append::from(envelope));
    let join = v1::JoinGroup {
        subscription: Some(v1::Subscription {
            group: "g".to_owned(),
            topics: vec!["orders".to_owned()],
            ..Default::default()
        }),
        lease_ms: 1000,
    };
    let commit = v1::CommitEvents {
        number: 1,
        commit: Some(v1::Commit {
            settled: vec![0, 1],
            effects: vec![v1::Effect {
                effect: Some(v1::effect::Effect::Append(append.clone())),
            }],
            ..Default::default()
        }),
    };
    let requests = [
        v1::join_request::Request::Join(join),
        v1::join_request::Request::Commit(commit),
    ];
    let deliver = v1::DeliverEvents {
        batch: 1,
        deliveries: vec![v1::Delivery {
            event: event.clone(),
            position: 1,
            attempt: 1,
            ..Default::default()
        }],
    };
    let refused = v1::ErrorDetail {
        code: "conflict".to_owned(),
        message: "it is there".to_owned(),
        ..Default::default()
    };
    let responses = [
        v1::join_response::Response::Deliver(deliver),
        v1::join_response::Response::TakeRefused(refused),
    ];
    let batch = v1::AppendRequest {
        batch: vec![append],
    };
    let read = v1::ReadRequest {
        topics: Some("orders".to_owned()),
        from: "0".to_owned(),
        ..Default::default()
    };
    let page = v1::ReadResponse {
        events: vec![v1::RecordedEvent {
            event,
            position: 1,
            appended_us: 1,
        }],
        next: "2".to_owned(),
        is_end: true,
        ..Default::default()
    };
    let wait = v1::WaitRequest {
        cursor: "7".to_owned(),
    };
    let mut seeds = vec![
        seed("grpc_request", 0, batch.encode_to_vec()),
        seed("grpc_request", 1, read.encode_to_vec()),
        seed("grpc_request", 5, wait.encode_to_vec()),
        seed("grpc_response", 0, page.encode_to_vec()),
    ];
    seeds.extend(requests.map(|request| {
        let request = v1::JoinRequest {
            request: Some(request),
        };
        seed("grpc_request", 2, request.encode_to_vec())
    }));
    seeds.extend(responses.map(|response| {
        let response = v1::JoinResponse {
            response: Some(response),
        };
        seed("grpc_response", 1, response.encode_to_vec())
    }));
    seeds
}
