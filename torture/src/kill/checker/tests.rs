//! The checker can fail: each broken promise is told from all others, and kept ones are silent.

use ensue::engine::Recorded;
use ensue::{Envelope, Position, Timestamp};

use super::*;
use crate::kill::orders::{Fate, cell};
use crate::kill::report::Taken;

const SEED: u64 = 7;

/// A log that a process might have left, and the checker that looks at it.
struct Bench {
    checker: Checker,
    log: Vec<Envelope>,
}

impl Bench {
    fn new() -> Self {
        Self {
            checker: Checker::new(SEED),
            log: Vec::new(),
        }
    }

    fn order(mark: Mark) -> Envelope {
        Orders { seed: SEED }.order(mark).unwrap()
    }

    /// Numbers of key 0 without anything that must fail.
    fn good(count: u64) -> Vec<Mark> {
        let marks: Vec<Mark> = (1..=count).map(|number| Mark(0, number)).collect();
        let orders = Orders { seed: SEED };
        assert!(
            marks.iter().all(|mark| !orders.fate(*mark).is_doomed()),
            "another seed"
        );
        marks
    }

    /// A publisher begins a batch.
    fn attempt(&mut self, marks: &[Mark]) {
        let marks = marks.to_vec();
        self.checker.hears(Report::Publishing {
            publisher: 0,
            marks,
        });
    }

    /// Its batch is acknowledged from `position` on.
    fn acknowledge(&mut self, marks: &[Mark], position: u64) {
        let published = |(mark, position): (&Mark, u64)| Published {
            mark: *mark,
            position,
            hash: hash(&Self::order(*mark)),
            is_duplicate: false,
        };
        let events = marks.iter().zip(position..).map(published).collect();
        self.checker.hears(Report::Published {
            publisher: 0,
            events,
        });
    }

    /// Orders are published and acknowledged, and are in the log.
    fn publish(&mut self, marks: &[Mark]) {
        self.attempt(marks);
        self.acknowledge(marks, self.log.len() as u64);
        self.log.extend(marks.iter().map(|mark| Self::order(*mark)));
    }

    fn take_as(&mut self, group: Group, mark: Mark, attempt: u32) {
        let taken = Taken {
            mark,
            position: mark.1 - 1,
            hash: hash(&Self::order(mark)),
            attempt,
            is_stale: false,
        };
        let (member, events) = (0, vec![taken]);
        self.checker.hears(Report::Taken {
            group,
            member,
            events,
        });
    }

    fn take(&mut self, group: Group, mark: Mark) {
        self.take_as(group, mark, 1);
    }

    fn begin(&mut self, group: Group, decided: Decided) {
        let member = 0;
        self.checker.hears(Report::Committing {
            group,
            member,
            decided,
        });
    }

    fn settle(&mut self, group: Group, marks: &[Mark]) {
        self.begin_to_settle(group, marks);
        self.committed(group);
    }

    /// A commit is attempted that settles orders.
    fn begin_to_settle(&mut self, group: Group, marks: &[Mark]) {
        let settled = marks.to_vec();
        self.begin(
            group,
            Decided {
                settled,
                ..Decided::default()
            },
        );
    }

    /// The commit that was attempted last is acknowledged.
    fn committed(&mut self, group: Group) {
        self.checker.hears(Report::Committed { group, member: 0 });
    }

    fn bill(mark: Mark) -> Envelope {
        Orders { seed: SEED }
            .bill(&Self::order(mark), mark)
            .unwrap()
    }

    /// Looks at the log as it is; what was seen before is not looked at again.
    fn look(&mut self) {
        for (position, envelope) in (0..).zip(&self.log) {
            if position >= self.checker.cursor() {
                self.checker.sees(&at_position(position, envelope));
            }
        }
        self.checker.looked();
    }

    fn review(&mut self) {
        let mut review = self.checker.review(0);
        for (position, envelope) in (0..).zip(&self.log) {
            self.checker
                .sees_again(&mut review, &at_position(position, envelope));
        }
        self.checker.reviewed(&review);
    }

