//! What records say, and when.

use super::*;

fn at(number: u64) -> Position {
    Position::new(number)
}

/// The numbers of positions.
fn number((start, end): (Position, Position)) -> (u64, u64) {
    (start.get(), end.get())
}

#[test]
fn what_is_too_much_for_one_record_goes_into_several() {
    let mut aside = Aside::default();
    let (mut lanes, bounds) = (SetAside::default(), AsideLimits::default());
    let lane = |n: u64| (format!("{n:0>255}"), format!("{n:0>1024}"));
    // As it is when the log has no room for a while.
    let mut expected = Vec::new();
    for n in (0..20_000).rev() {
        let (topic, key) = lane(n);
        aside.meet(KeyRef(&topic, &key), at(n), at(n));
        expected.push(n);
    }
    for n in 20_000..24_000 {
        let (topic, key) = lane(n);
        aside.start(&lanes, KeyRef(&topic, &key), at(n));
        aside.meet(KeyRef(&topic, &key), at(n), at(n));
    }
    aside.pass(at(30_000), at(30_100));
    let (mut parked, mut deferred) = (Vec::new(), Vec::new());
    let mut settled = crate::model::position_set::PositionSet::default();
    while aside.has_unsaid() {
        let mut record = Committed::default();
        aside.say(&lanes, bounds, &mut record);
        let bytes = rmp_serde::to_vec_named(&record).unwrap().len();
        assert!(bytes <= RECORD_BYTES_MAX, "{bytes} bytes");
        parked.extend(record.parked.iter().map(|it| it.position.get()));
        let starts = record.deferred.iter();
        deferred.extend(starts.map(|it| (it.start.unwrap().get(), it.added)));
        for (start, end) in record.settled.iter() {
            settled.insert(start, end);
        }
        aside.submitted(None);
        record.deferred.iter().for_each(|it| lanes.defer(it));
        aside.committed();
    }
    expected.sort_unstable();
    assert_eq!(parked, expected);
    // All of them start before anything goes into them.
    let starts = (20_000..24_000).map(|n| (n, 0));
    let added = (20_000..24_000).map(|n| (n, 1));
    assert_eq!(deferred, starts.chain(added).collect::<Vec<_>>());
    let settled: Vec<_> = settled.iter().map(number).collect();
    assert_eq!(settled, [(0, 24_000), (30_000, 30_100)]);
    assert!(aside.is_empty());
}

#[test]
fn what_comes_of_a_key_while_a_record_says_something_of_it_waits_for_that_record() {
    let mut aside = Aside::default();
    let (lanes, bounds) = (SetAside::default(), AsideLimits::default());
    let say = |aside: &mut Aside| {
        let mut record = Committed::default();
        aside.say(&lanes, bounds, &mut record);
        aside.submitted(None);
        let parked = record.parked.iter();
        parked.map(|it| it.position.get()).collect::<Vec<u64>>()
    };
    aside.meet(KeyRef("t", "a"), at(3), at(3));
    assert_eq!(say(&mut aside), [3]);
    aside.meet(KeyRef("t", "a"), at(5), at(5));
    assert!(!aside.has_unsaid());
    aside.meet(KeyRef("t", "b"), at(6), at(6));
    assert_eq!(say(&mut aside), [6], "other keys go on");
    // The disk was full, and has room again.
    aside.failed();
    aside.committed();
    aside.meet(KeyRef("t", "a"), at(7), at(7));
    assert_eq!(say(&mut aside), [3, 5, 7]);
    aside.committed();
    assert!(aside.is_empty());
}
