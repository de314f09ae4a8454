use ensue::engine::EFFECTS_MAX;
use ensue_proto::v1;
use proptest::prelude::*;
use prost::Message as _;

use super::super::layout;
use super::*;

/// Goes over a message in pieces of so many bytes.
fn walk(layout: &'static Layout, bytes: &[u8], piece: usize) -> Result<Walk, Unfit> {
    let mut walk = Walk::new(layout, bytes.len());
    for piece in bytes.chunks(piece) {
        walk.read(piece)?;
    }
    Ok(walk)
}

fn append(extensions: usize) -> v1::Append {
    let event = v1::Event {
        topic: "orders".into(),
        payload: vec![7; 300].into(),
        version: Some(1),
        extensions: vec![v1::Extension::default(); extensions],
        ..v1::Event::default()
    };
    v1::Append {
        event: Some(event),
        schedule: Some(v1::Schedule {
            at_us: -1,
            timer: Some("t".into()),
        }),
        ..v1::Append::default()
    }
}

#[test]
fn what_repeats_is_counted_however_it_arrives() {
    let effect = v1::Effect {
        effect: Some(v1::effect::Effect::Append(append(2))),
    };
    let commit = v1::Commit {
        settled: vec![1, 300, u64::MAX],
        parked: vec![5],
        retries: vec![v1::Retry::default(); 2],
        dead: vec![v1::Death::default()],
        effects: vec![effect; 3],
        state: vec![v1::StateWrite::default(); 4],
    };
    let request = v1::JoinRequest {
        request: Some(v1::join_request::Request::Commit(v1::CommitEvents {
            number: 1,
            commit: Some(commit),
        })),
    };
    let bytes = request.encode_to_vec();
    for piece in [1, 2, 3, 7, 100, bytes.len()] {
        let walk = walk(&layout::JOIN, &bytes, piece).unwrap();
        for (part, count) in [
            (Part::Settled, 4),
            (Part::Retry, 2),
            (Part::Death, 1),
            (Part::Effect, 3),
            (Part::Extension, 6),
            (Part::Cell, 4),
            (Part::Event, 0),
        ] {
            assert_eq!(walk.counts[part as usize], count, "{part:?} {piece}");
        }
        assert!(walk.open.is_empty());
    }
}

#[test]
fn a_message_of_empty_parts_is_refused_before_it_is_there() {
    let empty = [0x0a, 0].repeat(1_000_000);
    let refused = walk(&layout::APPEND_REQUEST, &empty, 1024).unwrap_err();
    assert_eq!(refused, Unfit::TooMany(Part::Event));
    let effects = [0x2a, 0].repeat(EFFECTS_MAX + 1);
    let mut commit = vec![0x12];
    prost::encode_length_delimiter(effects.len(), &mut commit).unwrap();
    commit.extend(&effects);
    let mut request = vec![0x2a];
    prost::encode_length_delimiter(commit.len(), &mut request).unwrap();
    request.extend(commit);
    let refused = walk(&layout::JOIN, &request, 1024).unwrap_err();
    assert_eq!(refused, Unfit::TooMany(Part::Effect));
    // What has no limit of its own weighs.
    let names = [0x0a, 0].repeat(1_000);
    let weight = walk(&layout::CANCEL, &names, 1024).unwrap().weight();
    assert!(weight >= 1_000 * size_of::<v1::EventId>(), "{weight}");
}

#[test]
fn what_is_cut_or_of_another_protocol_is_refused() {
    for bytes in [
        // Longer than what it is in, a group, a number without an end, one that is cut, a long key.
        &b"\x0a\x05\x0a"[..],
        b"\x0b\x0c",
        b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x08\x80",
        b"\x0a\x02\x0a\x80",
        b"\xf8\xff\xff\xff\xff\xff\x01\x01",
        b"\x09\x01",
    ] {
        let refused = walk(&layout::APPEND_REQUEST, bytes, 1).err();
        assert_eq!(refused, Some(Unfit::Malformed), "{bytes:?}");
        assert!(v1::AppendRequest::decode(bytes).is_err(), "{bytes:?}");
    }
}

proptest! {
    /// Whatever is decoded was counted.
    #[test]
    fn nothing_is_decoded_that_was_not_counted(
        bytes in prop::collection::vec(prop_oneof![Just(0x0a), Just(0x72), Just(0), Just(2), Just(4), any::<u8>()], 0..60),
        piece in 1..9_usize,
    ) {
        let Ok(request) = v1::AppendRequest::decode(&*bytes) else {
            return Ok(());
        };
        let extensions = request.batch.iter().filter_map(|it| it.event.as_ref());
        let extensions: usize = extensions.map(|event| event.extensions.len()).sum();
        // It may refuse what is decoded: groups, which nobody sends.
        if let Ok(walk) = walk(&layout::APPEND_REQUEST, &bytes, piece) {
            prop_assert!(walk.counts[Part::Event as usize] >= request.batch.len());
            prop_assert!(walk.counts[Part::Extension as usize] >= extensions);
        }
    }

    #[test]
    fn what_is_sent_is_gone_over(extensions in prop::collection::vec(0..5_usize, 0..20), piece in 1..50_usize) {
        let batch: Vec<_> = extensions.iter().map(|count| append(*count)).collect();
        let bytes = v1::AppendRequest { batch }.encode_to_vec();
        let walk = walk(&layout::APPEND_REQUEST, &bytes, piece).unwrap();
        prop_assert_eq!(walk.counts[Part::Event as usize], extensions.len());
        prop_assert_eq!(walk.counts[Part::Extension as usize], extensions.iter().sum::<usize>());
    }
}
