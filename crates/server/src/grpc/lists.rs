//! Answers that may be long, in pieces.

use std::pin::Pin;

use futures_util::{Stream, stream};
use tonic::Status;

use super::answer::{problem, within};
use crate::context::Context;
use crate::memory::Held;
use crate::problem::{Code, Problem};
use crate::scan::Unread;
use crate::security::Caller;

/// How many items are read at first.
const ITEMS_FIRST: usize = 16;

pub(super) type Pieces<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Parts `items` so that each part has up to `bytes_max` bytes and an item more; of none, one that is empty.
pub(super) fn pieces<T>(
    items: &[T],
    bytes_max: usize,
    size: impl Fn(&T) -> usize,
) -> impl Iterator<Item = &[T]> {
    let mut rest = Some(items);
    std::iter::from_fn(move || {
        let items = rest.take()?;
        let mut bytes = 0;
        let fits = items.iter().take_while(|item| {
            let fits = bytes < bytes_max;
            bytes += size(item);
            fits
        });
        let (piece, others) = items.split_at(fits.count());
        rest = (!others.is_empty()).then_some(others);
        Some(piece)
    })
}

/// A list, whose events count among the answers under way until it was sent.
pub(super) struct List<T> {
    pub(super) items: Vec<T>,
    held: Held,
}

impl<T> List<T> {
    /// Items of so many bytes, unless answers under way are as large as they may be.
    pub(super) fn new(
        (context, caller): (&Context, &Caller),
        items: Vec<T>,
        bytes: usize,
    ) -> Result<Self, Status> {
        let mut held = caller.answers();
        if context.answers().hold(&mut held, bytes) {
            return Ok(Self { items, held });
        }
        Err(problem(&Problem::from(Unread::NoRoom { bytes })))
    }
}

/// Lists the first `asked` items that their reader may see, of which the engine reads the events: few at
/// first, and twice as many each time there are more. A list that would be too large is refused before it is in
/// memory.
pub(super) async fn list<T, F>(
    (context, caller): (&Context, &Caller),
    asked: usize,
    (size, sees): (impl Fn(&T) -> usize, impl Fn(&T) -> bool),
    read: impl Fn(usize) -> F,
) -> Result<List<T>, Status>
where
    F: Future<Output = ensue::Result<Vec<T>>>,
{
    let _turn = context.turn_to_list().await;
    let mut limit = asked.min(ITEMS_FIRST);
    loop {
        let mut items = within(context, read(limit)).await?;
        let bytes: usize = items.iter().map(&size).sum();
        let is_all = items.len() < limit;
        items.retain(&sees);
        if is_all || items.len() >= asked {
            items.truncate(asked);
            let bytes = items.iter().map(&size).sum();
            return List::new((context, caller), items, bytes);
        }
        // As if the others were as large as these.
        if bytes.saturating_mul(2) > context.limits().answers_bytes_max / 2 {
            return Err(problem(&too_long(limit)));
        }
        limit = limit.saturating_mul(2);
    }
}

fn too_long(limit: usize) -> Problem {
    let detail = format!(
        "there are more than {limit} of these, and all of them are larger than an answer may be (half of the \
         limit `answers_bytes_max`); ask for up to {limit}"
    );
    Problem::new(Code::Limit, detail).with("max", limit.into())
}

/// Sends a list in pieces.
pub(super) fn send<T, R>(
    list: List<T>,
    size: impl Fn(&T) -> usize,
    response: impl Fn(&[T]) -> R,
) -> Pieces<R>
where
    R: Send + 'static,
{
    let List { items, held } = list;
    let pieces = pieces(&items, ensue_proto::PIECE_BYTES, size).map(|piece| Ok(response(piece)));
    let pieces = pieces.collect::<Vec<_>>().into_iter();
    let began = (pieces, held);
    Box::pin(stream::unfold(began, |(mut pieces, held)| async {
        Some((pieces.next()?, (pieces, held)))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_parted_by_its_bytes_and_nothing_is_left_out() {
        let parts = |sizes: &[usize]| -> Vec<usize> {
            pieces(sizes, 10, |size| *size).map(<[_]>::len).collect()
        };
        assert_eq!(parts(&[]), [0]);
        assert_eq!(parts(&[3, 3]), [2]);
        assert_eq!(parts(&[4, 5, 6, 7]), [3, 1]);
        assert_eq!(parts(&[50, 50, 1]), [1, 1, 1]);
        assert_eq!(parts(&[0; 5]), [5]);
    }
}
