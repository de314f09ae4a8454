//! Reading the body of a request: whole, in time, and within the limits.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt as _;

use crate::context::Context;
use crate::memory::{Budget, Held};
use crate::problem::{Code, Problem};

/// How much of a body that is too large is read and thrown away: a client that is still sending
/// does not read why it was refused.
const LINGER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A body. Its bytes count among those under way until it is dropped.
#[derive(Debug)]
pub(super) struct Whole {
    bytes: Vec<u8>,
    held: Held,
}

impl Whole {
    /// The bytes, and what has to be kept as long as they are.
    pub(super) fn into_parts(self) -> (Vec<u8>, Held) {
        (self.bytes, self.held)
    }
}

impl AsRef<[u8]> for Whole {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads a body.
pub(super) async fn read(
    context: &Context,
    headers: &HeaderMap,
    body: Body,
) -> Result<Whole, Problem> {
    read_within(context, context.bodies(), headers, body).await
}

/// Reads a body from a stranger, who can only use up what strangers have.
pub(super) async fn read_of_stranger(
    context: &Context,
    headers: &HeaderMap,
    body: Body,
) -> Result<Whole, Problem> {
    read_within(context, context.strangers(), headers, body).await
}

async fn read_within(
    context: &Context,
    budget: &Budget,
    headers: &HeaderMap,
    body: Body,
) -> Result<Whole, Problem> {
    must_be_plain(headers)?;
    let limits = context.limits();
    let waits = headers.contains_key(header::EXPECT);
    let announced = headers.get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let announced = announced.unwrap_or(0);
    if announced > limits.body_bytes_max
        && (waits || announced > limits.body_bytes_max + LINGER_BYTES_MAX)
    {
        return Err(too_large(context));
    }
    match tokio::time::timeout(limits.body_timeout, collect(context, budget, body)).await {
        Ok(whole) => whole,
        Err(_) => Err(Problem::new(
            Code::BodyTimeout,
            format!(
                "the body did not arrive within {:?}, the limit `body_timeout`; send less at a time",
                limits.body_timeout
            ),
        )),
    }
}

/// Refuses a body that is compressed: what is not unpacked would be taken for what it says.
fn must_be_plain(headers: &HeaderMap) -> Result<(), Problem> {
    for (name, plain) in [
        (header::CONTENT_ENCODING, "identity"),
        (header::TRANSFER_ENCODING, "chunked"),
    ] {
        for value in headers.get_all(name) {
            let mut codings = value.as_bytes().split(|byte| *byte == b',');
            if !codings.all(|it| it.trim_ascii().eq_ignore_ascii_case(plain.as_bytes())) {
                let problem = "the body is compressed; send it as it is";
                return Err(Problem::new(Code::UnsupportedMediaType, problem));
            }
        }
    }
    Ok(())
}

async fn collect(context: &Context, budget: &Budget, mut body: Body) -> Result<Whole, Problem> {
    let bytes_max = context.limits().body_bytes_max;
    let mut whole = Whole {
        bytes: Vec::new(),
        held: Held::default(),
    };
    let mut read = 0_usize;
    while let Some(frame) = body.frame().await {
        let incomplete = |error: axum::Error| {
            Problem::new(
                Code::BodyIncomplete,
                format!("the body ended early: {error}"),
            )
        };
        let Ok(data) = frame.map_err(incomplete)?.into_data() else {
            continue;
        };
        read += data.len();
        if read > bytes_max + LINGER_BYTES_MAX {
            break;
        }
        if read > bytes_max {
            // Nothing of it is kept.
            whole.bytes = Vec::new();
            whole.held = Held::default();
            continue;
        }
        if !budget.hold(&mut whole.held, data.len()) {
            tokio::spawn(linger(body, context.limits().body_timeout));
            return Err(Problem::new(
                Code::Overloaded,
                "the requests under way are as large as they may be together, the limit \
                 `bodies_bytes_max`; try again in a moment",
            ));
        }
        whole.bytes.extend_from_slice(&data);
    }
    if read > bytes_max {
        return Err(too_large(context));
    }
    Ok(whole)
}

/// Reads what a client still sends and throws it away, while it is told why: one whose connection is closed
/// in the middle does not read that.
async fn linger(mut body: Body, timeout: Duration) {
    let rest = async {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, |data| data.len());
            if read > LINGER_BYTES_MAX {
                return;
            }
        }
    };
    // Who is not done by then is cut off.
    let _ = tokio::time::timeout(timeout, rest).await;
}

fn too_large(context: &Context) -> Problem {
    let bytes_max = context.limits().body_bytes_max;
    Problem::new(
        Code::BodyTooLarge,
        format!(
            "the body is larger than {bytes_max} bytes, the limit `body_bytes_max`; send several \
             smaller batches, or put the payload into an object store and its address into the event"
        ),
    )
    .with("max", bytes_max.into())
}
