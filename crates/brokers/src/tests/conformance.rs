//! What holds while nothing goes wrong.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::error::{EngineError, LimitError};

const SOON: Duration = Duration::from_millis(200);

pub(crate) async fn many_append_and_one_reads_along(bed: &Bed) {
    const APPENDERS: usize = 6;
    const APPENDS: usize = 15;
    let reader = bed.open().await;
    let mut appending = Vec::new();
    for number in 0..APPENDERS {
        let log = bed.open().await;
        appending.push(tokio::spawn(async move {
            let mut appender = Appender::new(format!("appender-{number}"));
            for _ in 0..APPENDS {
                let count = fastrand::usize(1..40);
                appender.append(&*log, count, 2_000).await;
            }
            appender
        }));
    }
    let mut all = Vec::new();
    let mut next = 0;
    let mut is_over = false;
    // A reader that finds nothing after all have appended has read everything.
    loop {
        let part = timely(SOON, reader.read(next, 100_000, SOON)).await;
        let part = part.unwrap();
        if part.is_empty() && is_over {
            break;
        }
        is_over = appending.iter().all(|it| it.is_finished());
        next = take(&mut all, part, next);
    }
    let mut count = 0;
    for appender in appending {
        let appender = appender.await.unwrap();
        appender.check_exactly(&all);
        count += appender.acknowledged.len();
    }
    assert_eq!(all.len(), count);
    assert_eq!(reader.end().await.unwrap(), next);
    assert_eq!(all_from(&*bed.open().await, 0).await, all);
}

pub(crate) async fn one_append_of_many(bed: &Bed) {
    let log = bed.open().await;
    log.append(Vec::new()).await.unwrap();
    let mut appender = Appender::new("many");
    appender.append(&*log, 20_000, 100).await;
    appender.append(&*log, 1, 0).await;
    appender.check_exactly(&all_from(&*log, 0).await);
}

pub(crate) async fn messages_at_the_limit(bed: &Bed) {
    let log = bed.open().await;
    let random = |_| Bytes::from_iter(std::iter::repeat_with(|| fastrand::u8(..)).take(4096));
    let block: Vec<_> = (0..4).map(random).collect();
    let large = |first: u8| {
        let mut body = vec![first];
        let filling = block.iter().flatten().cycle();
        body.extend(filling.take(log.message_bytes_max() - 1));
        Bytes::from(body)
    };
    let messages = vec![large(1), Bytes::from_static(b"small"), large(2)];
    log.append(messages.clone()).await.unwrap();
    let mut all = Vec::new();
    let mut next = 0;
    while all.len() < messages.len() {
        // However little is asked for, one comes.
        let part = log.read(next, 1, CALL).await.unwrap();
        assert_eq!(part.len(), 1);
        next = take(&mut all, part, next);
    }
    let bodies: Vec<_> = all.into_iter().map(|message| message.body).collect();
    assert!(bodies == messages, "large messages were changed");
}

pub(crate) async fn a_message_over_the_limit_is_refused_before_it_is_sent(bed: &Bed) {
    let log = bed.open().await;
    let over = Bytes::from(vec![7; log.message_bytes_max() + 1]);
    let refused = log.append(vec![Bytes::from_static(b"small"), over]).await;
    let Err(Error::Limit(LimitError { value, max, .. })) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(value, max + 1);
    assert_eq!(log.end().await.unwrap(), 0);
    log.append(vec![Bytes::from_static(b"other")])
        .await
        .unwrap();
    assert_eq!(all_from(&*log, 0).await.len(), 1);
}

pub(crate) async fn reading_from_any_sequence_number(bed: &Bed) {
    let log = bed.open().await;
    let mut appender = Appender::new("any");
    for _ in 0..10 {
        appender.append(&*log, 30, 300).await;
    }
    let all = all_from(&*log, 0).await;
    appender.check_exactly(&all);
    let end = log.end().await.unwrap();
    for _ in 0..60 {
        let from = fastrand::u64(..end);
        let due: Vec<_> = all.iter().filter(|it| it.sequence >= from).collect();
        let read = log.read(from, fastrand::usize(1..10_000), CALL).await;
        let read = read.unwrap();
        assert!(!read.is_empty(), "nothing from {from} on, before {end}");
        for (read, due) in read.iter().zip(&due) {
            assert_eq!(&read, due, "from {from} on");
        }
        // Sometimes on from there, as one who follows does.
        if fastrand::bool() && read.len() < due.len() {
            let on = read[read.len() - 1].sequence + 1;
            let more = log.read(on, 1, CALL).await.unwrap();
            assert_eq!(&more[0], due[read.len()]);
        }
    }
    let beyond = log.read(end, READ_BYTES_MAX, SOON).await.unwrap();
    assert_eq!(beyond, []);
}

