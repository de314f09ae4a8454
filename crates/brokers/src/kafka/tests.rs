//! The suite of shared logs on a real broker, and what needs none.

use bytes::BufMut as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::error::OpenError;
use crate::tests::shared_log_tests;

shared_log_tests!(kafka, connect);

#[test]
fn no_batch_is_larger_than_it_may_be() {
    let messages: Vec<_> = (0..1000)
        .map(|_| Bytes::from(vec![7; fastrand::usize(..900)]))
        .collect();
    let max = 1000;
    let mut next = 0;
    for part in parts(&messages, max) {
        assert_eq!(part.start, next);
        assert!(!part.is_empty());
        next = part.end;
        let batch = batch::encode(&messages[part], Timestamp::EPOCH);
        assert!(batch.len() <= max, "{} bytes", batch.len());
    }
    assert_eq!(next, messages.len());
}

#[test]
fn options_are_checked() {
    let of = |options: &str| {
        let url = Url::parse(&format!("kafka://h?{options}")).unwrap();
        replication_of(&url)?;
        mechanism_of(&url)
    };
    assert_eq!(of("mechanism=plain").unwrap(), Mechanism::Plain);
    assert_eq!(of("replication=3").unwrap(), Mechanism::ALL[0]);
    for options in ["replication=0", "replication=x", "mechanism=none"] {
        let Err(Error::Open(OpenError::Url { reason, .. })) = of(options) else {
            panic!("{options} is taken");
        };
        assert!(reason.contains("must be"), "{reason}");
    }
}

/// How a broker answers the question which versions it takes.
#[derive(Clone, Copy)]
enum Form {
    /// As Kafka 2.4 and later do.
    Compact,
    /// As older ones do, which refuse the newer question first.
    Oldest,
}

/// What Kafka 4 takes of the requests that are made.
const TAKEN: [(i16, i16, i16); 9] = [
    (0, 3, 13),
    (1, 4, 18),
    (2, 1, 11),
    (3, 0, 13),
    (17, 0, 1),
    (19, 2, 7),
    (20, 1, 6),
    (32, 1, 4),
    (36, 0, 2),
];

/// A broker that answers nothing but that question, at the URL that is returned.
async fn broker_that_takes(api: (i16, i16, i16), form: Form) -> Url {
    let taken = TAKEN.map(|it| if it.0 == api.0 { api } else { it });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("kafka://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer_versions(stream, taken, form));
        }
    });
    Url::parse(&url).unwrap()
}

async fn answer_versions(mut stream: TcpStream, taken: [(i16, i16, i16); 9], form: Form) {
    while let Ok(length) = stream.read_i32().await {
        let mut request = vec![0; length as usize];
        stream.read_exact(&mut request).await.unwrap();
        let [api, version] = [0, 2].map(|at| i16::from_be_bytes([request[at], request[at + 1]]));
        if api != 18 {
            return;
        }
        let mut answer = request[4..8].to_vec();
        let is_compact = version == 3 && matches!(form, Form::Compact);
        // An older broker says no more than that it does not know version 3.
        let is_refused = version != 0 && !is_compact;
        answer.put_i16(if is_refused { 35 } else { 0 });
        if is_compact {
            answer.put_u8(taken.len() as u8 + 1);
        } else {
            answer.put_i32(if is_refused { 0 } else { taken.len() as i32 });
        }
        for (api, min, max) in taken.iter().filter(|_| !is_refused) {
            answer.put_i16(*api);
            answer.put_i16(*min);
            answer.put_i16(*max);
            if is_compact {
                answer.put_u8(0);
            }
        }
        if is_compact {
            answer.put_i32(0);
            answer.put_u8(0);
        }
        stream.write_i32(answer.len() as i32).await.unwrap();
        stream.write_all(&answer).await.unwrap();
    }
}

#[tokio::test]
async fn a_broker_that_is_too_old_or_too_new_is_refused_with_what_to_do() {
    for (api, form, parts) in [
        (
            (0, 0, 5),
            Form::Compact,
            ["too old", "`Produce`", "upgrade the broker"],
        ),
        (
            (0, 0, 5),
            Form::Oldest,
            ["too old", "`Produce`", "upgrade the broker"],
        ),
        (
            (1, 13, 18),
            Form::Compact,
            ["too new", "`Fetch`", "upgrade Ensue"],
        ),
    ] {
        let url = broker_that_takes(api, form).await;
        let Err(error) = connect(url).await else {
            panic!("{api:?} is taken");
        };
        assert!(
            matches!(error, Error::Open(OpenError::Unfit { .. })),
            "{error}"
        );
        let said = error.to_string();
        for part in parts {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
}
