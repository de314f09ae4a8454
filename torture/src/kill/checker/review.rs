//! Looking at everything once more: what was there is still there, and unchanged.

use ensue::engine::Recorded;

use super::groups::Lane;
use super::{Checker, Kind, Place, Stream};
use crate::kill::orders::{KEYS, Mark, hash, mark_of};
use crate::kill::report::Group;

/// How far a review is.
#[derive(Debug)]
pub(crate) struct Review {
    /// The next number of each stream and key.
    next: [Vec<u64>; 3],
}

impl Checker {
    /// Begins a review of a log whose oldest position is `first`. What was removed had been handled
    /// by everybody.
    pub(crate) fn review(&mut self, first: u64) -> Review {
        let is_removed = |place: &Place| place.position < first;
        let next = std::array::from_fn(|stream| {
            let keys = self.places.get(stream).map_or(&[][..], Vec::as_slice);
            let next = |key: &Vec<Place>| key.partition_point(is_removed) as u64 + 1;
            keys.iter().map(next).collect()
        });
        let review = Review { next };
        for key in 0..KEYS {
            self.check_removed(key, review.next(Stream::Orders, key) - 1);
        }
        review
    }

    /// Orders of a key up to `removed` are not kept any more.
    fn check_removed(&mut self, key: usize, removed: u64) {
        for group in Group::ALL {
            let attempted = self.lane(group, key).map_or(0, |lane| lane.attempted);
            if attempted < removed {
                let name = group.name();
                let what =
                    format!("key-{key} was removed up to {removed}, `{name}` is at {attempted}");
                self.accuse(Kind::Lost, what);
            }
        }
        if self.count(Stream::Audits, key) < removed {
            let what = format!("key-{key} was removed up to {removed} before it was audited");
            self.accuse(Kind::Lost, what);
        }
        let dead = self.letters.range(Mark(key, 0)..=Mark(key, removed));
        let kept = dead
            .map(|(mark, _)| *mark)
            .filter(|mark| self.is_kept(*mark));
        for mark in kept.collect::<Vec<_>>() {
            self.accuse(
                Kind::Lost,
                format_args!("the order of dead letter {mark} was removed"),
            );
        }
    }

    /// The next event of the log.
    pub(crate) fn sees_again(&mut self, review: &mut Review, recorded: &Recorded) {
        let envelope = &recorded.envelope;
        let position = recorded.position.get();
        let known = Stream::of(envelope.topic()).zip(mark_of(envelope));
        let Some((stream, mark)) = known.filter(|(_, mark)| mark.0 < KEYS) else {
            let what = format!("`{}` at {position} was not there before", envelope.id());
            return self.accuse(Kind::Invented, what);
        };
        let topic = stream.topic();
        let next = review.next(stream, mark.0);
        for number in next..mark.1 {
            let lost = Mark(mark.0, number);
            self.accuse(
                Kind::Lost,
                format_args!("{topic} {lost} was there and is gone"),
            );
        }
        if mark.1 < next {
            let what = format!("{topic} {mark} at {position} was not there before");
            return self.accuse(Kind::Invented, what);
        }
        review.set(stream, mark.0, mark.1 + 1);
        let Some(place) = self.place(stream, mark) else {
            let what = format!("{topic} {mark} at {position} was not there before");
            return self.accuse(Kind::Invented, what);
        };
        if place.position != position {
            let was = place.position;
            let what = format!("{topic} {mark} was at {was} and is at {position}");
            self.accuse(Kind::Reordered, what);
        }
        if place.hash != hash(envelope) {
            let what = format!("{topic} {mark} at {position} is not what it was");
            self.accuse(Kind::Altered, what);
        }
    }

    /// The review has come to the end.
    pub(crate) fn reviewed(&mut self, review: &Review) {
        for stream in Stream::ALL {
            for key in 0..KEYS {
                for number in review.next(stream, key)..=self.count(stream, key) {
                    let (topic, mark) = (stream.topic(), Mark(key, number));
                    self.accuse(
                        Kind::Lost,
                        format_args!("{topic} {mark} was there and is gone"),
                    );
                }
            }
        }
    }

    /// Nothing is left to do: everything that follows from every order is there.
    pub(crate) fn finish(&mut self) {
        if !self.is_drained {
            self.accuse(Kind::Failed, "the last child did not end in peace");
        }
        for key in 0..KEYS {
            let orders = self.count(Stream::Orders, key);
            for stream in [Stream::Bills, Stream::Audits] {
                let (topic, count) = (stream.topic(), self.count(stream, key));
                if count != orders {
                    let what = format!("key-{key} has {orders} orders and {count} {topic}");
                    self.accuse(Kind::Lost, what);
                }
            }
            for group in Group::ALL {
                let done = self.lane(group, key).map_or(0, Lane::done);
                if done != orders {
                    let name = group.name();
                    let what = format!("`{name}` handled {done} of {orders} orders of key-{key}");
                    self.accuse(Kind::Lost, what);
                }
            }
        }
        self.check_deaths();
    }
}

impl Review {
    fn next(&self, stream: Stream, key: usize) -> u64 {
        let keys = self.next.get(stream as usize);
        keys.and_then(|keys| keys.get(key)).copied().unwrap_or(1)
    }

    fn set(&mut self, stream: Stream, key: usize, number: u64) {
        let keys = self.next.get_mut(stream as usize);
        if let Some(next) = keys.and_then(|keys| keys.get_mut(key)) {
            *next = number;
        }
    }
}