pub(crate) async fn a_read_holds_no_more_than_it_may(bed: &Bed) {
    const BODY_BYTES: usize = 1_000;
    let log = bed.open().await;
    log.append(vec![Bytes::from(vec![1; BODY_BYTES]); 200])
        .await
        .unwrap();
    let mut all = Vec::new();
    let mut next = 0;
    while all.len() < 200 {
        let part = log.read(next, 10 * BODY_BYTES, CALL).await.unwrap();
        assert!((1..=10).contains(&part.len()), "{} at once", part.len());
        next = take(&mut all, part, next);
    }
}

pub(crate) async fn patience_is_kept_and_ended_by_a_message(bed: &Bed) {
    // Much longer than a message takes on the slowest machine.
    const LONG: Duration = Duration::from_secs(120);
    let reader = bed.open().await;
    let writer = bed.open().await;
    let mut next = 0;
    for round in 0..5 {
        let began = Instant::now();
        let none = reader.read(next, READ_BYTES_MAX, SOON).await.unwrap();
        assert_eq!(none, []);
        // A server's clock need not be as fine as ours.
        let waited = began.elapsed();
        assert!(waited > SOON.mul_f64(0.9), "gave up after {waited:?}");
        assert!(waited < SOON + CALL, "gave up after {waited:?}");

        let appending = async {
            tokio::time::sleep(SOON).await;
            let body = Bytes::from(format!("round {round}"));
            writer.append(vec![body]).await.unwrap();
            Instant::now()
        };
        let reading = async {
            let read = reader.read(next, READ_BYTES_MAX, LONG).await.unwrap();
            (read, Instant::now())
        };
        let (appended, (read, woken)) = tokio::join!(appending, reading);
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].body, format!("round {round}"));
        let late = woken.saturating_duration_since(appended);
        assert!(late < LONG / 2, "woken {late:?} later");
        next = read[0].sequence + 1;
    }
}

pub(crate) async fn the_end_is_right(bed: &Bed) {
    let one = bed.open().await;
    let other = bed.open().await;
    let mut appender = Appender::new("end");
    for round in 1..=5 {
        appender.append(&*one, round, 100).await;
        let all = all_from(&*other, 0).await;
        let end = all.last().unwrap().sequence + 1;
        appender.check_exactly(&all);
        assert_eq!(one.end().await.unwrap(), end);
        assert_eq!(other.end().await.unwrap(), end);
    }
}

pub(crate) async fn an_empty_log(bed: &Bed) {
    let log = bed.open().await;
    assert_eq!(log.end().await.unwrap(), 0);
    let began = Instant::now();
    let read = log.read(0, READ_BYTES_MAX, Duration::ZERO).await.unwrap();
    assert_eq!(read, []);
    assert!(began.elapsed() < CALL, "asked for no wait");
}

pub(crate) async fn namespaces_are_apart(bed: &Bed) {
    let other = Bed {
        service: bed.service.clone(),
        connect: bed.connect,
        namespace: format!("{}-Other", bed.namespace),
    };
    let (here, there) = (bed.open().await, other.open().await);
    let (mut ours, mut theirs) = (Appender::new("ours"), Appender::new("theirs"));
    ours.append(&*here, 5, 10).await;
    theirs.append(&*there, 7, 10).await;
    let (all_ours, all_theirs) = (all_from(&*here, 0).await, all_from(&*there, 0).await);
    ours.check_exactly(&all_ours);
    theirs.check_exactly(&all_theirs);
    assert_eq!((all_ours.len(), all_theirs.len()), (5, 7));
    there.remove().await.unwrap();
    assert_eq!(all_from(&*bed.open().await, 0).await, all_ours);
}

pub(crate) async fn a_closed_log_is_opened_again(bed: &Bed) {
    let mut appender = Appender::new("again");
    for _ in 0..5 {
        let log = bed.open().await;
        appender.append(&*log, 3, 100).await;
        appender.check_exactly(&all_from(&*log, 0).await);
        log.close().await;
    }
}