    fn kinds(&self) -> Vec<Kind> {
        let mut kinds: Vec<_> = self.checker.violations().iter().map(|it| it.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }

    #[track_caller]
    fn finds(&self, kinds: &[Kind]) {
        assert_eq!(self.kinds(), kinds, "{:?}", self.checker.violations());
    }
}

fn at_position(position: u64, envelope: &Envelope) -> Recorded {
    Recorded {
        position: Position::new(position),
        appended: Timestamp::EPOCH,
        envelope: envelope.clone(),
    }
}

#[test]
fn kept_promises_are_silent() {
    let mut bench = Bench::new();
    let marks = Bench::good(3);
    bench.publish(&marks);
    for group in Group::ALL {
        marks.iter().for_each(|mark| bench.take(group, *mark));
        bench.settle(group, &marks);
    }
    bench
        .log
        .extend(marks.iter().map(|mark| Bench::bill(*mark)));
    bench.look();
    let mut cells = vec![None; KEYS];
    cells[0] = Some(cell(3, hash(&Bench::order(marks[2]))));
    bench.checker.sees_cells(&cells);
    bench.checker.sees_letters(&[]);
    bench.review();
    bench.finds(&[]);
}

#[test]
fn an_acknowledged_order_that_is_gone_is_lost() {
    let mut bench = Bench::new();
    let marks = Bench::good(3);
    bench.publish(&marks);
    bench.log.pop();
    bench.look();
    bench.finds(&[Kind::Lost]);
}

#[test]
fn an_order_that_is_gone_before_another_is_lost_and_the_other_has_moved() {
    let mut bench = Bench::new();
    bench.publish(&Bench::good(3));
    bench.log.remove(1);
    bench.look();
    bench.finds(&[Kind::Lost, Kind::Reordered]);
}

#[test]
fn orders_that_changed_places_are_reordered() {
    let mut bench = Bench::new();
    bench.publish(&Bench::good(3));
    bench.log.swap(1, 2);
    bench.look();
    bench.finds(&[Kind::Reordered]);
}

#[test]
fn an_order_of_other_bytes_is_altered() {
    let mut bench = Bench::new();
    bench.publish(&Bench::good(2));
    let order = &bench.log[1];
    bench.log[1] = order.to_builder().source("/tortured").build().unwrap();
    bench.look();
    bench.finds(&[Kind::Altered]);
}

#[test]
fn an_order_that_is_there_twice_is_found() {
    let mut bench = Bench::new();
    bench.publish(&Bench::good(2));
    bench.log.push(bench.log[1].clone());
    bench.look();
    bench.finds(&[Kind::Twice]);
}

#[test]
fn an_order_that_was_never_published_is_invented() {
    let mut bench = Bench::new();
    bench.publish(&Bench::good(1));
    bench.log.push(Bench::order(Mark(0, 2)));
    bench.look();
    bench.finds(&[Kind::Invented]);
}

#[test]
fn a_part_of_a_batch_is_torn_and_all_or_nothing_is_not() {
    for (there, wrong) in [(0, &[][..]), (1, &[Kind::Torn][..]), (2, &[][..])] {
        let mut bench = Bench::new();
        let marks = Bench::good(2);
        bench.attempt(&marks);
        bench
            .log
            .extend(marks[..there].iter().map(|mark| Bench::order(*mark)));
        bench.look();
        bench.finds(wrong);
    }
}

#[test]
fn publishing_again_must_find_what_was_published() {
    let mut bench = Bench::new();
    let marks = Bench::good(1);
    bench.publish(&marks);
    bench.look();
    bench.attempt(&marks);
    bench.acknowledge(&marks, 1);
    bench.finds(&[Kind::Twice]);
}

#[test]
fn an_effect_that_is_there_twice_is_found() {
    let mut bench = Bench::new();
    let marks = Bench::good(2);
    bench.publish(&marks);
    bench.settle(Group::Bills, &marks);
    let bills = [marks[0], marks[1], marks[0]].map(Bench::bill);
    bench.log.extend(bills);
    bench.look();
    bench.finds(&[Kind::Twice]);
}

#[test]
fn a_settled_order_without_its_effect_is_found() {
    let mut bench = Bench::new();
    let marks = Bench::good(2);
    bench.publish(&marks);
    bench.settle(Group::Bills, &marks);
    bench.log.push(Bench::bill(marks[0]));
    bench.look();
    bench.finds(&[Kind::Lost]);
}

#[test]
fn a_part_of_a_commit_is_torn() {
    let mut bench = Bench::new();
    let marks = Bench::good(2);
    bench.publish(&marks);
    bench.begin_to_settle(Group::Bills, &marks);
    bench.log.push(Bench::bill(marks[0]));
    bench.look();
    bench.finds(&[Kind::Torn]);
}

#[test]
fn an_effect_without_a_cause_or_a_commit_is_invented() {
    let mut bench = Bench::new();
    bench.publish(&Bench::good(1));
    bench.log.push(Bench::bill(Mark(0, 1)));
    bench.look();
    bench.finds(&[Kind::Lost, Kind::Invented]);
    let mut bench = Bench::new();
    bench.settle(Group::Bills, &[Mark(0, 1)]);
    bench.log.push(Bench::bill(Mark(0, 1)));
    bench.look();
    bench.finds(&[Kind::Invented]);
}

#[test]
fn a_settled_order_that_is_delivered_again_is_found() {
    let mut bench = Bench::new();
    let marks = Bench::good(2);
    bench.publish(&marks);
    marks
        .iter()
        .for_each(|mark| bench.take(Group::Trials, *mark));
    bench.settle(Group::Trials, &marks);
    bench.look();
    bench.checker.begins();
    bench.take(Group::Trials, marks[1]);
    bench.finds(&[Kind::Redelivered]);
}

#[test]
fn an_effect_in_the_log_settles_its_order_without_an_acknowledgement() {
    let mut bench = Bench::new();
    let marks = Bench::good(1);
    bench.publish(&marks);
    bench.begin_to_settle(Group::Bills, &marks);
    bench.log.push(Bench::bill(marks[0]));
    bench.look();
    bench.finds(&[]);
    bench.checker.begins();
    bench.take(Group::Bills, marks[0]);
    bench.finds(&[Kind::Redelivered]);
}

#[test]
fn an_order_that_a_group_does_not_get_is_found() {
    let mut bench = Bench::new();
    let marks = Bench::good(3);
    bench.publish(&marks);
    bench.take(Group::Trials, marks[0]);
    bench.take(Group::Trials, marks[2]);
    bench.finds(&[Kind::Reordered]);
    let mut bench = Bench::new();
    bench.publish(&marks);
    bench.take(Group::Trials, marks[1]);
    bench.finds(&[Kind::Lost]);
}

#[test]
fn attempts_that_start_over_are_found() {
    let mut bench = Bench::new();
    let marks = Bench::good(1);
    bench.publish(&marks);
    bench.take_as(Group::Trials, marks[0], 2);
    let retried = vec![(marks[0], 2)];
    bench.begin(
        Group::Trials,
        Decided {
            retried,
            ..Decided::default()
        },
    );
    bench.committed(Group::Trials);
    bench.look();
    bench.checker.begins();
    bench.take_as(Group::Trials, marks[0], 3);
    bench.finds(&[]);
    bench.checker.begins();
    bench.take_as(Group::Trials, marks[0], 1);
    bench.finds(&[Kind::Redelivered]);
}

#[test]
fn a_cell_that_was_never_written_or_fell_behind_is_found() {
    for (number, wrong) in [(1, true), (2, false), (3, false), (4, true)] {
        let mut bench = Bench::new();
        let marks = Bench::good(4);
        bench.publish(&marks);
        bench.settle(Group::Tally, &marks[..2]);
        bench.begin_to_settle(Group::Tally, &marks[2..3]);
        bench.look();
        let mut cells = vec![None; KEYS];
        cells[0] = Some(cell(number, hash(&Bench::order(Mark(0, number)))));
        bench.checker.sees_cells(&cells);
        bench.finds(if wrong { &[Kind::State] } else { &[] });
    }
    let mut bench = Bench::new();
    bench.publish(&Bench::good(1));
    bench.settle(Group::Tally, &[Mark(0, 1)]);
    bench.look();
    let mut cells = vec![None; KEYS];
    cells[0] = Some(cell(1, 0));
    bench.checker.sees_cells(&cells);
    bench.finds(&[Kind::State]);
}

#[test]
fn a_cell_before_its_first_write_is_empty() {
    let mut bench = Bench::new();
    bench.publish(&Bench::good(1));
    bench.look();
    bench.checker.sees_cells(&vec![None; KEYS]);
    bench.finds(&[]);
}

/// The first order of key 0 with this fate, and all before it.
fn up_to(fate: Fate) -> Vec<Mark> {
    let orders = Orders { seed: SEED };
    let mut marks = (1..).map(|number| Mark(0, number));
    let doomed = marks.find(|mark| orders.fate(*mark) == fate).unwrap();
    (1..=doomed.1 + 1).map(|number| Mark(0, number)).collect()
}

fn letter(mark: Mark) -> FoundLetter {
    FoundLetter {
        mark,
        position: mark.1 - 1,
        hash: hash(&Bench::order(mark)),
        attempts: crate::kill::child::ATTEMPTS,
    }
}

/// A bench whose last order but one died.
fn buried(fate: Fate) -> (Bench, Mark, Mark) {
    let mut bench = Bench::new();
    let marks = up_to(fate);
    let [.., dead, last] = marks[..] else {
        panic!("there are two at least");
    };
    bench.publish(&marks);
    bench.look();
    for mark in &marks[..marks.len() - 1] {
        bench.take_as(Group::Trials, *mark, 3);
    }
    let decided = Decided {
        settled: marks[..marks.len() - 2].to_vec(),
        dead: vec![dead],
        ..Decided::default()
    };
    bench.begin(Group::Trials, decided);
    bench.committed(Group::Trials);
    bench.checker.begins();
    (bench, dead, last)
}

#[test]
fn a_dead_letter_that_is_gone_is_found_unless_it_was_discarded() {
    let (mut bench, dead, _) = buried(Fate::Skipped);
    bench.checker.sees_letters(&[letter(dead)]);
    bench.finds(&[]);
    bench.checker.sees_letters(&[]);
    bench.finds(&[Kind::Dead]);

    let (mut bench, dead, _) = buried(Fate::Skipped);
    bench
        .checker
        .hears(Report::Discarding { marks: vec![dead] });
    bench.checker.hears(Report::Discarded);
    bench.checker.sees_letters(&[]);
    bench.finds(&[]);
    bench.checker.sees_letters(&[letter(dead)]);
    bench.finds(&[Kind::Dead]);
}

#[test]
fn a_dead_letter_that_never_failed_is_found() {
    let mut bench = Bench::new();
    bench.publish(&Bench::good(1));
    bench.look();
    bench.checker.sees_letters(&[letter(Mark(0, 1))]);
    bench.finds(&[Kind::Dead]);
}

#[test]
fn what_must_wait_behind_a_dead_letter_must_not_come() {
    let (mut bench, _, last) = buried(Fate::Skipped);
    bench.take(Group::Trials, last);
    bench.finds(&[]);
    let (mut bench, _, last) = buried(Fate::Parked);
    bench.take(Group::Trials, last);
    bench.finds(&[Kind::Reordered]);
    let (mut bench, dead, last) = buried(Fate::Parked);
    bench
        .checker
        .hears(Report::Discarding { marks: vec![dead] });
    bench.take(Group::Trials, last);
    bench.finds(&[]);
}

#[test]
fn a_review_finds_what_changed_after_it_was_seen() {
    let seen = || {
        let mut bench = Bench::new();
        bench.publish(&Bench::good(3));
        bench.look();
        bench
    };
    let mut bench = seen();
    bench.log.pop();
    bench.review();
    bench.finds(&[Kind::Lost]);

    let mut bench = seen();
    bench.log[1] = bench.log[1]
        .to_builder()
        .source("/tortured")
        .build()
        .unwrap();
    bench.review();
    bench.finds(&[Kind::Altered]);

    let mut bench = seen();
    bench.log.push(Bench::order(Mark(0, 4)));
    bench.review();
    bench.finds(&[Kind::Invented]);

    let mut bench = seen();
    // No event was handled: none of it may be removed.
    bench.checker.review(2);
    bench.finds(&[Kind::Lost]);
}

#[test]
fn what_is_not_finished_is_found() {
    let mut bench = Bench::new();
    bench.publish(&Bench::good(1));
    bench.look();
    bench.checker.finish();
    bench.finds(&[Kind::Lost, Kind::Failed]);
}

#[test]
fn a_commit_that_a_kill_cut_off_is_done_if_nothing_of_it_comes_again() {
    let marks = Bench::good(2);
    let finish = |is_begun, comes_again| {
        let mut bench = Bench::new();
        bench.publish(&marks);
        marks.iter().for_each(|it| bench.take(Group::Trials, *it));
        if is_begun {
            bench.begin_to_settle(Group::Trials, &marks);
        }
        bench.look();
        bench.checker.begins();
        if comes_again {
            bench.take(Group::Trials, marks[0]);
        }
        bench.checker.finish();
        let mut violations = bench.checker.violations().iter();
        !violations.any(|it| it.what.starts_with("`trials` handled"))
    };
    assert!(finish(true, false));
    assert!(
        !finish(true, true),
        "it was not committed, and not done again"
    );
    assert!(!finish(false, false), "no child tried to commit it");
}