pub(crate) async fn futures_may_be_dropped(bed: &Bed) {
    let log = bed.open().await;
    let moment = || Duration::from_micros(fastrand::u64(..3_000));
    let appending = async {
        let mut appender = Appender::new("kept");
        let mut dropped = Appender::new("dropped");
        for _ in 0..60 {
            let messages = dropped.messages(5, 20_000);
            // It may be through, whole or in part, or not.
            let _ = tokio::time::timeout(moment(), log.append(messages)).await;
            appender.append(&*log, 3, 1_000).await;
        }
        appender
    };
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let reading = async {
        let mut all = Vec::new();
        let mut next = 0;
        while !*stopped.borrow() || next < log.end().await.unwrap() {
            let patience = fastrand::choice([Duration::ZERO, SOON]).unwrap();
            let read = log.read(next, 50_000, patience);
            match tokio::time::timeout(moment(), read).await {
                Err(_) => {}
                Ok(part) => next = take(&mut all, part.unwrap(), next),
            }
            // One that is not dropped, or nothing may ever be read.
            let part = timely(SOON, log.read(next, 50_000, patience)).await;
            next = take(&mut all, part.unwrap(), next);
        }
        all
    };
    let appending = async {
        let appender = appending.await;
        stop.send_replace(true);
        appender
    };
    let (appender, all) = tokio::join!(appending, reading);
    appender.check_exactly(&all);
    let fresh = all_from(&*bed.open().await, 0).await;
    assert!(fresh.starts_with(&all), "read something else");
}

pub(crate) async fn a_fresh_process_reads_all(bed: &Bed) {
    let log = bed.open().await;
    let mut appender = Appender::new("fresh");
    for _ in 0..20 {
        appender.append(&*log, 100, 2_000).await;
    }
    let logs: [Arc<dyn SharedLog>; 2] = [bed.open().await, bed.open().await];
    for fresh in logs {
        appender.check_exactly(&all_from(&*fresh, 0).await);
    }
}

pub(crate) async fn a_removed_log_is_gone(bed: &Bed) {
    let log = bed.open().await;
    Appender::new("gone").append(&*log, 10, 100).await;
    answered(|| log.remove()).await;
    log.close().await;
    let log = bed.open().await;
    assert_eq!(answered(|| log.end()).await, 0);
    let mut appender = Appender::new("new");
    appender.append(&*log, 10, 100).await;
    appender.check_exactly(&all_from(&*log, 0).await);
}

/// Those who had the log open learn of it, whatever they do: append, wait, or only look.
pub(crate) async fn a_log_that_another_took_the_place_of_is_noticed(bed: &Bed) {
    const COUNT: usize = 5;
    let log = bed.open().await;
    let mut appender = Appender::new("before");
    appender.append(&*log, COUNT, 100).await;
    let last = all_from(&*log, 0).await.pop().unwrap();
    assert_eq!(
        log.find(last.sequence).await.unwrap(),
        Some(last.body.clone())
    );
    log.check_whole(last.sequence).await.unwrap();
    let beyond = log.find(last.sequence + 1_000).await.unwrap();
    assert_eq!(beyond, None);

    let other = bed.open().await;
    other.remove().await.unwrap();
    other.close().await;
    expect_gone(&*log, &last).await;
    // It outgrows the one that it took the place of.
    let other = bed.open().await;
    Appender::new("after")
        .append(&*other, 10 * COUNT, 100)
        .await;
    expect_gone(&*log, &last).await;
    log.close().await;
    other.close().await;
}

/// Looks for a message until the server has said that it is not there any more.
async fn expect_gone(log: &dyn SharedLog, last: &Message) {
    let began = Instant::now();
    loop {
        match timely(Duration::ZERO, log.find(last.sequence)).await {
            Ok(found) if found.as_ref() != Some(&last.body) => return,
            Err(Error::Engine(EngineError::Corrupt(_))) => return,
            // Some servers take a moment to remove what they have, and to say so.
            Ok(_) | Err(Error::Engine(EngineError::Unavailable { .. })) => {
                assert!(began.elapsed() < RETURN, "it is not noticed");
                pause().await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

pub(crate) async fn what_is_found_is_said(bed: &Bed) {
    let log = bed.open().await;
    let about = log.about();
    assert!(
        about.server.chars().any(|c| c.is_ascii_digit()),
        "{about:?}"
    );
    let findings = log.examine().await.unwrap();
    for aspect in ["version", "durability", "replication", "permissions"] {
        let found = findings.iter().find(|finding| finding.aspect == aspect);
        let found = found.unwrap_or_else(|| panic!("nothing of {aspect}: {findings:?}"));
        assert!(!found.found.is_empty());
        assert_eq!(found.weakens.is_some(), found.advice.is_some(), "{found:?}");
    }
    let durability = findings.iter().find(|it| it.aspect == "durability");
    assert_eq!(durability.unwrap().weakens.is_none(), about.is_durable);
}
